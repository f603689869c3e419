//! Errors of each operation without the privilege. Child processes inherit no descriptor.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::Trial;
use lvs::ipset::{self, HashIp, Ipset, Kind, Member, NewSet};
use lvs::ipvs::{
    self, Connections, CpuStats, Destination, Ipvs, Overview, Status, SyncDaemon, SyncState, Timeouts, settings,
};
use lvs::netns::Namespace;
use lvs::ready::{self, Part};
use lvs::vip::{Binder, Vips};
use lvs::{Error, Interface};
use nix::unistd::{Gid, Uid, setgid, setuid};

use crate::ipvs::web;
use crate::lab::{Lab, Need, address, child_in_its_own_namespaces, release, start_child, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs, Need::Ipset(Kind::HashIp), Need::Dummy]; without_the_privilege,);
    all.extend(tests!(&[Need::Ipvs, Need::Ipset(Kind::HashIp), Need::Dummy, Need::Program("unshare")];
        as_root_of_a_user_namespace,
    ));
    all.extend(tests!(&[Need::Ipvs]; children_inherit_nothing,));
    all
}

/// The outcome of each operation, by its name.
#[derive(Default)]
struct Outcomes(Vec<(String, String)>);

impl Outcomes {
    fn note<T: Debug>(&mut self, name: &str, result: Result<T, impl Into<Error>>) -> Option<T> {
        let (outcome, value) = match result.map_err(Into::into) {
            Ok(value) => ("done".to_owned(), Some(value)),
            Err(error) if error.is_permission_denied() => ("denied".to_owned(), None),
            Err(error) if error.is_unavailable() => ("unavailable".to_owned(), None),
            Err(error) => (format!("other: {error}"), None),
        };
        self.0.push((name.to_owned(), outcome));
        value
    }
}

/// Does everything once, and prints what came of it.
pub(crate) fn child(job: &str) {
    let mut outcomes = Outcomes::default();
    // Before the privilege is given up: the kernel looks at each request anew.
    let clients = (Ipvs::connect().unwrap(), Ipset::connect().unwrap(), Vips::connect().unwrap());
    let (mut ipvs, mut sets, mut vips) = clients;
    let name = |text: &str| text.parse::<ipset::SetName>().unwrap();
    let one = sets.create(name("one"), &NewSet::<HashIp>::ipv4()).unwrap();
    if job == "given-up" {
        setgid(Gid::from_raw(1000)).unwrap();
        setuid(Uid::from_raw(1000)).unwrap();
    }
    of_ipvs("earlier Ipvs", &mut ipvs, &mut outcomes);
    if let Some(mut ipvs) = outcomes.note("Ipvs::connect", Ipvs::connect()) {
        of_ipvs("Ipvs", &mut ipvs, &mut outcomes);
    }
    outcomes.note("earlier Ipset::names", sets.names());
    if let Some(mut sets) = outcomes.note("Ipset::connect", Ipset::connect()) {
        of_ipset(&mut sets, one, &mut outcomes);
    }
    outcomes.note("earlier Vips::bind", vips.bind(&Binder::local_routes(78), "10.96.0.9".parse::<IpAddr>().unwrap()));
    if let Some(mut vips) = outcomes.note("Vips::connect", Vips::connect()) {
        of_vips(&mut vips, &mut outcomes);
    }
    outcomes.note("Connections::open", Connections::open().and_then(Iterator::collect::<Result<Vec<_>, _>>));
    outcomes.note("Overview::open", Overview::open().and_then(Iterator::collect::<Result<Vec<_>, _>>));
    outcomes.note("CpuStats::read", CpuStats::read());
    outcomes.note("Status::read", Status::read());
    outcomes.note("Setting::get", settings::CONNTRACK.get());
    outcomes.note("Setting::set", settings::CONNTRACK.set(true));
    outcomes.note("ready::check", ready::check());
    outcomes.note("ready::load IPVS", ready::load(Part::Ipvs));
    outcomes.note("ready::load hash:ip", ready::load(Part::SetType(Kind::HashIp)));
    outcomes.note("ready::load dummy", ready::load(Part::Dummy));
    outcomes.note("Namespace::create", Namespace::create());
    outcomes.note("Namespace::of_process", Namespace::of_process(1));
    if let Some(own) = outcomes.note("Namespace::current", Namespace::current()) {
        outcomes.note("Namespace::run", own.run(|| ()));
    }
    for (name, outcome) in outcomes.0 {
        println!("{name}\t{outcome}");
    }
}

