//! The kernel's modules, read from files: a query to the kernel could load one.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::report::Presence;
use crate::ipvs::{self, Scheduler};

/// Lists of the kernel's modules.
#[derive(Debug)]
pub(super) struct Modules {
    /// Loaded modules (`/proc/modules`); `None` on a kernel without module support (`CONFIG_MODULES`).
    loaded: Option<HashSet<String>>,
    /// Modules with a file (`modules.dep`); `None` if the list is missing.
    files: Option<HashSet<String>>,
    /// Modules linked into the kernel (`modules.builtin`); `None` if the list is missing.
    built_in: Option<HashSet<String>>,
    /// Whether loading is disabled until the next boot (`kernel.modules_disabled`).
    locked: bool,
}

impl Modules {
    /// Reads the lists of the running kernel, the two of files in `/lib/modules/RELEASE`.
    pub(super) fn of_this_kernel(release: &str) -> Self {
        let folder = Path::new("/lib/modules").join(release);
        let names = |text: String, end: char| text.lines().filter_map(|line| name(line, end)).collect();
        let loaded = fs::read_to_string("/proc/modules").ok();
        Self {
            loaded: loaded.map(|text| names(text, ' ')),
            files: fs::read_to_string(folder.join("modules.dep")).ok().map(|text| names(text, ':')),
            built_in: fs::read_to_string(folder.join("modules.builtin")).ok().map(|text| names(text, ':')),
            locked: fs::read_to_string("/proc/sys/kernel/modules_disabled").is_ok_and(|text| text.trim() == "1"),
        }
    }

    /// Whether a query to the kernel may load a module.
    pub(super) fn can_be_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    pub(super) fn is_loaded(&self, module: &str) -> bool {
        has(self.loaded.as_ref(), module)
    }

    /// Returns the presence of a module.
    ///
    /// `parent` is a module that this one depends on. If the parent is a module, this one cannot be built in.
    pub(super) fn presence(&self, module: &str, parent: Option<&str>) -> Presence {
        let a_module = |name| self.is_loaded(name) || has(self.files.as_ref(), name);
        if self.is_loaded(module) || has(self.built_in.as_ref(), module) {
            Presence::Present
        } else if self.loaded.is_none() {
            // Built in or absent.
            if self.built_in.is_some() { Presence::Absent } else { Presence::Unknown }
        } else if has(self.files.as_ref(), module) {
            if self.locked { Presence::Absent } else { Presence::Loadable }
        } else if self.files.is_some() && (self.built_in.is_some() || parent.is_some_and(a_module)) {
            Presence::Absent
        } else {
            Presence::Unknown
        }
    }
}

/// Returns the module of a scheduler: `ip_vs_rr` for `rr`.
pub(super) fn of_scheduler(scheduler: Scheduler) -> String {
    format!("{}_{scheduler}", ipvs::MODULE)
}

/// Returns the release of the running kernel, such as `6.12.117+deb13-amd64`.
pub(super) fn release() -> String {
    read("/proc/sys/kernel/osrelease")
}

/// Returns the text of a file without white space at its end; empty if it cannot be read.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn has(names: Option<&HashSet<String>>, name: &str) -> bool {
    names.is_some_and(|names| names.contains(name))
}

/// Returns the module named in a line such as `ip_vs 16384 0 -` or `kernel/net/netfilter/ipvs/ip_vs.ko.xz: …`.
fn name(line: &str, end: char) -> Option<String> {
    let file = line.split(end).next()?.rsplit('/').next()?;
    let name = file.split(".ko").next().filter(|name| !name.is_empty())?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Option<HashSet<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn lists_are_read() {
        let line = "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz";
        assert_eq!(name(line, ':').unwrap(), "ip_vs");
        assert_eq!(name("kernel/drivers/a-b.ko", ':').unwrap(), "a_b");
        assert_eq!(name("ip_vs_rr 16384 0 - Live 0x0 (E)", ' ').unwrap(), "ip_vs_rr");
        assert_eq!(name("", ':'), None);
    }

    #[test]
    fn an_undetermined_presence_is_unknown() {
        let mut modules =
            Modules { loaded: set(&["ip_vs"]), files: set(&["ip_vs", "ip_vs_rr"]), built_in: None, locked: false };
        assert_eq!(modules.presence("ip_vs", None), Presence::Present);
        assert_eq!(modules.presence("ip_vs_rr", Some("ip_vs")), Presence::Loadable);
        assert_eq!(modules.presence("ip_vs_twos", Some("ip_vs")), Presence::Absent);
        assert_eq!(modules.presence("dummy", None), Presence::Unknown);
        modules.built_in = set(&["dummy"]);
        assert_eq!(modules.presence("dummy", None), Presence::Present);
        assert_eq!(modules.presence("ifb", None), Presence::Absent);
        modules.locked = true;
        assert_eq!(modules.presence("ip_vs_rr", Some("ip_vs")), Presence::Absent);
        modules.files = None;
        assert_eq!(modules.presence("ip_vs_wrr", Some("ip_vs")), Presence::Unknown);
        modules.loaded = None;
        assert_eq!(modules.presence("ip_vs_wrr", None), Presence::Absent);
        modules.built_in = None;
        assert_eq!(modules.presence("ip_vs_wrr", None), Presence::Unknown);
    }
}
