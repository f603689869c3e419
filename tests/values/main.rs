//! Specs and keys as JSON: golden texts, and what is accepted beyond them.
#![expect(clippy::unwrap_used, reason = "in a test, a failed step is a failed test")]

mod ipset;
mod ipvs;

use std::fmt::Debug;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;
use std::time::Duration;

use lvs::ipset::{
    Addresses, AnyType, BitmapRange, Comment, HashIpPort, HashNetIface, Mac, Member, Network, NewSet, Ports,
    ProtocolPorts, SetName, SetOptions,
};
use lvs::ipvs::{
    Destination, Forwarding, Netmask, OverviewAddress, Persistence, PersistenceEngine, Scheduler, Service,
    ServiceFlags, ServiceKey, SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::ready::{Finding, Level, Part, Presence, Report};
use lvs::vip::{self, Binder, Vip};
use lvs::{Interface, Outcome, Protocol};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The value has this text, and this text has the value.
#[track_caller]
fn golden<T: Debug + DeserializeOwned + PartialEq + Serialize>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
}

fn web() -> ServiceKey {
    ServiceKey::tcp("10.96.0.10:443".parse().unwrap())
}

#[test]
fn services_are_json() {
    let service = Service::new(web(), Scheduler::WRR);
    golden(&service, r#"{"service":"10.96.0.10:443/tcp","scheduler":"wrr"}"#);
    let persistence =
        Persistence::new(Duration::from_secs(300)).netmask(Netmask::inet("255.255.255.0".parse().unwrap()));
    let all = service.persistence(persistence).engine(PersistenceEngine::SIP).flags(ServiceFlags::PORT);
    golden(
        &all,
        r#"{"service":"10.96.0.10:443/tcp","scheduler":"wrr","persistent":{"timeout":300,"netmask":"255.255.255.0"},"pe":"sip","flags":"flag-2"}"#,
    );
}

#[test]
fn destinations_are_json() {
    let pod = Destination::new("10.9.1.1:80".parse().unwrap());
    golden(&pod, r#"{"address":"10.9.1.1:80","forwarding":"masq","weight":1}"#);
    let gue = Tunnel::Gue { port: NonZeroU16::new(6080).unwrap(), flags: TunnelFlags::CHECKSUM };
    let thresholds = Thresholds { upper: NonZeroU32::new(100).unwrap(), lower: NonZeroU32::new(50) };
    golden(
        &pod.forwarding(Forwarding::Tunnel(gue)).thresholds(thresholds),
        r#"{"address":"10.9.1.1:80","forwarding":"tunnel gue port 6080 csum","weight":1,"thresholds":{"upper":100,"lower":50}}"#,
    );
    assert_eq!(serde_json::from_str::<Destination>(r#"{"address":"10.9.1.1:80"}"#).unwrap(), pod);
}

#[test]
fn daemons_and_timeouts_are_json() {
    let daemon = SyncDaemon::new(SyncState::Master, Interface::new("eth0").unwrap(), 7);
    golden(&daemon, r#"{"state":"master","interface":"eth0","syncid":7}"#);
    golden(
        &daemon.max_length(NonZeroU16::new(1400).unwrap()),
        r#"{"state":"master","interface":"eth0","syncid":7,"maxlen":1400}"#,
    );
    golden(&Timeouts::default().tcp_fin(Duration::from_secs(120)), r#"{"tcpfin":120}"#);
    golden(&Timeouts::default(), "{}");
}

#[test]
fn sets_and_members_are_json() {
    let member = Member::<HashIpPort>::parse("10.0.0.1,tcp:80 timeout 30").unwrap();
    golden(&member.comment(Comment::new("x y").unwrap()), r#""10.0.0.1,tcp:80 timeout 30 comment \"x y\"""#);
    golden(
        &Member::<HashNetIface>::parse("10.0.0.0/8,eth wildcard nomatch").unwrap(),
        r#""10.0.0.0/8,eth wildcard nomatch""#,
    );
    golden(&"hash:ip family inet counters".parse::<NewSet<AnyType>>().unwrap(), r#""hash:ip family inet counters""#);
    let options: SetOptions = "range 1-2 timeout 5 counters".parse().unwrap();
    golden(&options, r#"{"range":"1-2","timeout":5,"counters":true}"#);
}

#[test]
fn binders_and_virtual_ips_are_json() {
    golden(&Binder::dummy("vip0").unwrap(), r#""dummy vip0""#);
    golden(&Binder::local_routes(77), r#""local-routes 77""#);
    golden(&"10.96.0.0/12".parse::<Vip>().unwrap(), r#""10.96.0.0/12""#);
    let vip = "10.96.0.10".parse().unwrap();
    golden(
        &vip::Change::Bind(Binder::local_routes(77), vip),
        r#"{"bind":{"binder":"local-routes 77","vip":"10.96.0.10"}}"#,
    );
    golden(
        &vip::Change::Unbind(Binder::dummy("vip0").unwrap(), vip),
        r#"{"unbind":{"binder":"dummy vip0","vip":"10.96.0.10"}}"#,
    );
    golden(&vip::Tally::default(), r#"{"bound":0,"unbound":0,"unchanged":0}"#);
    golden(&Outcome::Unchanged, r#""unchanged""#);
}

#[test]
fn reports_are_json() {
    golden(&Part::Scheduler(Scheduler::WRR), r#"{"scheduler":"wrr"}"#);
    golden(&Part::Dummy, r#""dummy""#);
    golden(&Presence::Loadable, r#""loadable""#);
    golden(&Level::Depends, r#""depends""#);
    let finding =
        r#"{"what":"net.ipv4.ip_forward","found":"0","advised":"1","why":"masquerading forwards","level":"missing"}"#;
    golden(&serde_json::from_str::<Finding>(finding).unwrap(), finding);
    let report = format!(
        r#"{{"release":"6.12.0","ipvs":"present","ipvs_version":[1,2,1],"schedulers":[["rr","present"]],"ipset":"loadable","ipset_protocol":null,"set_types":[["hash:ip","present",{{"start":0,"end":6}}]],"dummy":"absent","may_use_ipvs":true,"may_change_network":false,"settings":[{finding}]}}"#
    );
    let read: Report = serde_json::from_str(&report).unwrap();
    golden(&read, &report);
    assert_eq!(read.settings[0].to_string(), "net.ipv4.ip_forward: 0, advised 1: masquerading forwards");
}

#[test]
fn unknown_fields_are_accepted_and_wrong_text_is_not() {
    let service: Service = serde_json::from_str(r#"{"service":"fwmark 7","scheduler":"rr","later":[1]}"#).unwrap();
    assert_eq!(service.key.to_string(), "fwmark 7");
    let error = serde_json::from_str::<ServiceKey>(r#""10.0.0.1:80""#).unwrap_err().to_string();
    assert!(error.starts_with(r#""10.0.0.1:80" is not a service such as"#), "{error}");
}

#[test]
fn values_without_text_are_errors() {
    assert!(serde_json::to_string(&SetName::any(b"\xff").unwrap()).is_err());
    assert!(serde_json::to_string(&Comment::any(b"\xff").unwrap()).is_err());
    assert!(serde_json::to_string(&Network::of_host("10.0.0.3".parse().unwrap(), 30)).is_err());
    assert!(serde_json::to_string(&Timeouts::default().udp(Duration::from_millis(1))).is_err());
}

/// Every number of the text is refused with a sign.
#[track_caller]
fn has_no_sign<T: Debug + FromStr>(text: &str) {
    assert!(text.parse::<T>().is_ok(), "{text}");
    let mut before = ' ';
    for (place, char) in text.char_indices() {
        if char.is_ascii_digit() && !before.is_ascii_alphanumeric() {
            for sign in ["+", "-"] {
                let signed = [&text[..place], sign, &text[place..]].concat();
                assert!(signed.parse::<T>().is_err(), "{signed}");
            }
        }
        before = char;
    }
}

#[test]
fn numbers_of_texts_have_no_sign() {
    has_no_sign::<Vip>("10.96.0.0/12");
    has_no_sign::<Vip>("fd00:96::/64");
    has_no_sign::<Binder>("local-routes 77");
    has_no_sign::<Binder>("label eth0:web 77");
    has_no_sign::<Protocol>("132");
    has_no_sign::<ServiceKey>("10.96.0.10:443/tcp");
    has_no_sign::<ServiceKey>("[2001:db8::1]:443/132");
    has_no_sign::<ServiceKey>("fwmark 7 inet6");
    has_no_sign::<Service>("10.96.0.10:443/tcp wrr persistent 300 mask 255.255.255.0");
    has_no_sign::<Destination>("10.9.1.1:80 tunnel gue port 6080 weight 2 upper 100 lower 50");
    has_no_sign::<SyncDaemon>("master mcast eth0 syncid 7 maxlen 1400 group 239.0.0.81 port 8848 ttl 1");
    has_no_sign::<Timeouts>("tcp 900s, tcp fin 120s, udp 300s");
    has_no_sign::<Netmask>("64");
    has_no_sign::<ServiceFlags>("0x40");
    has_no_sign::<OverviewAddress>("10.96.0.10:80/tcp");
    has_no_sign::<OverviewAddress>("fwmark 7");
    has_no_sign::<Network>("10.0.0.0/8");
    has_no_sign::<Addresses>("10.0.0.0-10.0.0.9");
    has_no_sign::<Mac>("02:0a:00:00:00:01");
    has_no_sign::<Ports>("1000-2000");
    has_no_sign::<ProtocolPorts>("tcp:80");
    has_no_sign::<ProtocolPorts>("icmp:8/0");
    has_no_sign::<BitmapRange>("1000-2000");
    has_no_sign::<SetOptions>("family inet hashsize 1024 maxelem 65536 timeout 60");
    has_no_sign::<NewSet<AnyType>>("bitmap:port range 1000-2000 timeout 60");
}
