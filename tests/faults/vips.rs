//! A script that keeps the local routes of one protocol, read and written by another crate.

use lvs::testing::{Fault, Kernel, Reply};
use lvs::vip::{Binder, Tally, Vip, Vips};
use lvs::{Cause, Error, Result};
use netlink_packet_core::{DoneMessage, ErrorMessage, NLM_F_DUMP, NLM_F_MULTIPART, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};

use crate::everywhere::Nature::{List, One, Several};
use crate::everywhere::{Bench, Operation, all, any_byte, errno::*, lines};

const ENETUNREACH: i32 = 101;
const EEXIST: i32 = 17;
const ESRCH: i32 = 3;
const ENODEV: i32 = 19;

struct Routes;

fn binder() -> Binder {
    Binder::local_routes(77)
}

fn vip(host: u8) -> Vip {
    std::net::IpAddr::from([10, 96, 0, host]).into()
}

fn destination(route: &RouteMessage) -> Option<&RouteAttribute> {
    route.attributes.iter().find(|attribute| matches!(attribute, RouteAttribute::Destination(_)))
}

fn same(one: &RouteMessage, other: &RouteMessage) -> bool {
    destination(one) == destination(other)
}

/// Carries out one request as a kernel does. Returns the answers, and an error number or 0.
fn answer(routes: &mut Vec<RouteMessage>, request: RouteNetlinkMessage, dump: bool) -> (Vec<RouteMessage>, i32) {
    match request {
        RouteNetlinkMessage::GetRoute(like) if dump => {
            let family = |route: &&RouteMessage| route.header.address_family == like.header.address_family;
            (routes.iter().filter(family).cloned().collect(), 0)
        }
        RouteNetlinkMessage::GetRoute(like) => match routes.iter().find(|route| same(route, &like)) {
            Some(route) => (vec![route.clone()], 0),
            None => (Vec::new(), ENETUNREACH),
        },
        RouteNetlinkMessage::NewRoute(new) if routes.iter().any(|route| same(route, &new)) => (Vec::new(), EEXIST),
        RouteNetlinkMessage::NewRoute(new) => {
            routes.push(new);
            (Vec::new(), 0)
        }
        RouteNetlinkMessage::DelRoute(old) => match routes.iter().position(|route| same(route, &old)) {
            Some(place) => {
                routes.remove(place);
                (Vec::new(), 0)
            }
            None => (Vec::new(), ESRCH),
        },
        _ => (Vec::new(), ENODEV),
    }
}

fn kernel() -> Kernel {
    let mut routes = Vec::new();
    Kernel::script(move |datagram| {
        let (mut replies, mut rest) = (Vec::new(), datagram);
        while !rest.is_empty() {
            let request = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).unwrap();
            let length = usize::try_from(request.header.length).unwrap();
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let header = request.header;
            let dump = header.flags & NLM_F_DUMP == NLM_F_DUMP;
            let NetlinkPayload::InnerMessage(inner) = request.payload else { panic!("{request:?}") };
            let (answers, errno) = answer(&mut routes, inner, dump);
            let payloads =
                answers.into_iter().map(|route| NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)));
            let mut error = ErrorMessage::default();
            error.code = std::num::NonZeroI32::new(-errno);
            error.header = vec![0; 16];
            let end = match dump {
                true => Some(NetlinkPayload::Done(DoneMessage::default())),
                false if errno != 0 || header.flags & 4 != 0 => Some(NetlinkPayload::Error(error)),
                false => None,
            };
            for payload in payloads.chain(end) {
                let mut message = NetlinkMessage::new(header, payload);
                message.header.flags = if dump { NLM_F_MULTIPART } else { 0 };
                message.finalize();
                let mut bytes = vec![0; message.buffer_len()];
                message.serialize(&mut bytes);
                replies.push(Reply::Datagram(0, bytes));
            }
        }
        replies
    })
}

