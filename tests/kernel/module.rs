//! Without the kernel's module, and without the privilege.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use lvs::ipvs::{Change, Connections, CpuStats, Ipvs, Scheduler, Status, settings};
use lvs::ready::{self, Part};

use crate::ipvs::web;
use crate::lab::{Lab, Need, tests, unprivileged_child};
use crate::scale::many;

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs]; without_privilege_the_capability_is_named,);
    all.extend(tests!(&[Need::OwnMachine, Need::Ipvs];
        a_reloaded_module_is_found_again,
        without_the_module_the_error_says_how_to_load_it,
    ));
    all.extend(tests!(&[Need::OwnMachine, Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        without_the_module_both_programs_tell_a_user_the_same,
    ));
    all
}

fn without_privilege_the_capability_is_named(lab: &Lab) {
    let lines = unprivileged_child(lab, "netlink");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert!(line.starts_with("permission denied: ") && line.contains("CAP_NET_ADMIN"), "{line}");
    }
}

/// Unloads modules and what belongs to them. The network namespaces of earlier tests, which hold them, may take a moment to
/// end.
pub(crate) fn unload(families: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let modules = std::fs::read_to_string("/proc/modules").unwrap();
        let names = modules.lines().filter_map(|line| line.split(' ').next());
        // Those that use others come first.
        let left: Vec<_> = names
            .filter(|name| families.iter().any(|family| *name == *family || name.starts_with(&format!("{family}_"))))
            .collect();
        for module in &left {
            let name = std::ffi::CString::new(*module).unwrap();
            let _ = nix::kmod::delete_module(&name, nix::kmod::DeleteModuleFlags::O_NONBLOCK);
        }
        if !left.iter().any(|name| families.contains(name)) {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Held by a test that unloads IPVS: at its end those schedulers are loaded which had better be before others use them. IPVS
/// loads one on demand under a lock that a namespace needs to end, and these wait for namespaces that end.
pub(crate) struct LoadedAtTheEnd;

impl Drop for LoadedAtTheEnd {
    fn drop(&mut self) {
        for scheduler in [Scheduler::LBLC, Scheduler::LBLCR] {
            let _ = ready::load(Part::Scheduler(scheduler));
        }
    }
}

fn unload_ipvs() {
    unload(&["ip_vs", "xt_ipvs"]);
}

fn a_reloaded_module_is_found_again(lab: &Lab) {
    let _schedulers = LoadedAtTheEnd;
    let mut ipvs = lab.ipvs();
    unload_ipvs();
    ipvs.add_service(web()).unwrap();
    assert!(ipvs.add_service(web()).unwrap_err().is_already_exists());
    ipvs.clear().unwrap();
    unload_ipvs();
    ipvs.batch(many(2000).map(Change::AddService)).unwrap();
    assert_eq!(ipvs.services().unwrap().len(), 2000);
    ipvs.clear().unwrap();
    unload_ipvs();
    assert_eq!(ipvs.services().unwrap().len(), 0);
}

fn without_the_module_the_error_says_how_to_load_it(lab: &Lab) {
    let _schedulers = LoadedAtTheEnd;
    let mut ipvs = lab.ipvs();
    unload_ipvs();
    // Nor can the kernel load it by itself.
    let loader = "/proc/sys/kernel/modprobe";
    let before = std::fs::read_to_string(loader).unwrap();
    std::fs::write(loader, "/nowhere").unwrap();
    let errors = [
        lab.run(Ipvs::connect).unwrap_err(),
        ipvs.add_service(web()).unwrap_err(),
        ipvs.services().unwrap_err(),
        lab.run(|| settings::CONNTRACK.get()).unwrap_err(),
        lab.run(|| settings::CONNTRACK.set(true)).unwrap_err(),
        lab.run(Connections::open).unwrap_err(),
        lab.run(CpuStats::read).unwrap_err(),
        lab.run(Status::read).unwrap_err(),
    ];
    std::fs::write(loader, before.trim_end()).unwrap();
    for error in errors {
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("`modprobe ip_vs`"), "{error}");
    }
    // The same client goes on once it is there.
    ipvs.add_service(web()).unwrap();
}

fn without_the_module_both_programs_tell_a_user_the_same(lab: &Lab) {
    let _schedulers = LoadedAtTheEnd;
    for (user, words) in [(true, "-Ln"), (true, "-C"), (true, "-R"), (false, "-Ln")] {
        unload_ipvs();
        let run = |program: &str| {
            let mut command = Command::new(program);
            command.arg(words);
            if user {
                command.uid(1000).gid(1000);
            }
            let output = lab.run(move || command.output()).unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let theirs = run("ipvsadm");
        unload_ipvs();
        assert_eq!(run("ipvsadm-rs"), theirs, "{words}");
        if user {
            // The kernel's helper program may write a line of its own before.
            assert!(theirs.2.contains("Can't initialize ipvs: Permission denied (you must be root)\n"), "{theirs:?}");
        }
    }
}
