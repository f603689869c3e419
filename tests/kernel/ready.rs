//! The report on the kernel has the right findings, and making it leaves no trace.

use std::process::Command;

use libtest_mimic::Trial;
use lvs::ipset::Kind;
use lvs::ipvs::settings::{CONN_REUSE_MODE, CONNTRACK, ConnReuse, EXPIRE_NODEST_CONN, EXPIRE_QUIESCENT_TEMPLATE};
use lvs::ipvs::{Ipvs, Scheduler, Service};
use lvs::ready::{self, Level, Part, Presence, Report};

use crate::lab::{Lab, Need, address, child_in_its_own_namespaces, tests, unprivileged_child};
use crate::module::{LoadedAtTheEnd, unload};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[]; a_report_leaves_no_trace, the_privileges_are_those_of_the_caller,);
    all.extend(tests!(&[Need::Ipvs];
        what_is_reported_present_is_there,
        settings_are_judged,
        an_unprivileged_user_learns_what_can_be_known,
    ));
    all.extend(tests!(&[Need::Ipvs, Need::Program("doctor")]; a_shortage_of_descriptors_is_an_error_and_no_finding,));
    all.extend(tests!(&[Need::Ipvs, Need::Program("unshare")]; root_of_a_child_user_namespace_may_not_use_ipvs,));
    all.extend(tests!(&[Need::OwnMachine, Need::Ipvs, Need::Ipset(Kind::HashIp), Need::Dummy];
        what_is_unloaded_is_loadable_until_it_is_loaded,
        what_cannot_be_loaded_is_told,
    ));
    all
}

/// As the example prints them.
fn lines(report: &Report) -> Vec<String> {
    report.findings().map(|finding| format!("{}: {} [{:?}]", finding.what, finding.found, finding.level)).collect()
}

/// A child's report of itself.
pub(crate) fn print() {
    for line in lines(&ready::check().unwrap()) {
        println!("{line}");
    }
}

fn modules() -> Option<String> {
    let modules = std::fs::read_to_string("/proc/modules").ok()?;
    let names = modules.lines().map(|line| line.split(' ').next().unwrap());
    Some(names.collect::<Vec<_>>().join(" "))
}

fn a_report_leaves_no_trace(lab: &Lab) {
    let before = (modules(), lab.tool("ip address"), lab.tool("ip route show table all"));
    let report = lab.run(ready::check).unwrap();
    assert_eq!((modules(), lab.tool("ip address"), lab.tool("ip route show table all")), before);
    assert_eq!(format!("{}\n", report.release), std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap());
    for line in lines(&report) {
        assert!(!line.contains('\n'), "{line}");
    }
}

fn a_shortage_of_descriptors_is_an_error_and_no_finding(lab: &Lab) {
    let expected = lab.tool("doctor");
    let mut errors = 0;
    for limit in 3..20 {
        let doctor = format!("ulimit -n {limit}; exec doctor");
        let output = lab.run(|| Command::new("sh").args(["-c", &doctor]).output()).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if text.is_empty() {
            assert!(!output.status.success(), "{limit}");
            errors += 1;
        } else {
            assert_eq!(text, expected, "{limit}");
        }
    }
    assert!((1..17).contains(&errors), "{errors}");
}

