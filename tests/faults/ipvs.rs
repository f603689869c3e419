use std::time::Duration;

use lvs::ipvs::{Change, Destination, Ipvs, Scheduler, Service, ServiceKey, SyncDaemon, SyncState, Timeouts};
use lvs::testing::{Fault, Kernel};
use lvs::{Error, Interface, Result};

use crate::everywhere::Nature::{List, One, Several, Stream};
use crate::everywhere::{Bench, Operation, all, any_byte, lines};

struct Table;

fn service(port: u16) -> Service {
    Service::tcp(([10, 96, 0, 1], port).into(), Scheduler::WRR)
}

fn key(port: u16) -> ServiceKey {
    service(port).key
}

fn server(port: u16) -> Destination {
    Destination::new(([10, 244, 0, 1], port).into())
}

fn daemon(state: SyncState) -> SyncDaemon {
    SyncDaemon::new(state, Interface::new("eth0").unwrap(), 7)
}

impl Bench for Table {
    type Client = Ipvs;

    fn kernel() -> Kernel {
        let kernel = Kernel::new();
        let mut ipvs = kernel.ipvs().unwrap();
        ipvs.batch((1..=10).map(|port| Change::AddService(service(port)))).unwrap();
        ipvs.batch((1..=10).map(|port| Change::AddDestination(key(1), server(port)))).unwrap();
        ipvs.start_daemon(&daemon(SyncState::Master)).unwrap();
        kernel
    }

    fn connect(kernel: &Kernel) -> Ipvs {
        kernel.ipvs().unwrap()
    }

    fn state(ipvs: &mut Ipvs) -> String {
        format!("{:?} {:?} {:?}", ipvs.table().unwrap(), ipvs.timeouts().unwrap(), ipvs.daemons().unwrap())
    }

    fn works(ipvs: &mut Ipvs) {
        ipvs.add_service(service(1000)).unwrap();
        assert_eq!(ipvs.service(key(1000)).unwrap().service, service(1000));
    }
}

/// Turns a result without a value into no lines.
fn done(result: Result<()>) -> Result<Vec<String>> {
    result.map(|()| Vec::new())
}

const OPERATIONS: [Operation<Ipvs>; 23] = [
    Operation { name: "read the version of IPVS", nature: One, run: |ipvs| ipvs.version().map(|info| lines([info])) },
    Operation { name: "list services", nature: List, run: |ipvs| ipvs.services().map(lines) },
    Operation {
        name: "list services",
        nature: Stream,
        run: |ipvs| ipvs.stream_services()?.collect::<Result<Vec<_>>>().map(lines),
    },
    Operation {
        name: "read service 10.96.0.1:7/tcp",
        nature: One,
        run: |ipvs| ipvs.service(key(7)).map(|info| lines([info])),
    },
    Operation {
        name: "list destinations of service 10.96.0.1:1/tcp",
        nature: List,
        run: |ipvs| ipvs.destinations(key(1)).map(lines),
    },
    Operation {
        name: "list destinations of service 10.96.0.1:7/tcp",
        nature: List,
        run: |ipvs| ipvs.destinations(key(7)).map(lines),
    },
    Operation {
        name: "list services|list destinations of service 10.96.0.1:",
        nature: List,
        run: |ipvs| ipvs.table().map(lines),
    },
    Operation { name: "add service 10.96.0.1:99/tcp", nature: One, run: |ipvs| done(ipvs.add_service(service(99))) },
    Operation {
        name: "set service 10.96.0.1:7/tcp",
        nature: One,
        run: |ipvs| done(ipvs.set_service(Service::new(key(7), Scheduler::MH))),
    },
    Operation {
        name: "update service 10.96.0.1:7/tcp",
        nature: Several,
        run: |ipvs| done(ipvs.update_service(key(7), |service| service.scheduler = Scheduler::SH)),
    },
    Operation { name: "delete service 10.96.0.1:1/tcp", nature: One, run: |ipvs| done(ipvs.delete_service(key(1))) },
    Operation {
        name: "add destination 10.244.0.1:99 to service 10.96.0.1:7/tcp",
        nature: One,
        run: |ipvs| done(ipvs.add_destination(key(7), server(99))),
    },
    Operation {
        name: "set destination 10.244.0.1:3 of service 10.96.0.1:1/tcp",
        nature: One,
        run: |ipvs| done(ipvs.set_destination(key(1), server(3).weight(9))),
    },
    Operation {
        name: "update destination 10.244.0.1:3 of service 10.96.0.1:1/tcp",
        nature: Several,
        run: |ipvs| done(ipvs.update_destination(key(1), server(3).address, |server| server.weight = 0)),
    },
    Operation {
        name: "delete destination 10.244.0.1:3 of service 10.96.0.1:1/tcp",
        nature: One,
        run: |ipvs| done(ipvs.delete_destination(key(1), server(3).address)),
    },
    Operation {
        name: "zero the counters of service 10.96.0.1:1/tcp",
        nature: One,
        run: |ipvs| done(ipvs.zero(key(1))),
    },
    Operation { name: "zero all counters", nature: One, run: |ipvs| done(ipvs.zero_all()) },
    Operation { name: "delete all services", nature: One, run: |ipvs| done(ipvs.clear()) },
    Operation { name: "read the timeouts", nature: One, run: |ipvs| ipvs.timeouts().map(|found| lines([found])) },
    Operation {
        name: "set the timeouts udp 7s",
        nature: One,
        run: |ipvs| done(ipvs.set_timeouts(&Timeouts { udp: Some(Duration::from_secs(7)), ..Timeouts::default() })),
    },
    Operation { name: "list the sync daemons", nature: Stream, run: |ipvs| ipvs.daemons().map(lines) },
    Operation {
        name: "start the backup sync daemon on eth0",
        nature: One,
        run: |ipvs| done(ipvs.start_daemon(&daemon(SyncState::Backup))),
    },
    Operation {
        name: "stop the master sync daemon",
        nature: One,
        run: |ipvs| done(ipvs.stop_daemon(SyncState::Master)),
    },
];

