//! The model that `lvs::testing` gives to users says what the real kernel says.

mod vips;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{
    Addresses, BitmapIp, BitmapIpMac, BitmapPort, Comment, Counters, HashIp, HashIpMac, HashIpMark, HashIpPort,
    HashIpPortIp, HashIpPortNet, HashMac, HashNet, HashNetIface, HashNetNet, HashNetPort, HashNetPortNet,
    InterfaceMatch, Ipset, Kind, ListMember, ListSet, Listed, Mac, Member, Network, NewSet, Ports, ProtocolPorts, Set,
    SetName, SetType, SkbInfo,
};
use lvs::ipvs::{
    Change, Destination, Forwarding, Ipvs, Persistence, PersistenceEngine, Scheduler, Service, ServiceKey, SyncDaemon,
    SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::testing::Kernel;
use lvs::{Family, Interface, Result};

use crate::lab::{Lab, Need, address, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs]; the_model_of_ipvs_says_what_the_kernel_says,);
    all.extend(tests!(&[Need::Ipset(Kind::HashNetPortNet)]; the_model_of_ipset_says_what_the_kernel_says,));
    all.extend(vips::tests());
    all
}

/// Results, one line for each operation.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    fn note<T: std::fmt::Debug>(&mut self, result: Result<T>) {
        self.0.push(match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("{error}, {:?}", error.errno()),
        });
    }

    fn compare(&self, kernel: &Self) {
        let differ = |(number, (model, kernel)): (usize, (&String, &String))| {
            let start = model.bytes().zip(kernel.bytes()).take_while(|(one, other)| one == other).count();
            let end = |text: &String| text.chars().skip(start.saturating_sub(60)).take(200).collect::<String>();
            (model != kernel).then(|| format!("{number}: {}\n{number}: {}\n", end(model), end(kernel)))
        };
        let differences: Vec<_> = self.0.iter().zip(&kernel.0).enumerate().filter_map(differ).collect();
        assert!(differences.is_empty(), "the model, and the kernel, at each:\n{}", differences.concat());
        assert_eq!(self.0.len(), kernel.0.len());
    }
}

fn table(ipvs: &mut Ipvs) -> Result<Vec<String>> {
    let mut lines: Vec<_> = ipvs.table()?.iter().map(|entry| format!("{entry:?}")).collect();
    // The kernel's order is that of its hash table; of the destinations it is told.
    lines.sort();
    Ok(lines)
}

