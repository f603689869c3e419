//! Fuzzed route messages: a virtual IP that is read as bound equals the one that was bound.

use super::binder::{Binder, Vip, Way};
use super::link::read_link;
use super::message::{NEW_ADDRESS, NEW_ROUTE, Route, Target, read_owned_address, read_route, write_bind, write_unbind};
use crate::wire::writer::written;

/// An input is a message's type, in two bytes, and its body.
pub fn run(data: &[u8]) {
    let Some((&[low, high], body)) = data.split_first_chunk() else { return };
    let kind = u16::from_le_bytes([low, high]);
    if let Ok(Some(link)) = read_link(kind, body) {
        assert!(!format!("{link:?}").is_empty());
    }
    // The interface of the message, so that the binder may own it.
    let index = body.get(4..8).and_then(|index| index.try_into().ok()).map_or(1, u32::from_ne_bytes);
    for binder in [Binder::dummy("vip0"), Binder::label("eth0:1", 78)].into_iter().flatten() {
        let target = Target { way: binder.0, index, is_checked: false };
        if let Ok(Some(vip)) = read_owned_address(kind, body, target) {
            let bytes = written(|out| write_bind(out, target, vip));
            assert_eq!(read_owned_address(NEW_ADDRESS, &bytes, target), Ok(Some(vip)));
            prints(vip);
            let _ = written(|out| write_unbind(out, target, vip));
        }
    }
    if let Ok(Some(route @ Route { is_local: true, .. })) = read_route(kind, body) {
        let target = Target { way: Way::Routes(route.protocol), index: route.index, is_checked: false };
        let bytes = written(|out| write_bind(out, target, route.vip));
        assert_eq!(read_route(NEW_ROUTE, &bytes), Ok(Some(route)));
        prints(route.vip);
    }
}

fn prints(vip: Vip) {
    assert_eq!(vip.to_string().parse(), Ok(vip));
}
