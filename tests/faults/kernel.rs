//! The tools that `lvs::testing` gives to a test: the record of requests, cuts, connections, interfaces.

use std::net::{IpAddr, SocketAddr};

use lvs::ipset::{BitmapPort, Change, HashIp, ListMember, ListSet, Member, NewSet, SetName};
use lvs::ipvs::{Destination, Scheduler, Service, Timeouts};
use lvs::testing::{Fault, Kernel};
use lvs::vip::{Binder, Vip, Vips};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn vip(text: &str) -> Vip {
    text.parse().unwrap()
}

fn web() -> Service {
    Service::tcp(address("10.96.0.10:80"), Scheduler::WRR)
}

fn server() -> Destination {
    Destination::new(address("10.244.1.1:80"))
}

const NONE: [&str; 0] = [];

#[test]
fn requests_of_ipvs_are_recorded_by_their_text() {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    assert_eq!(kernel.sent().queries, NONE);
    ipvs.add_service(web()).unwrap();
    ipvs.add_service(web()).unwrap_err();
    ipvs.add_destination(web(), server()).unwrap();
    ipvs.set_timeouts(&Timeouts { tcp: Some(std::time::Duration::from_secs(9)), ..Timeouts::default() }).unwrap();
    ipvs.service(web()).unwrap();
    ipvs.destinations(web()).unwrap();
    let sent = kernel.sent();
    assert_eq!(
        sent.changes,
        [
            "add service 10.96.0.10:80/tcp",
            "add service 10.96.0.10:80/tcp",
            "add destination 10.244.1.1:80 to service 10.96.0.10:80/tcp",
            "set the timeouts tcp 9s"
        ]
    );
    assert_eq!(sent.queries[0], "read service 10.96.0.10:80/tcp");
    assert!(sent.queries[1..].iter().all(|query| query == "list destinations of service 10.96.0.10:80/tcp"));
    assert_eq!(kernel.sent(), Default::default());
    kernel.disturb(0, Fault::Refused(1));
    ipvs.clear().unwrap_err();
    kernel.disturb(0, Fault::Unsent(1));
    ipvs.zero_all().unwrap_err();
    assert_eq!(kernel.sent().changes, ["delete all services"], "refused, but sent");
}

#[test]
fn requests_of_ipset_are_recorded_by_their_text() {
    let kernel = Kernel::new();
    let mut ipset = kernel.ipset();
    let name: SetName = "blocked".parse().unwrap();
    let set = ipset.create(name, &NewSet::<HashIp>::ipv4()).unwrap();
    let host = |last| Member::<HashIp>::new(IpAddr::from([192, 0, 2, last]));
    ipset.add_all(&set, [1, 2].map(host)).unwrap();
    ipset.put(&set, &host(3)).unwrap();
    ipset.remove(&set, &host(3)).unwrap();
    ipset.test(&set, &host(1)).unwrap();
    ipset.rename(name, "other".parse().unwrap()).unwrap();
    ipset.names().unwrap();
    ipset.sets().unwrap();
    ipset.clear_all().unwrap();
    ipset.change(Change::Destroy("other".parse().unwrap())).unwrap();
    let sent = kernel.sent();
    assert_eq!(
        sent.changes,
        [
            "create set blocked (hash:ip)",
            "add 192.0.2.1 to set blocked",
            "add 192.0.2.2 to set blocked",
            "add 192.0.2.3 to set blocked",
            "delete 192.0.2.3 from set blocked",
            "rename set blocked to other",
            "clear all sets",
            "destroy set other",
        ]
    );
    for query in ["test 192.0.2.1 in set blocked", "list the names of all sets", "list all sets"] {
        assert!(sent.queries.iter().any(|sent| sent == query), "{:?}", sent.queries);
    }
}