fn what_is_reported_present_is_there(lab: &Lab) {
    for part in [Part::Ipset, Part::SetType(Kind::HashIp), Part::Scheduler(Scheduler::RR)] {
        lab.run(|| ready::load(part)).unwrap();
    }
    let report = lab.run(ready::check).unwrap();
    assert!(report.is_ready());
    assert_eq!(report.ipvs, Presence::Present);
    assert_eq!(report.ipvs_version, Some(lab.ipvs().version().unwrap().release));
    for (scheduler, presence) in &report.schedulers {
        assert_ne!(*presence, Presence::Unknown, "{scheduler}");
        assert_eq!(report.presence(Part::Scheduler(*scheduler)), *presence);
    }
    assert_eq!(report.presence(Part::Scheduler(Scheduler::RR)), Presence::Present);
    assert_eq!(report.ipset_protocol, Some(lab.ipset().version().unwrap()));
    for (kind, presence, revisions) in &report.set_types {
        assert_eq!(revisions.is_some(), *presence == Presence::Present, "{kind}");
        if let Some(revisions) = revisions {
            assert_eq!(lab.ipset().revisions(*kind).unwrap(), *revisions, "{kind}");
        }
    }
    assert_eq!(report.presence(Part::SetType(Kind::HashIp)), Presence::Present);
    // All that is said to be absent cannot be had, and all else can. (That loads modules, so it comes last.)
    for (scheduler, presence) in &report.schedulers {
        let loaded = lab.run(|| ready::load(Part::Scheduler(*scheduler)));
        assert_eq!(loaded.is_ok(), *presence != Presence::Absent, "{scheduler}: {loaded:?}");
        assert!(loaded.is_ok() || loaded.unwrap_err().is_unavailable());
    }
    for (kind, presence, _) in &report.set_types {
        assert_eq!(lab.run(|| ready::load(Part::SetType(*kind))).is_ok(), *presence != Presence::Absent, "{kind}");
    }
    assert_eq!(lab.ipvs().services().unwrap().len(), 0);
}

fn level(report: &Report, what: &str) -> (String, Level) {
    let finding = report.findings().find(|finding| finding.what == what).unwrap();
    (finding.found, finding.level)
}

fn settings_are_judged(lab: &Lab) {
    let report = |change: fn()| {
        lab.run(|| {
            change();
            ready::check().unwrap()
        })
    };
    let fresh = report(|| {});
    assert_eq!(level(&fresh, "net.ipv4.ip_forward"), ("0".to_owned(), Level::Depends));
    assert_eq!(level(&fresh, "net.ipv4.vs.conntrack"), ("0".to_owned(), Level::Depends));
    assert_eq!(level(&fresh, "net.ipv4.vs.conn_reuse_mode"), ("1".to_owned(), Level::Good));
    assert_eq!(level(&fresh, "net.ipv4.vs.expire_nodest_conn"), ("0".to_owned(), Level::Advice));
    assert_eq!(level(&fresh, "net.ipv4.vs.expire_quiescent_template"), ("0".to_owned(), Level::Advice));
    assert_eq!(level(&fresh, "net.ipv4.conf.all.arp_ignore").1, Level::Depends);
    let changed = report(|| {
        CONNTRACK.set(true).unwrap();
        CONN_REUSE_MODE.set(ConnReuse::empty()).unwrap();
        EXPIRE_QUIESCENT_TEMPLATE.set(true).unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    });
    assert_eq!(level(&changed, "net.ipv4.ip_forward"), ("1".to_owned(), Level::Good));
    assert_eq!(level(&changed, "net.ipv4.vs.conntrack"), ("1".to_owned(), Level::Good));
    assert_eq!(level(&changed, "net.ipv4.vs.conn_reuse_mode"), ("0".to_owned(), Level::Advice));
    assert_eq!(level(&changed, "net.ipv4.vs.expire_quiescent_template"), ("1".to_owned(), Level::Good));
    let why = |report: &Report| {
        report.findings().find(|finding| finding.what.ends_with("conn_reuse_mode")).unwrap().why.into_owned()
    };
    assert!(why(&changed).contains("quiesced and deleted servers"), "{}", why(&changed));
    let safer = report(|| EXPIRE_NODEST_CONN.set(true).unwrap());
    assert!(!why(&safer).contains("deleted servers"), "{}", why(&safer));
}

fn the_privileges_are_those_of_the_caller(lab: &Lab) {
    let report = lab.run(ready::check).unwrap();
    assert!(report.may_change_network);
    // The tests run as root, who may unless it is a container's.
    let refused = lab.run(Ipvs::connect).is_ok_and(|mut ipvs| ipvs.version().is_err());
    assert_eq!(report.may_use_ipvs, !refused);
}