#[test]
fn every_fault_is_reported_and_the_next_call_works() {
    let tried = all::<Table>(&OPERATIONS, &[]);
    assert!(tried > 1500, "{tried}");
}

#[test]
fn whichever_byte_is_wrong_the_next_call_works() {
    any_byte::<Table>(&OPERATIONS);
}

#[test]
fn connecting_reports_its_failure() {
    for (fault, text) in [
        (Fault::Lost, "connect to IPVS: the kernel did not answer in time"),
        (Fault::Truncated, "connect to IPVS: a reply of 65537 bytes was truncated to 65536"),
        (
            Fault::Ended(2),
            "connect to IPVS: this kernel has no netlink family IPVS: load its module with `modprobe ip_vs` (as root)",
        ),
        (Fault::Failing(105), "connect to IPVS: the socket's receive buffer overran and replies were lost"),
        (Fault::Unsent(9), "connect to IPVS: Bad file descriptor (os error 9)"),
        (Fault::Refused(1), "connect to IPVS: permission denied (EPERM)"),
    ] {
        let kernel = Kernel::new();
        kernel.disturb(0, fault);
        assert_eq!(kernel.ipvs().map(drop).unwrap_err().to_string(), text);
        Table::works(&mut kernel.ipvs().unwrap());
    }
}

/// In a batch every change is accounted for: made, refused, or perhaps made.
#[test]
fn a_batch_reports_the_outcome_of_every_change() {
    let changes = || {
        let wrong = [Change::AddService(service(3)), Change::DeleteDestination(key(2), server(1).address)];
        (1..=3)
            .map(|port| Change::AddDestination(key(7), server(port)))
            .chain(wrong)
            .chain([Change::AddService(service(90))])
    };
    for fault in [
        Fault::Lost,
        Fault::Late,
        Fault::Twice,
        Fault::Truncated,
        Fault::Cut(18),
        Fault::Forged,
        Fault::Stray,
        Fault::Ended(12),
        Fault::Failing(105),
        Fault::Failing(9),
    ] {
        for position in 0.. {
            let kernel = Table::kernel();
            let mut ipvs = kernel.ipvs().unwrap();
            kernel.disturb(position, fault);
            let error = ipvs.batch(changes()).unwrap_err();
            if kernel.faults_left() > 0 {
                assert_eq!(position, 5, "two refusals, an acknowledgement, and the family's number after an ENOENT");
                break;
            }
            let failed: Vec<_> = error.failures.iter().map(|failure| failure.position().unwrap()).collect();
            let text = Error::from(error).to_string();
            match fault {
                Fault::Twice | Fault::Forged | Fault::Stray => {
                    assert_eq!(failed[..2], [3, 4], "{fault:?} at {position}");
                    assert!(text.contains(&format!("{} changes failed", failed.len())), "{text}");
                }
                Fault::Ended(_) => assert!(text.contains("ENOMEM") || failed.len() >= 2, "{text}"),
                _ => {
                    assert!(failed.iter().all(|index| [3, 4].contains(index)), "{fault:?} at {position}: {failed:?}");
                    assert!(text.contains("make changes 0 to 5: "), "{text}");
                }
            }
            assert_eq!(Table::state(&mut ipvs), Table::state(&mut kernel.ipvs().unwrap()));
            Table::works(&mut ipvs);
        }
    }
}

/// A list that is given up is read to its end before the next one, whatever happens meanwhile.
#[test]
fn a_list_that_is_given_up_does_not_spoil_the_next() {
    for fault in [Fault::Lost, Fault::Late, Fault::Truncated, Fault::Cut(18), Fault::Failing(105), Fault::Forged] {
        for position in 0.. {
            let kernel = Table::kernel();
            let mut ipvs = kernel.ipvs().unwrap();
            kernel.disturb(position, fault);
            if let Err(error) = ipvs.stream_services().and_then(|mut services| services.next().transpose()) {
                assert!(error.to_string().starts_with("list services: "), "{error}");
            }
            // A fault that stands in what is skipped may show in the next list; then that says so.
            if let Err(error) = ipvs.services() {
                assert!(error.to_string().starts_with("list services: "), "{error}");
            }
            if kernel.faults_left() > 0 {
                break;
            }
            assert_eq!(ipvs.services().unwrap().len(), 10, "{fault:?} at {position}");
            Table::works(&mut ipvs);
        }
    }
}
