//! Virtual IPs as local routes.

use std::fmt::Write;

use lvs::vip::{Binder, Vip, Vips};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::floor::{self, Floor, attribute};
use crate::peers;
use crate::results::{Plan, Results};
use crate::services::{timed, vip};

const NEWROUTE: u16 = 24;
const CREATE_EXCLUSIVELY: u16 = 0x600;
const PROTOCOL: u8 = 77;
const LOOPBACK: u32 = 1;
/// Requests in a datagram.
const MANY: usize = 256;

/// `struct rtmsg` of a local route, then its address and interface.
fn route(number: u32) -> Vec<u8> {
    let header = [2, 32, 0, 0, 255, PROTOCOL, 254, 2, 0, 0, 0, 0];
    [&header[..], &attribute(1, &vip(number).octets()), &attribute(4, &LOOPBACK.to_ne_bytes())].concat()
}

pub(crate) fn bind(plan: &Plan, results: &mut Results) {
    let count = plan.vips;
    let binder = Binder::local_routes(PROTOCOL);
    let routes: Vec<_> = (0..count).map(route).collect();
    let datagrams: Vec<_> =
        routes.chunks(MANY).map(|routes| floor::datagram(NEWROUTE, CREATE_EXCLUSIVELY, routes)).collect();
    let mut lines = String::new();
    for i in 0..count {
        writeln!(lines, "route add local {} dev lo proto {PROTOCOL}", vip(i)).unwrap();
    }
    let cleared = |time| {
        Vips::connect().unwrap().clear(&binder).unwrap();
        (time, count)
    };
    let (mut floor, mut vips) = (Floor::open(NETLINK_ROUTE), Vips::connect().unwrap());
    let mut all = || {
        let all = (0..count).map(|i| Vip::from(std::net::IpAddr::from(vip(i))));
        assert_eq!(vips.bind_all(&binder, all).unwrap().bound, count as usize);
    };
    results.compare(
        "bind VIPs",
        count,
        &mut [
            ("floor", Box::new(|| cleared(timed(|| floor.exchange_all(&datagrams))))),
            ("lvs", Box::new(|| cleared(timed(&mut all)))),
            ("ip -batch", Box::new(|| cleared(peers::feed("ip -batch -", &lines)))),
        ],
    );
}