#[test]
fn requests_of_virtual_ips_are_recorded_by_their_text() {
    let kernel = Kernel::new();
    kernel.add_interface("eth0", []);
    let mut vips = kernel.vips();
    let both = ["10.96.0.10", "fd00::a"].map(vip);
    for binder in [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("eth0:1", 77).unwrap()] {
        vips.bind_all(&binder, both).unwrap();
        let sent = kernel.sent();
        assert!(sent.queries.contains(&"look up the route to fd00::a".to_owned()), "{:?}", sent.queries);
        vips.sync(&binder, both).unwrap();
        assert_eq!(kernel.sent().changes, NONE);
        vips.clear(&binder).unwrap();
        let changes = [sent.changes, kernel.sent().changes].concat();
        match binder.to_string().as_str() {
            "vip0" => {
                let bound = ["create dummy interface vip0", "bind 10.96.0.10 to vip0", "bind fd00::a to vip0"];
                assert_eq!(changes, [&bound[..], &["delete interface vip0"]].concat());
            }
            "eth0:1" => {
                // The kernel has no labels for IPv6.
                let bound = ["bind 10.96.0.10 to eth0:1", "bind fd00::a to eth0"];
                assert_eq!(changes, [bound, ["unbind 10.96.0.10 from eth0:1", "unbind fd00::a from eth0"]].concat());
            }
            routes => {
                let change = |verb: &str, vip: Vip| match verb {
                    "bind" => format!("bind {vip} to {routes}"),
                    _ => format!("unbind {vip} from {routes}"),
                };
                assert_eq!(changes, ["bind", "unbind"].map(|verb| both.map(|vip| change(verb, vip))).concat());
            }
        }
    }
}

#[test]
fn a_program_that_dies_after_any_datagram_is_made_up_for_by_the_next() {
    let binder = Binder::dummy("vip0").unwrap();
    let set_up = |kernel: &Kernel| -> Result<(), Box<dyn std::error::Error>> {
        let mut ipset = kernel.ipset();
        let mut ipvs = kernel.ipvs()?;
        let name: SetName = "blocked".parse().unwrap();
        ipset.replace(name, &NewSet::<HashIp>::ipv4(), [Member::new(IpAddr::from([192, 0, 2, 1]))])?;
        ipvs.put_service(web())?;
        ipvs.put_destination(web(), server())?;
        kernel.vips().sync(&binder, [vip("10.96.0.10")])?;
        Ok(())
    };
    let state = |kernel: &Kernel| {
        let sets: Vec<_> = kernel.ipset().sets().unwrap().iter().map(|info| info.set.to_string()).collect();
        let table = kernel.ipvs().unwrap().table().unwrap();
        format!("{sets:?} {table:?} {:?}", kernel.vips().virtual_ips(&binder).unwrap())
    };
    let whole = Kernel::new();
    set_up(&whole).unwrap();
    let mut cuts = 0;
    loop {
        let kernel = Kernel::new();
        kernel.cut(cuts);
        let done = set_up(&kernel);
        if done.is_err() {
            assert!(kernel.ipvs().is_err(), "the cut lasts");
        }
        if !kernel.mend() {
            done.unwrap();
            break;
        }
        assert!(!kernel.mend(), "it has ended");
        set_up(&kernel).unwrap();
        assert_eq!(state(&kernel), state(&whole), "cut after {cuts} datagrams");
        cuts += 1;
    }
    assert!(cuts >= 10, "{cuts}");
}

#[test]
fn connections_stay_until_the_destination_is_deleted() {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs().unwrap();
    let mut numbers = || {
        let found = ipvs.destinations(web()).unwrap();
        found.first().map(|one| (one.active_connections, one.inactive_connections, one.persistent_connections))
    };
    assert!(!kernel.set_connections(web(), server().address, 1, 2, 3));
    let mut other = kernel.ipvs().unwrap();
    other.add_service(web()).unwrap();
    assert!(!kernel.set_connections(web(), server().address, 1, 2, 3));
    other.add_destination(web(), server()).unwrap();
    assert!(kernel.set_connections(web(), server().address, 1, 2, 3));
    assert_eq!(numbers(), Some((1, 2, 3)));
    other.set_destination(web(), server().weight(0)).unwrap();
    other.set_service(web()).unwrap();
    assert_eq!(numbers(), Some((1, 2, 3)));
    other.delete_destination(web(), server().address).unwrap();
    other.add_destination(web(), server()).unwrap();
    assert_eq!(numbers(), Some((0, 0, 0)));
}

