//! The settings in `net.ipv4.vs`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::settings::*;
use lvs::ipvs::{Scheduler, Service};
use lvs::netns::Namespace;
use lvs::ready::{Part, load};
use lvs::{Cause, Reason};

use crate::lab::{Lab, Need, address, child_in_its_own_namespaces, release, tests, unprivileged_child, version};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs];
        every_setting_of_the_kernel_is_here_and_what_it_lacks_is_told,
        each_setting_has_its_default_and_keeps_what_is_set,
        what_is_refused_here_has_no_sense_for_the_kernel,
        a_cpu_that_the_machine_cannot_have_is_told,
        an_automatic_defense_is_not_up_without_need,
        each_namespace_has_its_own,
        without_privilege_settings_can_only_be_read,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Program("unshare")];
        in_a_child_user_namespace_some_or_none_can_be_changed,
    ));
    all
}

const DIRECTORY: &str = "/proc/sys/net/ipv4/vs";

/// Has all modules loaded that bring settings.
fn load_all(lab: &Lab) {
    // Not by naming them first, while the namespace of an earlier test ends: see there.
    for scheduler in [Scheduler::LBLC, Scheduler::LBLCR] {
        load(Part::Scheduler(scheduler)).unwrap();
    }
    for (port, scheduler) in [(1, Scheduler::LBLC), (2, Scheduler::LBLCR)] {
        let mut at = address("10.96.0.10:0");
        at.set_port(port);
        lab.ipvs().add_service(Service::tcp(at, scheduler)).unwrap();
    }
}

fn every_setting_of_the_kernel_is_here_and_what_it_lacks_is_told(lab: &Lab) {
    load_all(lab);
    let files: BTreeSet<String> = lab.run(|| {
        let directory = std::fs::read_dir(DIRECTORY).unwrap();
        directory.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    });
    let known: BTreeSet<String> = ALL.iter().map(|setting| setting.name.to_owned()).collect();
    assert!(files.is_subset(&known), "{files:?}");
    for setting in ALL {
        let in_time = setting.since.is_none_or(|since| version(since) <= release());
        match lab.run(|| setting.text()) {
            Ok(text) => {
                assert!(in_time && files.contains(setting.name), "{setting}");
                assert_eq!(text, lab.tool(&format!("cat {DIRECTORY}/{}", setting.name)).trim_end());
            }
            Err(error) => {
                assert!(!in_time || setting.needs.is_some_and(|needs| needs.starts_with("CONFIG")), "{error}");
                assert!(error.is_unavailable() && !files.contains(setting.name), "{error}");
                assert!(
                    matches!(error.cause(), Cause::NotOnThisKernel { since, .. } if *since == setting.since),
                    "{error}"
                );
                assert!(error.to_string().starts_with(&format!("read {setting}: {setting} ")), "{error}");
            }
        }
    }
}

/// Checks settings one by one, and that none is left out.
struct Checks<'a> {
    lab: &'a Lab,
    done: Vec<Entry>,
}

impl Checks<'_> {
    /// `default` is `None` where it depends on the machine. `text` is what the kernel has after `other` was set.
    fn check<T>(&mut self, setting: Setting<T>, default: impl Into<Option<T>>, other: T, text: &str)
    where
        T: Clone + Debug + PartialEq + Send + Sync,
    {
        let entry = setting.entry();
        self.done.push(entry);
        let (default, set) = (default.into(), other.clone());
        self.lab.run(|| {
            let before = match setting.get() {
                // Told by another test.
                Err(error) if matches!(error.cause(), Cause::NotOnThisKernel { .. }) => {
                    let error = setting.set(set).unwrap_err();
                    assert!(matches!(error.cause(), Cause::NotOnThisKernel { .. }), "{error}");
                    return;
                }
                before => before.unwrap(),
            };
            if let Some(default) = default {
                assert_eq!(before, default, "{entry}");
            }
            setting.set(set).unwrap();
            assert_eq!(setting.get().unwrap(), other, "{entry}");
            assert_eq!(std::fs::read_to_string(format!("{DIRECTORY}/{}", entry.name)).unwrap().trim_end(), text);
            setting.set(before.clone()).unwrap();
            assert_eq!(setting.get().unwrap(), before, "{entry}");
        });
    }
}