/// A kernel in which another protocol has the routes of two hosts, 200 and 201.
pub(crate) fn kernel_with_foreign_routes() -> Kernel {
    let kernel = kernel();
    kernel.vips().bind_all(&Binder::local_routes(78), [vip(200), vip(201)]).unwrap();
    kernel
}

impl Bench for Routes {
    type Client = Vips;

    fn kernel() -> Kernel {
        let kernel = kernel();
        kernel.vips().bind_all(&binder(), (1..=6).map(vip)).unwrap();
        kernel
    }

    fn connect(kernel: &Kernel) -> Vips {
        kernel.vips()
    }

    fn state(vips: &mut Vips) -> String {
        format!("{:?}", vips.virtual_ips(&binder()).unwrap())
    }

    fn works(vips: &mut Vips) {
        vips.bind(&binder(), vip(200)).unwrap();
        assert!(vips.virtual_ips(&binder()).unwrap().contains(&vip(200)));
    }
}

const OPERATIONS: [Operation<Vips>; 6] = [
    Operation { name: "list the virtual IPs of ", nature: List, run: |vips| vips.virtual_ips(&binder()).map(lines) },
    Operation {
        name: "bind 10.96.0.99 to ",
        nature: Several,
        run: |vips| vips.bind(&binder(), vip(99)).map(|o| lines([o])),
    },
    Operation {
        name: "unbind 10.96.0.3 from ",
        nature: One,
        run: |vips| vips.unbind(&binder(), vip(3)).map(|o| lines([o])),
    },
    Operation {
        name: "bind virtual IPs to |bind 10.96.0.",
        nature: Several,
        run: |vips| Ok(lines([vips.bind_all(&binder(), (3..12).map(vip))?])),
    },
    Operation {
        name: "synchronise the virtual IPs of |bind 10.96.0.|unbind 10.96.0.",
        nature: Several,
        run: |vips| Ok(lines([vips.sync(&binder(), (4..9).map(vip))?])),
    },
    Operation {
        name: "list the virtual IPs of |unbind ",
        nature: Several,
        run: |vips| vips.clear(&binder()).map(|o| lines([o])),
    },
];

#[test]
fn every_fault_is_reported_and_the_next_call_works() {
    // A script gets whole datagrams; and a route that is not found is what the kernel says with most error numbers.
    let except = [Fault::Refused(EPERM), Fault::Refused(ENOENT), Fault::Ended(ENOENT), Fault::Ended(EIO)];
    let tried = all::<Routes>(&OPERATIONS, &except);
    assert!(tried > 600, "{tried}");
}

#[test]
fn whichever_byte_is_wrong_the_next_call_works() {
    any_byte::<Routes>(&OPERATIONS);
}

/// The kernel refuses one of several virtual IPs, and another answer is lost.
#[test]
fn a_refusal_before_an_interruption_is_reported() {
    let wanted = || (3..12).map(vip);
    for refused in 0.. {
        let kernel = Kernel::new();
        kernel.disturb(refused, Fault::Refused(EPERM));
        let alone = kernel.vips().bind_all(&binder(), wanted());
        if kernel.faults_left() > 0 {
            assert!(refused > wanted().count(), "{refused}");
            break;
        }
        if !alone.is_err_and(|error| error.interruption.is_none() && error.failures.len() == 1) {
            continue;
        }
        let mut reported = 0;
        for lost in 0.. {
            let kernel = Kernel::new();
            kernel.disturb(refused, Fault::Refused(EPERM));
            kernel.disturb(lost, Fault::Lost);
            let error = kernel.vips().bind_all(&binder(), wanted()).unwrap_err();
            if error.interruption.is_none() {
                break;
            }
            assert!(error.interruption.as_ref().is_some_and(Error::is_timed_out), "{refused}, {lost}: {error}");
            reported += error.failures.len();
        }
        // The answer to the last one is the refusal itself.
        assert!(reported > 0 || refused + 1 == 2 * wanted().count(), "{refused}");
    }
}

