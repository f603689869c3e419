//! Keys with parts that the kernel has no attribute for: the same refusal everywhere, before anything is sent.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use lvs::ipvs::{Change, Destination, Ipvs, Query, Scheduler, Service, ServiceFlags, ServiceKey};
use lvs::testing::{Fault, Kernel};
use lvs::{Error, Result};

const PLAIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), 80);

fn with(flow: u32, scope: u32) -> SocketAddr {
    SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 80, flow, scope).into()
}

/// Every change that names a service and, if it has one, a destination.
fn changes(service: ServiceKey, address: SocketAddr) -> Vec<Change> {
    let (full, destination) = (Service::new(service, Scheduler::RR), Destination::new(address));
    vec![
        Change::AddService(full),
        Change::SetService(full),
        Change::DeleteService(service),
        Change::Zero(service),
        Change::AddDestination(service, destination),
        Change::SetDestination(service, destination),
        Change::DeleteDestination(service, address),
    ]
}

fn refused(result: Result<()>, what: &str) {
    let error = result.unwrap_err();
    assert!(error.is_invalid_input(), "{what}: {error}");
    assert!(error.to_string().contains("cannot have a"), "{what}: {error}");
}

#[test]
fn a_key_with_a_scope_or_a_flow_label_is_refused_everywhere() {
    for odd in [with(0, 3), with(7, 0), with(7, 3)] {
        let (key, plain) = (ServiceKey::tcp(odd), ServiceKey::tcp(PLAIN));
        let kernel = Kernel::new();
        let mut ipvs = kernel.ipvs().unwrap();
        ipvs.add_service(Service::new(plain, Scheduler::RR)).unwrap();
        kernel.disturb(0, Fault::Unsent(9));
        for change in changes(key, PLAIN) {
            refused(ipvs.change(change), &change.to_string());
            refused(change.check(), &change.to_string());
            refused(ipvs.batch([change]).map_err(Error::from), &change.to_string());
        }
        let to_it = |change: &Change| {
            matches!(change, Change::AddDestination(..) | Change::SetDestination(..) | Change::DeleteDestination(..))
        };
        for change in changes(plain, odd).into_iter().filter(to_it) {
            refused(ipvs.change(change), &change.to_string());
            refused(ipvs.batch([change]).map_err(Error::from), &change.to_string());
        }
        type Asked = fn(&mut Ipvs, ServiceKey) -> Result<()>;
        let asked: [(&str, Asked); 4] = [
            ("read service", |ipvs, key| ipvs.service(key).map(drop)),
            ("list destinations", |ipvs, key| ipvs.destinations(key).map(drop)),
            ("update service", |ipvs, key| ipvs.update_service(key, |_| {})),
            ("update destination", |ipvs, key| ipvs.update_destination(key, PLAIN, |_| {})),
        ];
        for (operation, ask) in asked {
            let error = ask(&mut ipvs, key).unwrap_err();
            assert!(error.operation().starts_with(operation), "{error}");
            refused(Err(error), operation);
        }
        refused(ipvs.update_destination(plain, odd, |_| {}), "update destination");
        refused(Query::Service(key).check(), "query");
        refused(Query::Destinations(key).check(), "query");
        assert_eq!(kernel.faults_left(), 1, "nothing was sent");
    }
}

#[test]
fn flags_that_stand_for_something_else_are_refused() {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    for bits in [1, 2, 3, 0xff] {
        let mut service = Service::tcp(PLAIN, Scheduler::RR);
        service.flags = ServiceFlags::from_bits_retain(bits);
        assert!(ipvs.add_service(service).unwrap_err().is_invalid_input());
    }
}
