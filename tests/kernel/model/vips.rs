//! The model of virtual IPs.

use std::net::Ipv4Addr;

use libtest_mimic::Trial;
use lvs::testing::Kernel;
use lvs::vip::{Binder, Vip, Vips};

use super::{Told, ip};
use crate::lab::{Lab, Need, tests};
use crate::vip::{add_ipv6, real_interface};

pub(super) fn tests() -> Vec<Trial> {
    tests!(&[Need::Dummy]; the_model_of_virtual_ips_says_what_the_kernel_says,)
}

/// Binds, lists and unbinds by one binder.
fn by_one(told: &mut Told, vips: &mut Vips, binder: &Binder) {
    for text in ["10.96.0.10", "2001:db8::a"] {
        let vip: Vip = text.parse().unwrap();
        told.note(vips.unbind(binder, vip));
        told.note(vips.bind(binder, vip));
        told.note(vips.bind(binder, vip));
        told.note(vips.virtual_ips(binder));
        told.note(vips.unbind(binder, vip));
        told.note(vips.unbind(binder, vip));
    }
    let vip = |text: &&str| text.parse::<Vip>().unwrap();
    let several = ["10.96.0.9", "10.96.0.12", "10.96.0.10", "2001:db8::b", "2001:db8::d", "2001:db8::c"];
    // The machine's own addresses, a broadcast address, prefixes around some, addresses inside of a prefix.
    let others = ["192.0.2.1", "192.0.2.255", "192.0.2.2", "2001:db8:9::1", "2001:db8:9::2", "127.0.0.1", "127.0.0.9"];
    let wide = [
        "192.0.0.0/8",
        "192.0.2.252/30",
        "10.96.0.8/30",
        "10.97.0.0/16",
        "2001:db8::/64",
        "2001:db8:9::/64",
        "2001:db8:8::/64",
    ];
    told.note(vips.check(binder, several.iter().chain(&others).map(vip)).map_err(lvs::Error::from));
    told.note(vips.bind_all(binder, several.iter().map(vip)).map_err(lvs::Error::from));
    told.note(vips.virtual_ips(binder));
    for text in others.iter().chain(&wide) {
        told.note(vips.bind(binder, vip(text)));
    }
    told.note(vips.virtual_ips(binder));
    told.note(vips.unbind(binder, vip(&"192.0.2.1")));
    told.note(vips.sync(binder, several[1..].iter().chain(&others).map(vip)).map_err(lvs::Error::from));
    told.note(vips.sync(binder, several[1..].iter().map(vip)).map_err(lvs::Error::from));
    told.note(vips.virtual_ips(binder));
    told.note(vips.unbind_all(binder, several.iter().map(vip)).map_err(lvs::Error::from));
    told.note(vips.virtual_ips(binder));
    told.note(vips.bind_all(binder, several.iter().map(vip)).map_err(lvs::Error::from));
}

fn with_vips(mut vips: Vips) -> Told {
    let mut told = Told::default();
    let dummy = |name| Binder::dummy(name).unwrap();
    let label = |label, protocol| Binder::label(label, protocol).unwrap();
    told.note(vips.bind(&dummy("lo"), ip("10.96.0.1")));
    told.note(vips.bind(&label("near:1", 77), ip("10.96.0.1")));
    told.note(vips.virtual_ips(&label("near:1", 77)));
    let binders = [dummy("vip0"), Binder::local_routes(77), label("eth0:1", 77)];
    for binder in &binders {
        by_one(&mut told, &mut vips, binder);
        // Its values are in the way of the others.
        for other in binders.iter().filter(|other| *other != binder) {
            for vip in ["10.96.0.9", "2001:db8::b", "10.96.0.8/29"] {
                told.note(vips.bind(other, vip.parse::<Vip>().unwrap()));
                told.note(vips.unbind(other, vip.parse::<Vip>().unwrap()));
            }
        }
        told.note(vips.clear(binder));
        told.note(vips.clear(binder));
        told.note(vips.virtual_ips(binder));
    }
    // Binders that share a protocol, a label, an interface.
    let sharing =
        [label("eth0:1", 77), label("eth0:2", 77), label("eth0:1", 78), Binder::local_routes(78), dummy("vip1")];
    for (binder, host) in sharing.iter().zip(1..) {
        let own = [Ipv4Addr::new(10, 98, 0, host).into(), ip(&format!("2001:db8:98::{host}"))];
        told.note(vips.bind_all(binder, own).map_err(lvs::Error::from));
    }
    told.note(vips.bind(&label("vip1:1", 77), ip("10.98.0.9")));
    told.note(vips.bind(&label("lo:1", 77), ip("10.98.0.10")));
    for binder in &sharing {
        told.note(vips.virtual_ips(binder));
    }
    for binder in &sharing {
        told.note(vips.unbind(binder, ip("10.98.0.1")));
        told.note(vips.unbind(binder, ip("2001:db8:98::1")));
        told.note(vips.clear(binder));
        told.note(vips.virtual_ips(binder));
    }
    told.note(vips.virtual_ips(&label("lo:1", 77)));
    told
}

fn the_model_of_virtual_ips_says_what_the_kernel_says(lab: &Lab) {
    real_interface(lab);
    lab.tool("ip address add 192.0.2.1/24 dev eth0");
    add_ipv6(lab, "2001:db8:9::1/64");
    let kernel = Kernel::new();
    kernel.add_interface("eth0", [(ip("192.0.2.1"), 24), (ip("2001:db8:9::1"), 64)]);
    with_vips(kernel.vips()).compare(&with_vips(lab.vips()));
}
