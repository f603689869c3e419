//! An iterator of the caller that panics leaves nothing behind: the next request works at once.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use lvs::Outcome;
use lvs::ipset::{AnyType, Change, HashIp, Member, NewSet};
use lvs::ipvs::{self, Scheduler, Service};
use lvs::testing::Kernel;
use lvs::vip::{Binder, Vip};

/// The first items, then a panic.
fn cut<T>(mut items: impl Iterator<Item = T>, good: usize) -> impl Iterator<Item = T> {
    let mut given = 0;
    std::iter::from_fn(move || {
        assert!(given < good, "the caller's own fault");
        given += 1;
        items.next()
    })
}

fn caught(attempt: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(attempt)).is_err());
}

fn members() -> impl Iterator<Item = Member<HashIp>> {
    (1u32..).map(|host| Member::new(Ipv4Addr::from_bits(0x0a00_0000 + host)))
}

#[test]
fn in_ipset() {
    let name = |text: &str| text.parse().unwrap();
    for good in [0, 1, 5, 3000, 5000] {
        let kernel = Kernel::new();
        let mut ipset = kernel.ipset();
        let new = NewSet::<HashIp>::ipv4();
        let set = ipset.create(name("tried"), &new).unwrap();
        caught(|| drop(ipset.add_all(&set, cut(members(), good))));
        // Only messages that were complete are in.
        let first = Member::new(Ipv4Addr::new(192, 0, 2, 1));
        ipset.add(&set, &first).unwrap();
        let listed = ipset.stream_members(&set).unwrap().count();
        assert!(listed <= good + 1 && (good >= 3000 || listed == 1), "{good}: {listed}");

        caught(|| drop(ipset.remove_all(&set, cut([first.clone()].into_iter().cycle(), good))));
        assert_eq!(ipset.stream_members(&set).unwrap().count(), if good < 3000 { listed } else { listed - 1 });

        let changes = members().map(|member| Change::Put(set.any(), member.any()));
        caught(|| drop(ipset.batch(cut(changes, good))));
        assert_eq!(ipset.header(name("tried")).unwrap(), set.any());

        caught(|| drop(ipset.replace(name("tried"), &new, cut(members(), good))));
        ipset.replace(name("tried"), &new, members().take(7)).unwrap();
        assert_eq!(ipset.stream_members(&set).unwrap().count(), 7);
        assert_eq!(ipset.names().unwrap(), [name("tried")]);
        let _: lvs::ipset::Set<AnyType> = set.any();
    }
}

#[test]
fn in_ipvs() {
    let service = |port: u16| Service::tcp((Ipv4Addr::new(10, 96, 0, 1), port).into(), Scheduler::RR);
    for good in [0, 1, 5, 300] {
        let kernel = Kernel::new();
        let mut ipvs = kernel.ipvs().unwrap();
        let changes = (1..).map(|port| ipvs::Change::AddService(service(port)));
        caught(|| drop(ipvs.batch(cut(changes, good))));
        ipvs.add_service(service(60_000)).unwrap();
        assert!(ipvs.service(service(60_000).key).is_ok());
        assert!(ipvs.services().unwrap().len() <= good + 1);
    }
}

#[test]
fn in_vips() {
    let vip = |host: u32| Vip::from(IpAddr::from(Ipv4Addr::from_bits(0x0a60_0000 + host)));
    for good in [0, 1, 5, 300] {
        let kernel = Kernel::new();
        let mut vips = kernel.vips();
        let binder = Binder::dummy("vip0").unwrap();
        caught(|| drop(vips.bind_all(&binder, cut((1..).map(vip), good))));
        // Nothing was sent; the answer belongs to this request.
        assert_eq!(vips.bind(&binder, vip(60_000)).unwrap(), Outcome::Added);
        assert_eq!(vips.virtual_ips(&binder).unwrap(), [vip(60_000)]);
        caught(|| drop(vips.unbind_all(&binder, cut((1..).map(vip), good))));
        assert_eq!(vips.unbind(&binder, vip(60_000)).unwrap(), Outcome::Deleted);
        assert_eq!(vips.virtual_ips(&binder).unwrap(), []);
    }
}