#[test]
fn one_conflict_keeps_nothing_else_from_being_bound_and_unbound() -> Result<()> {
    let kernel = kernel_with_foreign_routes();
    let mut vips = kernel.vips();
    let prefix = |text: &str| text.parse::<Vip>().unwrap();
    vips.bind_all(&binder(), (1..=3).map(vip))?;
    let error = vips.check(&binder(), [2, 5, 200, 201].map(vip)).unwrap_err();
    assert_eq!((error.failures.len(), error.done), (2, Tally::default()));
    assert_eq!(vips.virtual_ips(&binder())?.len(), 3);

    let error = vips.sync(&binder(), [2, 5, 200, 201].map(vip)).unwrap_err();
    assert!(error.failures.iter().all(|failure| failure.error.is_conflict()) && error.interruption.is_none());
    assert_eq!(error.failures.iter().map(|failure| failure.change.vip()).collect::<Vec<_>>(), [200, 201].map(vip));
    assert_eq!((error.done.bound, error.done.unbound, error.done.unchanged), (1, 2, 1));
    assert_eq!(vips.virtual_ips(&binder())?, [2, 5].map(vip));
    vips.check(&binder(), [2, 6].map(vip))?;

    // Wrong input is a failure like any other.
    let error = vips.sync(&binder(), [vip(2), prefix("224.0.0.1")]).unwrap_err();
    assert!(error.failures.len() == 1 && error.failures[0].error.is_invalid_input(), "{error}");
    assert_eq!(vips.virtual_ips(&binder())?, [vip(2)]);

    // The prefix that the surplus belongs to is desired, but cannot be had.
    let error = vips.sync(&binder(), [prefix("10.96.0.0/24"), prefix("10.97.0.1")]).unwrap_err();
    assert!(error.failures.len() == 1 && error.failures[0].error.is_conflict(), "{error}");
    assert_eq!(vips.virtual_ips(&binder())?, [vip(2), prefix("10.97.0.1")]);
    Ok(())
}

/// Whatever interrupts it, the next call makes up for.
#[test]
fn a_synchronisation_that_is_disturbed_is_completed_by_the_next() -> Result<()> {
    for fault in
        [Fault::Lost, Fault::Late, Fault::Truncated, Fault::Failing(ENOBUFS), Fault::Ended(ENOMEM), Fault::Cut(18)]
    {
        for position in 0.. {
            let kernel = Routes::kernel();
            let mut vips = kernel.vips();
            kernel.disturb(position, fault);
            let done = vips.sync(&binder(), (4..9).map(vip));
            if kernel.faults_left() > 0 {
                break;
            }
            assert!(done.is_err(), "{fault:?} at {position}: {done:?}");
            vips.sync(&binder(), (4..9).map(vip))?;
            let mut there = vips.virtual_ips(&binder())?;
            there.sort();
            assert_eq!(there, (4..9).map(vip).collect::<Vec<_>>(), "{fault:?} at {position}");
        }
    }
    Ok(())
}

#[test]
fn a_prefix_around_a_broadcast_address_is_a_conflict() -> Result<()> {
    let kernel = Kernel::new();
    kernel.add_interface("eth0", [([10, 50, 0, 5].into(), 24)]);
    let mut vips = kernel.vips();
    for (prefix, inside) in [("10.50.0.252/30", 255), ("10.50.0.128/25", 255), ("10.50.0.0/16", 5)] {
        let error = vips.bind(&binder(), prefix.parse::<Vip>().unwrap()).unwrap_err();
        let Cause::Conflict { address, of_subnet, .. } = *error.cause() else { panic!("{error}") };
        assert_eq!((address, of_subnet), ([10, 50, 0, inside].into(), inside == 255), "{error}");
    }
    assert_eq!(vips.virtual_ips(&binder())?, []);
    vips.bind(&binder(), "10.50.0.248/30".parse::<Vip>().unwrap()).map(drop)
}

/// Addresses of both families on an interface, from the first host to the one before the last.
fn addresses(hosts: std::ops::Range<u16>) -> Vec<Vip> {
    let six = |host| std::net::IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]).into();
    let four = |host: u16| std::net::IpAddr::from([10, 96, host.to_be_bytes()[0], host.to_be_bytes()[1]]).into();
    hosts.flat_map(|host| [four(host), six(host)]).collect()
}

