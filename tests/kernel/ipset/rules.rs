//! Sets and the rules that match with them.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipset::{HashIp, HashNet, HashNetPort, Ipset, Kind, Member, NewSet, ProtocolPorts, Set, SetType};

use super::{addresses, name};
use crate::lab::{Lab, Need, tests};
use crate::peers::until;

pub(super) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipset(Kind::HashIp), Need::Program("iptables")];
        packets_are_counted,
        what_is_swapped_in_is_matched_at_once,
        exceptions_are_not_matched,
        a_set_that_a_rule_uses_stays,
    );
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; entries_leave_by_themselves,));
    all
}

/// Sends datagrams of 20 bytes, 48 with their headers, from and to these addresses of the lab.
fn send(lab: &Lab, from: &str, to: &str, count: u64) {
    lab.run(|| {
        let socket = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0)).unwrap();
        for _ in 0..count {
            // Nobody listens; the packet is sent all the same.
            let _ = socket.send_to(&[0; 20], (to.parse::<IpAddr>().unwrap(), 9));
        }
    });
}

/// Returns the counters of a rule that only counts.
fn counted<T: SetType>(ipset: &mut Ipset, set: &Set<T>) -> Vec<(u64, u64)> {
    let members = ipset.stream_members(set).unwrap().map(|member| member.unwrap().counters);
    members.map(|counters| (counters.packets.unwrap(), counters.bytes.unwrap())).collect()
}

fn packets_are_counted(lab: &Lab) {
    let mut ipset = lab.ipset();
    let set = ipset.create(name("from"), &NewSet::<HashIp>::ipv4().counters()).unwrap();
    ipset.add(&set, &Member::new(addresses("127.0.0.2"))).unwrap();
    lab.tool("iptables -A OUTPUT -m set --match-set from src");
    send(lab, "127.0.0.2", "127.0.0.9", 5);
    send(lab, "127.0.0.3", "127.0.0.9", 7);
    assert_eq!(counted(&mut ipset, &set), [(5, 5 * 48)]);
    let new = NewSet::<HashNetPort>::ipv6().counters();
    let nets = ipset.create(name("to"), &new).unwrap();
    ipset.add(&nets, &Member::new((addresses("::1"), ProtocolPorts::udp(9)))).unwrap();
    lab.tool("ip6tables -A OUTPUT -m set --match-set to dst,dst");
    send(lab, "::1", "::1", 3);
    assert_eq!(counted(&mut ipset, &nets), [(3, 3 * 68)]);
}

fn what_is_swapped_in_is_matched_at_once(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4().counters();
    let members = |text: &str| [Member::new(addresses(text))];
    let live = ipset.replace(name("live"), &new, members("127.0.0.2")).unwrap();
    lab.tool("iptables -A OUTPUT -m set --match-set live src");
    send(lab, "127.0.0.3", "127.0.0.9", 2);
    assert_eq!(counted(&mut ipset, &live), [(0, 0)]);
    ipset.replace(name("live"), &new, members("127.0.0.3")).unwrap();
    send(lab, "127.0.0.3", "127.0.0.9", 2);
    assert_eq!(counted(&mut ipset, &live), [(2, 96)]);
    assert_eq!(ipset.set(name("live")).unwrap().references, 1);
}

fn exceptions_are_not_matched(lab: &Lab) {
    let mut ipset = lab.ipset();
    let nets = ipset.create(name("nets"), &NewSet::<HashNet>::ipv4()).unwrap();
    ipset.add(&nets, &Member::new(addresses("10.0.0.0/8"))).unwrap();
    ipset.add(&nets, &Member::new(addresses("10.1.0.0/16")).nomatch()).unwrap();
    let mut is_in = |text: &str| ipset.test(&nets, &Member::new(addresses(text))).unwrap();
    assert_eq!([is_in("10.2.3.4"), is_in("10.1.2.3"), is_in("11.0.0.1")], [true, false, false]);
    let exceptions = ipset.stream_members(&nets).unwrap().filter(|member| member.as_ref().unwrap().nomatch).count();
    assert_eq!(exceptions, 1);
}

fn a_set_that_a_rule_uses_stays(lab: &Lab) {
    let mut ipset = lab.ipset();
    ipset.create(name("used"), &NewSet::<HashIp>::ipv4()).unwrap();
    lab.tool("iptables -A OUTPUT -m set --match-set used src");
    let error = ipset.destroy(name("used")).unwrap_err();
    assert!(error.is_in_use() && error.to_string().contains("destroy set used"), "{error}");
    assert!(ipset.rename(name("used"), name("other")).unwrap_err().is_in_use());
    assert!(ipset.destroy_all().unwrap_err().is_in_use());
    lab.tool("iptables -F OUTPUT");
    // The rules are given back to the kernel some time later.
    until("a set without rules is destroyed", || ipset.destroy(name("used")).is_ok());
}

fn entries_leave_by_themselves(lab: &Lab) {
    let mut ipset = lab.ipset();
    let new = NewSet::<HashIp>::ipv4().timeout(Duration::from_secs(1));
    let set = ipset.create(name("soon"), &new).unwrap();
    ipset.add(&set, &Member::new(addresses("10.0.0.1"))).unwrap();
    ipset.add(&set, &Member::new(addresses("10.0.0.2")).timeout(Duration::ZERO)).unwrap();
    until("an entry leaves", || !ipset.test(&set, &Member::new(addresses("10.0.0.1"))).unwrap());
    let left: Vec<_> = ipset.stream_members(&set).unwrap().map(|member| member.unwrap()).collect();
    assert_eq!(left, [Member::new(addresses("10.0.0.2")).timeout(Duration::ZERO)]);
}