#[test]
fn interfaces_and_addresses_of_others_are_conflicts_and_stay() {
    let kernel = Kernel::new();
    kernel.add_interface("eth0", [("192.0.2.1".parse().unwrap(), 24)]);
    kernel.add_interface("eth0", [("fd00:2::1".parse().unwrap(), 64)]);
    let mut vips = kernel.vips();
    for binder in [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("eth0:1", 77).unwrap()] {
        for taken in ["192.0.2.1", "192.0.2.255", "fd00:2::1", "127.0.0.1"] {
            assert!(vips.bind(&binder, vip(taken)).unwrap_err().is_conflict(), "{taken} {binder}");
            vips.unbind(&binder, vip(taken)).unwrap();
        }
        vips.sync(&binder, [vip("192.0.2.2")]).unwrap();
        assert_eq!(vips.virtual_ips(&binder).unwrap(), [vip("192.0.2.2")]);
        vips.clear(&binder).unwrap();
    }
    assert!(vips.virtual_ips(&Binder::label("eth1:1", 77).unwrap()).unwrap_err().is_not_found());
    assert!(vips.bind(&Binder::dummy("eth0").unwrap(), vip("192.0.2.2")).unwrap_err().is_already_exists());
    assert!(vips.bind(&Binder::local_routes(77), vip("192.0.0.0/8")).unwrap_err().is_conflict());
}

/// Conflicts of many virtual IPs are found by a dump, those of few by a look-up for each.
#[test]
fn many_virtual_ips_have_the_conflicts_of_few() {
    let kernel = Kernel::new();
    kernel.add_interface("eth0", [("192.0.2.1".parse().unwrap(), 24), ("fd00:2::1".parse().unwrap(), 64)]);
    let mut vips = kernel.vips();
    vips.bind_all(&Binder::local_routes(78), [vip("192.0.2.7"), vip("192.0.2.128/26"), vip("fd00:2::7")]).unwrap();
    let wanted: Vec<Vip> = (0..=255).map(|host| vip(&format!("192.0.2.{host}"))).collect();
    let wanted: Vec<Vip> = wanted.into_iter().chain(["fd00:2::1", "fd00:2::7", "fd00:2::8"].map(vip)).collect();
    for binder in [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("eth0:1", 77).unwrap()] {
        let conflicts = |vips: &mut Vips, wanted: &[Vip]| -> Vec<String> {
            let failures = vips.check(&binder, wanted).err().map(|error| error.failures).unwrap_or_default();
            failures.iter().map(|failure| failure.error.to_string()).collect()
        };
        let many = conflicts(&mut vips, &wanted);
        let few: Vec<_> = wanted.chunks(10).flat_map(|wanted| conflicts(&mut vips, wanted)).collect();
        assert_eq!(many, few);
        assert_eq!(many.len(), 5, "{many:?}");
        let (_, failures) = (vips.bind_all(&binder, &wanted).unwrap_err(), many.len());
        assert_eq!(vips.virtual_ips(&binder).unwrap().len(), wanted.len() - failures);
        let again = vips.bind_all(&binder, &wanted).unwrap_err();
        assert_eq!((again.failures.len(), again.done.unchanged), (failures, wanted.len() - failures));
        vips.clear(&binder).unwrap();
    }
}

#[test]
fn a_set_in_a_list_of_sets_is_in_use() {
    let kernel = Kernel::new();
    let mut ipset = kernel.ipset();
    let name = |text: &str| text.parse::<SetName>().unwrap();
    let ports = ipset.create(name("ports"), &NewSet::<BitmapPort>::range(80..=90)).unwrap();
    ipset.add(&ports, &Member::new(85..=87)).unwrap();
    ipset.add(&ports, &Member::new(80)).unwrap();
    let listed: Vec<_> = ipset.members(&ports).unwrap().iter().map(|member| member.entry.first).collect();
    assert_eq!(listed, [80, 85, 86, 87]);
    assert!(ipset.add(&ports, &Member::new(91)).is_err());
    ipset.create(name("hosts"), &NewSet::<HashIp>::ipv4()).unwrap();
    let list = ipset.create(name("list"), &NewSet::<ListSet>::new()).unwrap();
    ipset.add(&list, &Member::new(name("ports"))).unwrap();
    ipset.add(&list, &Member::new(ListMember::new(name("hosts")).before(name("ports")))).unwrap();
    let order: Vec<_> = ipset.members(&list).unwrap().iter().map(|member| member.entry.set).collect();
    assert_eq!(order, [name("hosts"), name("ports")]);
    assert!(ipset.destroy(name("ports")).unwrap_err().is_in_use());
    ipset.destroy(name("list")).unwrap();
    ipset.destroy(name("ports")).unwrap();
}