/// Kernel whose addresses of `lost` are bound without being local.
fn with_lost_routes(binder: &Binder, all: &[Vip], lost: &[Vip]) -> Kernel {
    let kernel = Kernel::new();
    kernel.add_interface("eth0", [([192, 0, 2, 1].into(), 24)]);
    assert_eq!(kernel.vips().sync(binder, all).unwrap().bound, all.len());
    assert!(lost.iter().all(|vip| kernel.delete_local_route(vip.address())));
    kernel
}

/// A dump finds the routes of many addresses, a look-up for each those of few.
#[test]
fn bound_addresses_without_local_routes_are_bound_again() {
    let tally = |tally: Tally| (tally.bound, tally.unbound, tally.unchanged);
    for binder in [Binder::dummy("vip0").unwrap(), Binder::label("eth0:1", 77).unwrap()] {
        for all in [addresses(1..9), addresses(1..600)] {
            let lost = [addresses(2..5), addresses(7..8)].concat();
            let counts = (lost.len(), 0, all.len() - lost.len());
            let kernel = with_lost_routes(&binder, &all, &lost);
            let mut vips = kernel.vips();
            vips.check(&binder, &all).unwrap();
            let mut found = vips.virtual_ips_without_route(&binder).unwrap();
            found.sort();
            let mut expected = lost.clone();
            expected.sort();
            assert_eq!(found, expected, "{binder}");
            assert_eq!(tally(vips.bind_all(&binder, &all).unwrap()), counts, "{binder}");
            assert_eq!(vips.virtual_ips_without_route(&binder).unwrap(), []);
            assert_eq!(tally(vips.bind_all(&binder, &all).unwrap()), (0, 0, all.len()), "{binder}");
            let mut vips = with_lost_routes(&binder, &all, &lost).vips();
            assert_eq!(tally(vips.sync(&binder, &all).unwrap()), counts, "{binder}");
            assert_eq!(tally(vips.sync(&binder, &all).unwrap()), (0, 0, all.len()), "{binder}");
            assert_eq!(vips.virtual_ips(&binder).unwrap().len(), all.len());
            // Surplus is unbound, with or without a route.
            let mut vips = with_lost_routes(&binder, &all, &lost).vips();
            assert_eq!(tally(vips.sync(&binder, &lost[..2]).unwrap()), (2, all.len() - 2, 0), "{binder}");
        }
    }
}

/// An idle synchronisation reads the interface, its addresses, and the routes of each family.
#[test]
fn checking_the_routes_of_many_addresses_takes_a_dump_for_each_family() {
    let (binder, all) = (Binder::dummy("vip0").unwrap(), addresses(1..600));
    let kernel = with_lost_routes(&binder, &all, &[]);
    kernel.sent();
    kernel.vips().sync(&binder, &all).unwrap();
    assert_eq!(
        kernel.sent().queries,
        ["look up interface vip0", "list the addresses of vip0", "list local routes", "list local routes"]
    );
}

#[test]
fn a_repair_that_is_disturbed_is_completed_by_the_next() -> Result<()> {
    for binder in [Binder::dummy("vip0").unwrap(), Binder::label("eth0:1", 77).unwrap()] {
        let all = addresses(1..4);
        for fault in [Fault::Lost, Fault::Refused(EPERM), Fault::Failing(ENOBUFS), Fault::Cut(18)] {
            for position in 0.. {
                let kernel = with_lost_routes(&binder, &all, &all[2..4]);
                let mut vips = kernel.vips();
                kernel.disturb(position, fault);
                let first = vips.sync(&binder, &all);
                if kernel.faults_left() > 0 {
                    assert_eq!(first.unwrap().bound, 2);
                    break;
                }
                vips.sync(&binder, &all)?;
                assert_eq!(vips.sync(&binder, &all)?.unchanged, all.len(), "{fault:?} at {position}: {first:?}");
            }
        }
    }
    Ok(())
}
