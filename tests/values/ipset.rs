//! Sets, members of sets of any type, and requests about them, as JSON.

use lvs::ipset::{
    AnyType, Change, Counters, Entry, HashIp, HashNet, Kind, Listed, Member, Method, NewSet, Place, Query, Set,
    SetInfo, SetName, SkbInfo, Tally,
};

use crate::golden;

fn web() -> Set<AnyType> {
    serde_json::from_str(r#"{"name":"web","type":"hash:ip,port","family":"inet"}"#).unwrap()
}

fn member(kind: Kind, text: &str) -> Member<AnyType> {
    Member::parse_as(kind, text).unwrap()
}

#[test]
fn sets_are_json() {
    let set = r#"{"name":"web","type":"hash:ip","family":"inet"}"#;
    let typed: Set<HashIp> = serde_json::from_str(set).unwrap();
    golden(&typed, set);
    golden(&typed.any(), set);
    assert_eq!(serde_json::from_str::<Set<HashIp>>(r#"{"name":"web","type":"hash:ip"}"#).unwrap(), typed);
    let error = serde_json::from_str::<Set<HashNet>>(set).unwrap_err().to_string();
    assert!(error.starts_with("set web is of the type hash:ip, wanted hash:net"), "{error}");
    golden(
        &serde_json::from_str::<Set<AnyType>>(r#"{"name":"all","type":"list:set"}"#).unwrap(),
        r#"{"name":"all","type":"list:set"}"#,
    );
    golden(&"hash:ip family inet counters".parse::<NewSet<HashIp>>().unwrap(), r#""hash:ip family inet counters""#);
    assert!(serde_json::from_str::<NewSet<HashNet>>(r#""hash:ip family inet""#).is_err());
    golden(&Method::Bitmap, r#""bitmap""#);
}

#[test]
fn infos_of_sets_are_json() {
    let start = r#"{"name":"web","type":"hash:ip","family":"inet","revision":6,"index":3"#;
    let options = r#""options":{"family":"inet","hashsize":1024,"maxelem":65536,"timeout":600,"counters":true}"#;
    let text = format!(r#"{start},{options},"references":1,"memsize":408,"numentries":2}}"#);
    let info: SetInfo = serde_json::from_str(&text).unwrap();
    golden(&info, &text);
    assert_eq!((info.set.name().to_string(), info.index, info.memory, info.entries), ("web".into(), Some(3), 408, 2));
    golden(&Listed::Set(info), &format!(r#"{{"set":{text}}}"#));
    let later = text.replace(r#""revision""#, r#""later":{"x":[1]},"revision""#);
    assert_eq!(serde_json::from_str::<SetInfo>(&later).unwrap(), info);
    let least: SetInfo = serde_json::from_str(r#"{"name":"web","type":"hash:ip","revision":6}"#).unwrap();
    assert_eq!((least.set, least.index, least.entries), (info.set, None, 0));
}

#[test]
fn members_of_any_type_are_json() {
    for (kind, parts, text) in [
        (Kind::HashIp, "ip", "10.0.0.1 timeout 30"),
        (Kind::HashNet, "ip", "10.0.0.0/8 nomatch"),
        (Kind::BitmapIpMac, "ip,mac", "10.0.0.1"),
        (Kind::HashIpMac, "ip,mac", "10.0.0.1,02:00:00:00:00:01"),
        (Kind::HashIpMark, "ip,mark", "10.0.0.1,0x0000002a"),
        (Kind::HashIpPort, "ip,port", "10.0.0.1,tcp:80 packets 4 bytes 5"),
        (Kind::HashIpPortIp, "ip,port,ip", "10.0.0.1,tcp:80,10.0.0.2"),
        (Kind::HashNetNet, "ip,ip", "10.0.0.0/8,192.168.0.0/16"),
        (Kind::HashNetIface, "ip,iface", "10.0.0.0/8,physdev:eth wildcard"),
        (Kind::BitmapPort, "port", "80-90"),
        (Kind::HashMac, "mac", "02:00:00:00:00:01"),
        (Kind::ListSet, "set", "web before dns"),
    ] {
        let member = member(kind, text);
        let json = format!(r#"{{"parts":"{parts}","member":"{text}"}}"#);
        golden(&member, &json);
        golden(&Listed::Member(member.clone()), &format!(r#"{{"member":{json}}}"#));
        golden(&member.entry, &format!(r#"{{"parts":"{parts}","entry":"{}"}}"#, member.entry));
    }
    let later = r#"{"later":1,"parts":"ip","member":"10.0.0.1"}"#;
    assert_eq!(serde_json::from_str::<Member<AnyType>>(later).unwrap(), member(Kind::HashIp, "10.0.0.1"));
    let error = serde_json::from_str::<Entry>(r#"{"parts":"ip,ip,ip","entry":"10.0.0.1"}"#).unwrap_err().to_string();
    assert_eq!(error, r#""ip,ip,ip" are not the parts of an entry"#);
}

#[test]
fn values_of_members_are_json() {
    golden(&Counters { packets: Some(4), bytes: Some(5) }, r#"{"packets":4,"bytes":5}"#);
    golden(&Counters::default(), "{}");
    let skb = SkbInfo { mark: Some((1, 0xff)), priority: Some((1, 10)), queue: Some(3) };
    golden(&skb, r#"{"skbmark":"0x1/0xff","skbprio":"1:a","skbqueue":3}"#);
    golden(&SkbInfo { mark: Some((1, u32::MAX)), ..SkbInfo::default() }, r#"{"skbmark":"0x1"}"#);
    assert_eq!(serde_json::from_str::<SkbInfo>(r#"{"later":1}"#).unwrap(), SkbInfo::default());
    let error = serde_json::from_str::<SkbInfo>(r#"{"skbprio":"1"}"#).unwrap_err().to_string();
    assert!(error.starts_with(r#""1" is not a skbprio"#), "{error}");
    golden(&Place::Before(SetName::new("dns").unwrap()), r#"{"before":"dns"}"#);
    let tally = r#"{"added":1,"updated":2,"deleted":3,"unchanged":4}"#;
    golden(&serde_json::from_str::<Tally>(tally).unwrap(), tally);
}

#[test]
fn requests_about_sets_are_json() {
    let set = r#""name":"web","type":"hash:ip,port","family":"inet""#;
    let (name, added) = (web().name(), member(Kind::HashIpPort, "10.0.0.1,tcp:80 timeout 30"));
    let of_set = |operation: &str| format!(r#"{{"{operation}":{{{set},"member":"10.0.0.1,tcp:80 timeout 30"}}}}"#);
    for (change, json) in [
        (
            Change::Create(name, "hash:ip,port family inet".parse().unwrap()),
            r#"{"create":["web","hash:ip,port family inet"]}"#.to_owned(),
        ),
        (Change::Destroy(name), r#"{"destroy":"web"}"#.to_owned()),
        (Change::ClearAll, r#""clear-all""#.to_owned()),
        (Change::Rename(name, SetName::new("b").unwrap()), r#"{"rename":["web","b"]}"#.to_owned()),
        (Change::Add(web(), added.clone()), of_set("add")),
        (Change::Put(web(), added.clone()), of_set("put")),
        (Change::Delete(web(), added.clone()), of_set("delete")),
        (Change::Remove(web(), added.clone()), of_set("remove")),
    ] {
        golden(&change, &json);
    }
    golden(&Query::Test(web(), added), &of_set("test"));
    golden(&Query::Headers(None), r#"{"headers":null}"#);
    golden(&Query::Revisions(Kind::HashIp), r#"{"revisions":"hash:ip"}"#);
}