fn each_setting_has_its_default_and_keeps_what_is_set(lab: &Lab) {
    load_all(lab);
    let seconds = Duration::from_secs;
    let threshold = |threshold, period| SyncThreshold { threshold, period };
    let mut checks = Checks { lab, done: Vec::new() };
    checks.check(AM_DROPRATE, 10, i32::MAX, "2147483647");
    checks.check(AMEMTHRESH, 1024, 258, "258");
    checks.check(BACKUP_ONLY, false, true, "1");
    checks.check(CACHE_BYPASS, false, true, "1");
    checks.check(CONN_LFACTOR, -2, -8, "-8");
    checks.check(CONN_MAX, CONN_MAX.get().ok(), 0, "0");
    checks.check(CONN_REUSE_MODE, ConnReuse::RESCHEDULE, ConnReuse::FIN_WAIT, "2");
    checks.check(CONN_REUSE_MODE, ConnReuse::RESCHEDULE, ConnReuse::empty(), "0");
    checks.check(CONNTRACK, false, true, "1");
    // The same in all namespaces, so not changed here.
    checks.check(DEBUG_LEVEL, 0, 0, "0");
    checks.check(DROP_ENTRY, Defense::Off, Defense::Always, "3");
    checks.check(DROP_PACKET, Defense::Off, Defense::Automatic, "1");
    checks.check(EST_CPULIST, None, BTreeSet::new(), "");
    checks.check(EST_CPULIST, None, BTreeSet::from([0]), "0");
    checks.check(EST_NICE, 0, -20, "-20");
    checks.check(EXPIRE_NODEST_CONN, false, true, "1");
    checks.check(EXPIRE_QUIESCENT_TEMPLATE, false, true, "1");
    checks.check(IGNORE_TUNNELED, false, true, "1");
    checks.check(LBLC_EXPIRATION, seconds(86400), seconds(2_147_483), "2147483");
    checks.check(LBLCR_EXPIRATION, seconds(86400), seconds(0), "0");
    checks.check(NAT_ICMP_SEND, false, true, "1");
    checks.check(PMTU_DISC, true, false, "0");
    checks.check(RUN_ESTIMATION, true, false, "0");
    checks.check(SCHEDULE_ICMP, false, true, "1");
    checks.check(SECURE_TCP, Defense::Off, Defense::Always, "3");
    checks.check(SLOPPY_SCTP, false, true, "1");
    checks.check(SLOPPY_TCP, false, true, "1");
    checks.check(SNAT_REROUTE, true, false, "0");
    checks.check(SVC_LFACTOR, -2, 8, "8");
    checks.check(SYNC_PERSIST_MODE, false, true, "1");
    checks.check(SYNC_PORTS, 1, 64, "64");
    checks.check(SYNC_QLEN_MAX, None, 258, "258");
    checks.check(SYNC_REFRESH_PERIOD, seconds(0), seconds(2_147_483), "2147483");
    checks.check(SYNC_RETRIES, 0, 3, "3");
    checks.check(SYNC_SOCK_SIZE, 0, 1 << 20, "1048576");
    checks.check(SYNC_THRESHOLD, threshold(3, 50), threshold(258, 259), "258\t259");
    checks.check(SYNC_THRESHOLD, threshold(3, 50), threshold(8, 0), "8\t0");
    checks.check(SYNC_VERSION, 1, 0, "0");
    checks.done.dedup();
    assert_eq!(checks.done, ALL);
}