fn with_ipvs(mut ipvs: Ipvs) -> Told {
    let mut told = Told::default();
    let web = Service::tcp(address("10.96.0.10:443"), Scheduler::WRR);
    let six = Service::udp(address("[2001:db8::a]:53"), Scheduler::RR).persistent(Duration::from_secs(60));
    let mark =
        Service::new(ServiceKey::FirewallMark { mark: 7.try_into().unwrap(), family: Family::Inet }, Scheduler::NONE);
    let mut sip = Service::udp(address("10.96.0.11:5060"), Scheduler::SH);
    sip.engine = Some(PersistenceEngine::SIP);
    sip.persistence = Some(Persistence::new(Duration::from_secs(300)));
    let unknown = Scheduler::new("foo").unwrap();
    let server = |text| Destination::new(address(text));
    told.note(table(&mut ipvs));
    for service in [web, six, mark, sip, web, Service::new(web.key, unknown)] {
        told.note(ipvs.add_service(service));
    }
    told.note(ipvs.add_service(Service::tcp(address("10.96.0.12:443"), unknown)));
    told.note(ipvs.set_service(Service::new(web.key, Scheduler::SED)));
    told.note(ipvs.set_service(Service::new(web.key, unknown)));
    told.note(ipvs.set_service(Service::tcp(address("10.96.0.12:443"), Scheduler::RR)));
    told.note(ipvs.update_service(six.key, |service| service.persistence = None));
    told.note(ipvs.service(web.key));
    told.note(ipvs.service(ServiceKey::udp(address("10.96.0.10:443"))));
    let missing = ServiceKey::tcp(address("10.96.0.99:443"));
    let mut full = server("10.244.1.1:443").weight(7);
    full.thresholds = Some(Thresholds { upper: 9.try_into().unwrap(), lower: 3.try_into().ok() });
    let tunnel = Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(6080).unwrap(), flags: TunnelFlags::empty() });
    for (key, destination) in [
        (web.key, full),
        (web.key, server("10.244.1.2:443").forwarding(Forwarding::DirectRoute)),
        (web.key, server("10.244.1.3:443").forwarding(tunnel)),
        (web.key, server("10.244.1.2:443")),
        (web.key, server("[2001:db8::1]:443").forwarding(Forwarding::Tunnel(Tunnel::Ipip))),
        (six.key, server("[2001:db8::1]:53")),
        (mark.key, server("10.244.1.2:0").forwarding(Forwarding::Local)),
        (missing, server("10.244.1.2:443")),
    ] {
        told.note(ipvs.add_destination(key, destination));
    }
    told.note(ipvs.destinations(web.key));
    told.note(ipvs.destinations(sip.key));
    told.note(ipvs.destinations(missing));
    told.note(ipvs.set_destination(web.key, server("10.244.1.1:443")));
    told.note(ipvs.set_destination(web.key, server("10.244.1.9:443")));
    told.note(ipvs.update_destination(web.key, address("10.244.1.2:443"), |server| server.weight = 0));
    told.note(ipvs.update_destination(web.key, address("10.244.1.9:443"), |server| server.weight = 0));
    told.note(table(&mut ipvs));

    let near = Interface::new("near").unwrap();
    let master = SyncDaemon::new(SyncState::Master, near, 3);
    let mut backup = SyncDaemon::new(SyncState::Backup, near, 4);
    backup.port = NonZeroU16::new(9999);
    told.note(ipvs.start_daemon(&master));
    told.note(ipvs.delete_destination(web.key, address("[2001:db8::1]:443")));
    told.note(ipvs.start_daemon(&backup));
    told.note(ipvs.start_daemon(&master));
    told.note(ipvs.start_daemon(&backup));
    told.note(ipvs.daemons());
    let mixed = server("[2001:db8::1]:443").forwarding(Forwarding::Tunnel(Tunnel::Ipip));
    told.note(ipvs.add_destination(web.key, mixed));
    for state in [SyncState::Backup, SyncState::Master, SyncState::Master] {
        told.note(ipvs.stop_daemon(state));
    }
    told.note(ipvs.daemons());
    // The kernel raises it.
    backup.max_length = NonZeroU16::new(500);
    let mut wide = SyncDaemon::new(SyncState::Backup, near, 4);
    wide.group = Some(IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x81]));
    for daemon in [backup, wide] {
        told.note(ipvs.start_daemon(&daemon));
        told.note(ipvs.daemons());
        told.note(ipvs.stop_daemon(SyncState::Backup));
    }

    told.note(ipvs.timeouts());
    told.note(ipvs.set_timeouts(&Timeouts { tcp: Some(Duration::from_secs(77)), ..Timeouts::default() }));
    told.note(ipvs.timeouts());
    told.note(ipvs.delete_destination(web.key, address("10.244.1.2:443")));
    told.note(ipvs.delete_destination(web.key, address("10.244.1.2:443")));
    told.note(ipvs.delete_destination(missing, address("10.244.1.2:443")));
    told.note(ipvs.zero(web.key));
    told.note(ipvs.zero(missing));
    told.note(ipvs.zero_all());
    let batch = ipvs.batch([
        Change::AddService(web),
        Change::DeleteService(six.key),
        Change::DeleteService(six.key),
        Change::AddDestination(six.key, server("[2001:db8::1]:53")),
        Change::AddService(six),
    ]);
    told.note(batch.map_err(lvs::Error::from));
    told.note(ipvs.delete_service(web.key));
    told.note(ipvs.delete_service(web.key));
    told.note(table(&mut ipvs));
    told.note(ipvs.clear());
    told.note(table(&mut ipvs));
    told
}

fn the_model_of_ipvs_says_what_the_kernel_says(lab: &Lab) {
    lab.add_interface();
    with_ipvs(Kernel::new().ipvs().unwrap()).compare(&with_ipvs(lab.ipvs()));
}

/// Everything, sorted, without what is the kernel's own: memory, the hash function's start, newer revisions, seconds.
fn everything(ipset: &mut Ipset) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut set = String::new();
    for listed in ipset.stream_contents(None)? {
        lines.push(match listed? {
            Listed::Set(mut info) => {
                (info.memory, info.revision) = (0, 0);
                (info.options.initval, info.options.bucketsize) = (None, None);
                set = info.set.to_string();
                format!("{set} {info:?}")
            }
            Listed::Member(mut member) => {
                member.timeout = member.timeout.map(|left| Duration::from_secs(left.as_secs().min(500)));
                format!("{set} {member:?}")
            }
        });
    }
    lines.sort();
    Ok(lines)
}