fn has(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

fn an_unprivileged_user_learns_what_can_be_known(lab: &Lab) {
    lab.run(|| ready::load(Part::Ipset)).unwrap();
    let lines = unprivileged_child(lab, "report");
    let (major, minor, patch) = lab.ipvs().version().unwrap().release;
    assert!(has(&lines, "privilege for IPVS: missing [Missing]"), "{lines:?}");
    assert!(has(&lines, "privilege for virtual IPs: missing [Missing]"), "{lines:?}");
    assert!(has(&lines, &format!("IPVS: present, version {major}.{minor}.{patch} [Good]")), "{lines:?}");
    assert!(has(&lines, "ipset: present [Good]"), "{lines:?}");
    assert!(has(&lines, "net.ipv4.vs.conntrack: 0 [Depends]"), "{lines:?}");
}

fn root_of_a_child_user_namespace_may_not_use_ipvs(lab: &Lab) {
    let lines = child_in_its_own_namespaces(lab, "report");
    assert!(has(&lines, "privilege for IPVS: missing [Missing]"), "{lines:?}");
    assert!(has(&lines, "privilege for virtual IPs: present [Good]"), "{lines:?}");
    assert!(has(&lines, "IPVS: present, version 1.2."), "{lines:?}");
    let kept_from_it = has(&lines, "net.ipv4.vs.conntrack: absent: ");
    assert!(kept_from_it || has(&lines, "net.ipv4.vs.conntrack: 0 [Depends]"), "{lines:?}");
}

fn what_is_unloaded_is_loadable_until_it_is_loaded(lab: &Lab) {
    let _schedulers = LoadedAtTheEnd;
    unload(&["xt_ipvs", "ip_vs", "xt_set", "em_ipset", "ip_set", "dummy"]);
    let before = modules();
    let report = lab.run(ready::check).unwrap();
    assert_eq!(modules(), before);
    let parts = [Part::Ipvs, Part::Scheduler(Scheduler::WLC), Part::Ipset, Part::SetType(Kind::HashIp), Part::Dummy];
    for part in parts {
        assert_eq!(report.presence(part), Presence::Loadable, "{part}");
    }
    assert!(report.is_ready() && report.ipvs_version.is_none() && report.ipset_protocol.is_none());
    assert_eq!(level(&report, "net.ipv4.vs.conntrack"), ("absent without IPVS".to_owned(), Level::Depends));
    let interfaces = lab.tool("ip link");
    for part in parts {
        lab.run(|| ready::load(part)).unwrap();
        assert_eq!(lab.run(ready::check).unwrap().presence(part), Presence::Present, "{part}");
    }
    assert_eq!(lab.tool("ip link"), interfaces);
    // The same ones serve.
    lab.ipvs().add_service(Service::tcp(address("10.96.0.1:80"), Scheduler::WLC)).unwrap();
}

fn what_cannot_be_loaded_is_told(lab: &Lab) {
    let _schedulers = LoadedAtTheEnd;
    unload(&["xt_ipvs", "ip_vs", "dummy"]);
    for line in [unprivileged_child(lab, "load"), child_in_its_own_namespaces(lab, "load")].concat() {
        assert!(line.starts_with("permission denied: load ") && line.contains("CAP_SYS_MODULE"), "{line}");
    }
    let loader = "/proc/sys/kernel/modprobe";
    let before = std::fs::read_to_string(loader).unwrap();
    std::fs::write(loader, "/nowhere").unwrap();
    let loaded = [Part::Ipvs, Part::Scheduler(Scheduler::RR), Part::Dummy].map(|part| lab.run(|| ready::load(part)));
    std::fs::write(loader, before.trim_end()).unwrap();
    for error in loaded.map(Result::unwrap_err) {
        assert!(error.is_unavailable() && error.operation().starts_with("load "), "{error}");
    }
    let unknown = Scheduler::new("no_such").unwrap();
    assert!(lab.run(|| ready::load(Part::Scheduler(unknown))).unwrap_err().is_unavailable());
    assert_eq!(lab.run(ready::check).unwrap().presence(Part::Scheduler(unknown)), Presence::Unknown);
}