/// The ranges are the kernel's: what is just outside it refuses, too, where it looks at all.
fn what_is_refused_here_has_no_sense_for_the_kernel(lab: &Lab) {
    let values = [
        (CONN_LFACTOR.entry(), "9"),
        (CONN_LFACTOR.entry(), "-9"),
        (CONN_MAX.entry(), "-1"),
        (CONN_MAX.entry(), "1073741825"),
        (DROP_ENTRY.entry(), "4"),
        (DROP_PACKET.entry(), "-1"),
        (EST_NICE.entry(), "20"),
        (EST_NICE.entry(), "-21"),
        (SECURE_TCP.entry(), "4"),
        (SVC_LFACTOR.entry(), "9"),
        (SYNC_PORTS.entry(), "0"),
        (SYNC_PORTS.entry(), "3"),
        (SYNC_QLEN_MAX.entry(), "-1"),
        (SYNC_REFRESH_PERIOD.entry(), "2147483647"),
        (SYNC_RETRIES.entry(), "4"),
        (SYNC_RETRIES.entry(), "-1"),
        (SYNC_THRESHOLD.entry(), "50 50"),
        (SYNC_THRESHOLD.entry(), "-1 50"),
        (SYNC_VERSION.entry(), "2"),
    ];
    lab.run(|| {
        for (entry, value) in values {
            if entry.text().is_ok() {
                let written = std::fs::write(format!("{DIRECTORY}/{}", entry.name), value);
                assert_eq!(written.unwrap_err().raw_os_error(), Some(22), "{entry} {value}");
            }
        }
    });
}

fn a_cpu_that_the_machine_cannot_have_is_told(lab: &Lab) {
    let error = lab.run(|| EST_CPULIST.set(BTreeSet::from([u16::MAX]))).unwrap_err();
    assert!(error.operation().starts_with("set net.ipv4.vs.est_cpulist"), "{error}");
    if release() < (6, 2) {
        assert!(error.to_string().ends_with("is missing on this kernel (since Linux 6.2)"), "{error}");
    } else {
        assert!(matches!(error.cause(), Cause::Refused(refused) if refused.reason == Reason::Invalid), "{error}");
        assert!(error.to_string().contains("65535: this machine cannot have such a CPU"), "{error}");
    }
}

fn an_automatic_defense_is_not_up_without_need(lab: &Lab) {
    lab.run(|| {
        AMEMTHRESH.set(0).unwrap();
        for setting in [DROP_ENTRY, DROP_PACKET, SECURE_TCP] {
            setting.set(Defense::AutomaticActive).unwrap();
            assert_eq!(setting.get().unwrap(), Defense::Automatic);
        }
    });
}

fn each_namespace_has_its_own(lab: &Lab) {
    let other = Namespace::create().unwrap();
    lab.run(|| CONNTRACK.set(true)).unwrap();
    assert!(!other.run(|| CONNTRACK.get()).unwrap().unwrap());
    assert!(lab.run(|| CONNTRACK.get()).unwrap());
}

fn without_privilege_settings_can_only_be_read(lab: &Lab) {
    let lines = unprivileged_child(lab, "settings");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "false");
    assert!(lines[1].starts_with("permission denied: set net.ipv4.vs.conntrack to 1: "), "{}", lines[1]);
    assert!(lines[1].contains("CAP_NET_ADMIN") && lines[1].ends_with("(EACCES)"), "{}", lines[1]);
    assert!(!lab.run(|| CONNTRACK.get()).unwrap());
}

fn in_a_child_user_namespace_some_or_none_can_be_changed(lab: &Lab) {
    let lines = child_in_its_own_namespaces(lab, "settings");
    assert_eq!(lines.len(), 3, "{lines:?}");
    if release() < (6, 10) {
        for line in lines {
            let reason =
                "in a network namespace of a child user namespace is missing on this kernel (since Linux 6.10)";
            assert!(line.contains(reason), "{line}");
        }
    } else {
        assert_eq!(lines[..2], ["false", "()"]);
        assert!(lines[2].starts_with("permission denied: set net.ipv4.vs.run_estimation to 0: "), "{}", lines[2]);
    }
}