fn of_ipvs(who: &str, ipvs: &mut Ipvs, outcomes: &mut Outcomes) {
    let (web, server) = (web(), Destination::new(address("10.244.1.1:443")));
    let (key, at) = (web.key, server.address);
    let daemon = SyncDaemon::new(SyncState::Backup, Interface::new("lo").unwrap(), 1);
    let mut note = |name: &str, result: Result<(), Error>| _ = outcomes.note(&format!("{who}::{name}"), result);
    note("info", ipvs.version().map(drop));
    note("services", ipvs.services().map(drop));
    note("stream_services", ipvs.stream_services().and_then(|mut all| all.next().unwrap().map(drop)));
    note("service", ipvs.service(key).map(drop));
    note("destinations", ipvs.destinations(key).map(drop));
    note("table", ipvs.table().map(drop));
    note("add_service", ipvs.add_service(web));
    note("set_service", ipvs.set_service(web));
    note("update_service", ipvs.update_service(key, |_| {}));
    note("delete_service", ipvs.delete_service(key));
    note("add_destination", ipvs.add_destination(key, server));
    note("set_destination", ipvs.set_destination(key, server));
    note("update_destination", ipvs.update_destination(key, at, |_| {}));
    note("delete_destination", ipvs.delete_destination(key, at));
    note("zero", ipvs.zero(key));
    note("zero_all", ipvs.zero_all());
    note("flush", ipvs.clear());
    note("timeouts", ipvs.timeouts().map(drop));
    note("set_timeouts", ipvs.set_timeouts(&Timeouts::default()));
    note("daemons", ipvs.daemons().map(drop));
    note("start_daemon", ipvs.start_daemon(&daemon));
    note("stop_daemon", ipvs.stop_daemon(SyncState::Backup));
    let error = ipvs.batch([ipvs::Change::AddService(web), ipvs::Change::Clear]).unwrap_err();
    for failure in error.failures {
        note("batch", Err(failure.error));
    }
}

fn of_ipset(sets: &mut Ipset, one: ipset::Set<HashIp>, outcomes: &mut Outcomes) {
    let name = |text: &str| text.parse::<ipset::SetName>().unwrap();
    let member = Member::<HashIp>::new("10.0.0.1".parse::<ipset::Addresses>().unwrap());
    let (new, other) = (NewSet::<HashIp>::ipv4(), Member::new("10.0.0.2".parse::<ipset::Addresses>().unwrap()));
    let mut note = |name: &str, result: Result<(), Error>| _ = outcomes.note(&format!("Ipset::{name}"), result);
    note("protocol", sets.version().map(drop));
    note("revisions", sets.revisions(Kind::HashIp).map(drop));
    note("create", sets.create(name("two"), &new).map(drop));
    note("add", sets.add(&one, &member));
    note("test", sets.test(&one, &member).map(drop));
    note("add_all", sets.add_all(&one, [other.clone()]).map(drop).map_err(Error::from));
    note("members", sets.stream_members(&one).and_then(|mut all| all.next().unwrap().map(drop)));
    note("list", sets.stream_contents(None).and_then(|mut all| all.next().unwrap().map(drop)));
    note("delete", sets.delete(&one, &member));
    note("delete_all", sets.delete_all(&one, [other]).map(drop).map_err(Error::from));
    note("batch", sets.batch([ipset::Change::Clear(name("one"))]).map(drop).map_err(Error::from));
    note("replace", sets.replace(name("one"), &new, [member]).map(drop).map_err(Error::from));
    note("names", sets.names().map(drop));
    note("sets", sets.sets().map(drop));
    note("info", sets.set(name("one")).map(drop));
    note("header", sets.header(name("one")).map(drop));
    note("open", sets.open::<HashIp>(name("one")).map(drop));
    let index = sets.index(name("one"));
    note("name_of", sets.name_of(*index.as_ref().unwrap_or(&0)).map(drop));
    note("index", index.map(drop));
    note("swap", sets.swap(name("one"), name("two")));
    note("rename", sets.rename(name("two"), name("three")));
    note("flush", sets.clear(name("one")));
    note("clear_all", sets.clear_all());
    note("destroy", sets.destroy(name("three")));
    note("destroy_all", sets.destroy_all());
}