fn name(text: &str) -> SetName {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> Network {
    text.parse().unwrap()
}

/// Adds entries to a new set, then tests others.
fn of_type<T: SetType>(
    told: &mut Told,
    ipset: &mut Ipset,
    new: &NewSet<T>,
    entries: impl IntoIterator<Item = T::Entry>,
    tested: impl IntoIterator<Item = T::Entry>,
) -> Set<T> {
    let kind = T::KIND.unwrap();
    let set = ipset.create(name(kind.name()), new).unwrap();
    for entry in entries {
        told.note(ipset.add(&set, &Member::new(entry)));
        told.note(ipset.add(&set, &Member::new(entry)));
    }
    for entry in tested {
        told.note(ipset.test(&set, &Member::new(entry)));
    }
    set
}

fn with_bitmaps(told: &mut Told, all: &mut Ipset) {
    let v4 = |last| Ipv4Addr::new(10, 7, 0, last);
    let addresses = NewSet::<BitmapIp>::range(v4(200), v4(10)).counters();
    told.note(all.create(name("large"), &NewSet::<BitmapIp>::range(v4(0), Ipv4Addr::new(10, 8, 0, 0))));
    told.note(all.create(name("low"), &addresses));
    told.note(all.put_set(name("low"), &NewSet::<BitmapIp>::range(v4(10), v4(200)).counters()));
    told.note(all.put_set(name("low"), &NewSet::<BitmapIp>::range(v4(10), v4(201)).counters()));
    told.note(all.put_set(name("low"), &NewSet::<BitmapIp>::range(v4(10), v4(200))));
    let low = all.open::<BitmapIp>(name("low")).unwrap();
    for text in ["10.7.0.20", "10.7.0.20", "10.7.0.9", "10.7.0.30-10.7.0.25", "10.7.0.190-10.7.0.210", "10.7.0.28/30"] {
        let member = Member::new(text.parse::<Addresses>().unwrap());
        told.note(all.add(&low, &member));
        told.note(all.test(&low, &Member::new(v4(9))));
        told.note(all.delete(&low, &Member::new(v4(27))));
        told.note(all.put(&low, &member.counters(Counters { packets: Some(7), bytes: None })));
        told.note(all.remove(&low, &Member::new(v4(5))));
        told.note(all.members(&low));
    }
    told.note(all.add(&low, &Member::new(v4(5)).timeout(Duration::from_secs(9))));
    told.note(all.swap(name("low"), name("some")));
    told.note(all.swap(name("low"), name("some")));

    let mac = |last| Some(Mac::new([2, 0, 0, 0, 0, last]));
    let new = NewSet::<BitmapIpMac>::range(v4(0), v4(255)).timeout(Duration::from_secs(400)).comment();
    let macs = all.create(name("macs"), &new).unwrap();
    let comment = Comment::new("x").unwrap();
    for entry in [(v4(1), None), (v4(1), None), (v4(1), mac(1)), (v4(1), mac(2)), (v4(1), mac(1)), (v4(1), None)] {
        for put in [false, true] {
            let member = Member::<BitmapIpMac>::new(entry).timeout(Duration::ZERO).comment(comment.clone());
            told.note(if put { all.put(&macs, &member).map(drop) } else { all.add(&macs, &member) });
            for tested in [None, mac(1), mac(2)] {
                told.note(all.test(&macs, &Member::new((v4(1), tested))));
            }
            told.note(all.members(&macs));
        }
    }
    told.note(all.add(&macs, &Member::new((v4(2), mac(1)))));
    told.note(all.delete(&macs, &Member::new((v4(2), mac(7)))));
    told.note(all.delete(&macs, &Member::new((v4(2), mac(1)))));
    told.note(all.add(&macs, &Member::new((Ipv4Addr::new(10, 8, 0, 1), mac(1)))));
    told.note(all.swap(name("macs"), name("hash:ip,mac")));
    told.note(all.swap(name("macs"), name("hash:ip,mac")));

    let ports =
        all.create(name("ports"), &NewSet::<BitmapPort>::range(Ports { first: 1023, last: 80 }).skbinfo()).unwrap();
    for range in [80..=80, 80..=80, 79..=81, 100..=103, 102..=105, 1023..=1024] {
        let member = Member::<BitmapPort>::new(range);
        told.note(all.add(&ports, &member));
        told.note(all.put(&ports, &member));
        told.note(all.delete(&ports, &Member::new(103)));
        told.note(all.members(&ports));
    }
    told.note(all.test(&ports, &Member::new(80)));
    told.note(all.test(&ports, &Member::new(79)));
    for set in ["low", "macs", "ports"] {
        told.note(all.header(name(set)));
    }
    told.note(everything(all));
}

fn with_lists(told: &mut Told, all: &mut Ipset) {
    let new = NewSet::<ListSet>::new().comment();
    let list = all.create(name("a list"), &new).unwrap();
    told.note(all.put_set(name("a list"), &new.size(8)));
    told.note(all.put_set(name("a list"), &new.size(9)));
    told.note(all.create(name("short"), &NewSet::<ListSet>::new().size(1)));
    let at = |set| ListMember::new(name(set));
    for member in [
        at("ports"),
        at("ports"),
        at("low").before(name("ports")),
        at("macs").after(name("low")),
        at("some").before(name("macs")),
        at("marks").after(name("ports")),
        at("six").before(name("six")),
        at("six").before(name("spare")),
        at("six").after(name("blocked")),
        at("six").after(name("nowhere")),
        at("nowhere"),
        at("short"),
        at("a list"),
        at("low").after(name("marks")),
        at("six"),
    ] {
        told.note(all.add(&list, &Member::new(member)));
        told.note(all.test(&list, &Member::new(member)));
        told.note(all.put(&list, &Member::new(member).comment(Comment::new("y").unwrap())));
        told.note(all.test(&list, &Member::new(at("low").before(name("macs")))));
        told.note(all.test(&list, &Member::new(at("ports").after(name("macs")))));
        told.note(all.members(&list));
    }
    told.note(all.rename(name("low"), name("lower")));
    told.note(all.rename(name("low"), name("ports")));
    told.note(all.rename(name("low"), name("low")));
    told.note(all.destroy(name("low")));
    told.note(all.remove_set(name("low")));
    told.note(all.destroy_all());
    told.note(all.clear(name("ports")));
    told.note(all.swap(name("low"), name("some")));
    told.note(all.swap(name("a list"), name("short")));
    told.note(all.swap(name("a list"), name("short")));
    told.note(everything(all));
    for member in [
        at("some").after(name("low")),
        at("low").before(name("ports")),
        at("spare"),
        at("nowhere"),
        at("six").after(name("marks")),
        at("macs"),
        at("macs"),
        at("macs").before(name("low")),
    ] {
        told.note(all.delete(&list, &Member::new(member)));
        told.note(all.remove(&list, &Member::new(member)));
        told.note(all.members(&list));
    }
    told.note(all.sync(&list, [Member::new(at("low")), Member::new(at("marks"))]).map_err(lvs::Error::from));
    told.note(all.members(&list));
    told.note(all.clear(name("a list")));
    told.note(all.rename(name("low"), name("lower")));
    told.note(all.destroy(name("lower")));
    told.note(all.destroy(name("a list")));
}

fn with_ipset(mut ipset: Ipset) -> Told {
    let mut told = Told::default();
    let all = &mut ipset;
    told.note(all.version().map(|versions| *versions.end()));
    told.note(all.names());
    let counted = NewSet::<HashIp>::ipv4().counters().maxelem(3);
    told.note(all.create(name("blocked"), &counted));
    told.note(all.create(name("blocked"), &counted));
    told.note(all.put_set(name("blocked"), &counted.hashsize(64)));
    told.note(all.put_set(name("blocked"), &counted.comment()));
    told.note(all.put_set(name("blocked"), &NewSet::<HashMac>::new()));
    let blocked = all.open::<HashIp>(name("blocked")).unwrap();
    let host = |last| Member::<HashIp>::new(Ipv4Addr::new(192, 0, 2, last));
    let count = Counters { packets: Some(5), bytes: None };
    for (member, fine) in [
        (host(1), false),
        (host(1), false),
        (host(1).counters(count), true),
        (host(1), true),
        (host(2).counters(count), true),
        (host(3).comment(Comment::new("x").unwrap()), false),
        (host(3).timeout(Duration::from_secs(9)), false),
        (host(3).skb(SkbInfo { queue: Some(3), ..SkbInfo::default() }), false),
        (host(3), false),
        (host(4), false),
        (host(4), true),
    ] {
        told.note(if fine { all.put(&blocked, &member).map(drop) } else { all.add(&blocked, &member) });
    }
    for last in [1, 9] {
        told.note(all.test(&blocked, &host(last)));
        told.note(all.delete(&blocked, &host(last)));
        told.note(all.remove(&blocked, &host(last)));
    }
    told.note(everything(all));
    let carrying =
        NewSet::<HashIp>::ipv6().timeout(Duration::from_secs(600)).comment().skbinfo().forceadd().hashsize(100);
    let six = all.create(name("six"), &carrying).unwrap();
    let skb = SkbInfo { mark: Some((7, 0xff)), priority: Some((1, 16)), queue: Some(3) };
    let long = Member::new(ip("2001:db8::1")).comment(Comment::new("why").unwrap()).skb(skb);
    told.note(all.add(&six, &long));
    told.note(all.add(&six, &Member::new(ip("2001:db8::2")).timeout(Duration::ZERO)));
    told.note(all.add(&six, &Member::new(ip("2001:db8::3")).counters(count)));
    told.note(all.put(&six, &Member::new(ip("2001:db8::1"))));
    told.note(everything(all));

    let new = NewSet::<HashNet>::ipv4();
    let inside = [ip("10.1.2.3"), ip("10.2.2.3"), ip("11.0.0.1")].map(Into::into);
    let exact = [net("10.0.0.0/8"), net("10.2.0.0/16")].map(Into::into);
    let nets = of_type(&mut told, all, &new, [net("10.0.0.0/8").into(), net("0.0.0.0/0").into()], inside);
    told.note(all.add(&nets, &Member::new(net("10.1.0.0/16")).nomatch()));
    for entry in inside.into_iter().chain(exact).chain([net("10.1.0.0/16").into()]) {
        told.note(all.test(&nets, &Member::new(entry)));
        told.note(all.test(&nets, &Member::new(entry).nomatch()));
    }
    let (http, dns) = (ProtocolPorts::tcp(80), ProtocolPorts::udp(53));
    let (one, other) = (ip("10.0.0.1"), ip("10.0.0.2"));
    let (here, there) = (net("10.0.0.0/24"), net("10.9.0.0/16"));
    let mac = |last| Mac::new([2, 0, 0, 0, 0, last]);
    let new = NewSet::ipv4();
    of_type::<HashIpPort>(&mut told, all, &new, [(one.into(), http)], [(one.into(), http), (one.into(), dns)]);
    let new = NewSet::ipv4();
    of_type::<HashIpMac>(&mut told, all, &new, [(one, mac(1))], [(one, mac(1)), (one, mac(2)), (other, mac(1))]);
    let new = NewSet::ipv4();
    of_type::<HashIpMark>(&mut told, all, &new, [(one.into(), 7)], [(one.into(), 7), (one.into(), 8)]);
    let masked = NewSet::<HashIpMark>::ipv4().markmask(0xff00);
    let marks = all.create(name("marks"), &masked).unwrap();
    for mark in [0x1_2345, 0x2367, 0x67] {
        told.note(all.add(&marks, &Member::new((one, mark))));
        told.note(all.test(&marks, &Member::new((one, mark & 0xff00))));
    }
    told.note(all.delete(&marks, &Member::new((one, 0x23ff))));
    for set in ["marks", "hash:ip,mark"] {
        for new in [masked, NewSet::ipv4().markmask(u32::MAX), NewSet::ipv4()] {
            told.note(all.put_set(name(set), &new).map(|_| ()));
        }
    }
    of_type::<HashMac>(&mut told, all, &NewSet::<HashMac>::new(), [mac(1)], [mac(1), mac(2)]);
    let new = NewSet::ipv4();
    of_type::<HashIpPortIp>(
        &mut told,
        all,
        &new,
        [(one.into(), http, other)],
        [(one.into(), http, other), (one.into(), http, one)],
    );
    let new = NewSet::ipv4();
    of_type::<HashNetPort>(
        &mut told,
        all,
        &new,
        [(here.into(), http)],
        [(one.into(), http), (one.into(), dns), (here.into(), http), (ip("10.0.1.1").into(), http)],
    );
    let new = NewSet::ipv4();
    of_type::<HashNetNet>(
        &mut told,
        all,
        &new,
        [(here.into(), there.into())],
        [(one.into(), ip("10.9.1.1").into()), (one.into(), one.into()), (here.into(), there.into())],
    );
    let (eth0, eth1) = (InterfaceMatch::new("eth0".parse().unwrap()), InterfaceMatch::new("eth1".parse().unwrap()));
    let new = NewSet::ipv4();
    of_type::<HashNetIface>(&mut told, all, &new, [(here.into(), eth0)], [(one.into(), eth0), (one.into(), eth1)]);
    let new = NewSet::ipv4();
    let to = [(one.into(), http, ip("10.9.1.1").into()), (one.into(), http, one.into())];
    of_type::<HashIpPortNet>(&mut told, all, &new, [(one.into(), http, there.into())], to);
    let new = NewSet::ipv4();
    of_type::<HashNetPortNet>(&mut told, all, &new, [(here.into(), http, there.into())], to);
    // One that stands for many.
    let some = all.create(name("some"), &NewSet::<HashIp>::ipv4().maxelem(20)).unwrap();
    for entry in ["10.0.0.0/29", "10.0.0.6-10.0.0.9", "10.1.0.9-10.1.0.1", "10.2.0.0/30"] {
        let member = Member::new(entry.parse::<Addresses>().unwrap());
        told.note(all.add(&some, &member));
        told.note(all.test(&some, &member));
        told.note(all.put(&some, &member));
        told.note(all.test(&some, &member));
        told.note(everything(all));
    }
    let member = Member::new("10.0.0.4/30".parse::<Addresses>().unwrap());
    told.note(all.delete(&some, &member));
    told.note(all.remove(&some, &member));
    let pairs = all.open::<HashIpPort>(name("hash:ip,port")).unwrap();
    let member = Member::new(("10.0.0.0/30".parse::<Addresses>().unwrap(), ProtocolPorts::tcp(79..=81)));
    told.note(all.add(&pairs, &member));
    told.note(all.put(&pairs, &member));
    told.note(everything(all));

    with_bitmaps(&mut told, all);
    with_lists(&mut told, all);

    told.note(all.header(name("blocked")));
    told.note(all.header(name("nowhere")));
    told.note(all.index(name("six")));
    told.note(all.name_of(1));
    told.note(all.name_of(999));
    told.note(all.rename(name("six"), name("blocked")));
    told.note(all.rename(name("nowhere"), name("blocked")));
    told.note(all.rename(name("six"), name("seven")));
    told.note(all.swap(name("seven"), name("blocked")));
    told.note(all.swap(name("seven"), name("nowhere")));
    told.note(all.swap(name("nowhere"), name("seven")));
    told.note(all.swap(name("hash:ip,port,net"), name("hash:net,port,net")));
    told.note(all.index(name("hash:ip,port,net")));
    let many = |first| (first..20).map(host);
    let spare = all.create(name("spare"), &NewSet::<HashIp>::ipv4()).unwrap();
    told.note(all.add_all(&spare, many(1).chain(many(19)).chain(many(20))).map_err(lvs::Error::from));
    told.note(all.delete_all(&spare, many(5).chain([host(99)])).map_err(lvs::Error::from));
    told.note(all.replace(name("spare"), &NewSet::<HashIp>::ipv4(), many(15)).map_err(lvs::Error::from));
    told.note(all.replace(name("fresh"), &NewSet::<HashIp>::ipv4(), many(18)).map_err(lvs::Error::from));
    told.note(all.clear(name("blocked")));
    told.note(all.clear(name("nowhere")));
    told.note(everything(all));
    told.note(all.stream_contents(Some(name("nowhere"))).and_then(|mut list| list.next().transpose()));
    told.note(all.destroy(name("blocked")));
    told.note(all.destroy(name("blocked")));
    told.note(all.remove_set(name("blocked")));
    told.note(all.clear_all());
    told.note(everything(all));
    told.note(all.destroy_all());
    told.note(all.names());
    told
}

fn the_model_of_ipset_says_what_the_kernel_says(lab: &Lab) {
    with_ipset(Kernel::new().ipset()).compare(&with_ipset(lab.ipset()));
}