fn of_vips(vips: &mut Vips, outcomes: &mut Outcomes) {
    let vip = "10.96.0.10".parse::<IpAddr>().unwrap();
    let binders = [Binder::dummy("vip0").unwrap(), Binder::local_routes(77), Binder::label("lo:1", 77).unwrap()];
    for binder in binders {
        let mut note = |name: &str, result: Result<(), Error>| {
            outcomes.note(&format!("Vips::{name} {binder}"), result);
        };
        note("virtual_ips", vips.virtual_ips(&binder).map(drop));
        note("bind", vips.bind(&binder, vip).map(drop));
        note("sync", vips.sync(&binder, [vip]).map(drop).map_err(Error::from));
        note("unbind", vips.unbind(&binder, vip).map(drop));
        note("clear", vips.clear(&binder).map(drop));
    }
}

fn assert_outcomes(lines: &[String], expected: impl Fn(&str) -> &'static str) {
    assert!(lines.len() > 100, "{lines:?}");
    let outcomes: BTreeMap<_, _> = lines.iter().map(|line| line.split_once('\t').unwrap()).collect();
    let other: Vec<_> = outcomes.iter().filter(|(name, outcome)| **outcome != expected(name)).collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// Since this release there is `/proc/net/ip_vs_status`.
const STATUS: (u32, u32) = (7, 1);

fn without_the_privilege(lab: &Lab) {
    let output = start_child(lab, "privilege given-up").wait_with_output().unwrap();
    assert!(output.status.success());
    let lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_outcomes(&lines, |name| match name {
        "Ipvs::connect" | "Ipset::connect" | "Vips::connect" => "done",
        // Nothing is to be done.
        "Vips::unbind vip0" | "Vips::unbind lo:1" => "done",
        "Status::read" if release() < STATUS => "unavailable",
        _ if name.starts_with("Vips::virtual_ips") || name.starts_with("Vips::clear") => "done",
        "Connections::open" | "Overview::open" | "CpuStats::read" => "done",
        "Setting::get" | "Namespace::current" => "done",
        // Connecting to IPVS loads its module.
        "ready::check" | "ready::load IPVS" => "done",
        _ => "denied",
    });
}

fn as_root_of_a_user_namespace(lab: &Lab) {
    let lines = child_in_its_own_namespaces(lab, "privilege root");
    assert_outcomes(&lines, |name| match name {
        "Ipvs::connect" => "done",
        "Status::read" if release() < STATUS => "unavailable",
        _ if name.contains("Ipvs::") => "denied",
        // Another user's process.
        "Namespace::of_process" => "denied",
        // Since then the settings are there, too.
        _ if name.starts_with("Setting::") && release() < (6, 10) => "unavailable",
        _ => "done",
    });
}

/// The descriptors that a child of this process has, but for its standard streams.
fn inherited(lab: &Lab) -> Vec<String> {
    let output = start_child(lab, "descriptors").wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter(|line| !["0", "1", "2"].contains(&line.split(' ').next().unwrap()))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn print_descriptors() {
    let open: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in open {
        // The folder itself is closed by now.
        if let Ok(target) = std::fs::read_link(&path) {
            println!("{} {}", path.file_name().unwrap().to_string_lossy(), target.display());
        }
    }
}

fn children_inherit_nothing(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    ipvs.batch(crate::scale::many(300).map(ipvs::Change::AddService)).unwrap();
    let mut half_read = ipvs.stream_services().unwrap();
    half_read.next().unwrap().unwrap();
    let held = (lab.ipset(), lab.vips(), lab.run(Connections::open).unwrap(), Namespace::create().unwrap());
    let current = (Namespace::current().unwrap(), Namespace::of_process(std::process::id()).unwrap());
    assert_eq!(inherited(lab), [""; 0]);
    // Nor what another thread opens at that very moment.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = (lab.ipvs(), lab.ipset(), lab.vips(), lab.run(Connections::open), Namespace::create());
                let _ = (lab.run(ready::check), lab.run(CpuStats::read), lab.run(Status::read));
            }
        });
        for _ in 0..10 {
            assert_eq!(inherited(lab), [""; 0]);
        }
        over.store(true, Ordering::Relaxed);
    });
    drop((held, current));
}
