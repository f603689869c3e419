//! Which modules the kernel has, without asking it for one: that would load it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Whether the kernel has something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Presence {
    /// It does: built in, or the module is loaded.
    Present,
    /// Not now, but there is a module that it loads when first asked, or on [`load`](super::load). A rule in `modprobe.d`
    /// may still forbid that.
    Loadable,
    /// It does not, and there is no module that could be loaded.
    Absent,
    /// It cannot be told from here without a trace: the list of modules is not in this file system (as in a container),
    /// or the privilege to ask is missing.
    Unknown,
}

/// What is known about the kernel's modules.
#[derive(Debug)]
pub(super) struct Modules {
    /// `None`: the kernel was built without support for modules.
    loaded: Option<HashSet<String>>,
    /// Those that could be loaded; `None` if there is no list.
    files: Option<HashSet<String>>,
    built_in: Option<HashSet<String>>,
    /// `kernel.modules_disabled`: what is not loaded stays away until the next boot.
    locked: bool,
}

impl Modules {
    /// Those of the running kernel: `/proc/modules`, and in `/lib/modules/RELEASE` the lists `modules.dep` and
    /// `modules.builtin`.
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

    /// Whether asking the kernel for something may load a module.
    pub(super) fn can_be_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    pub(super) fn is_loaded(&self, module: &str) -> bool {
        has(self.loaded.as_ref(), module)
    }

    /// Of a module, and what must be a module itself if this one is (what it is a part of).
    pub(super) fn presence(&self, module: &str, parent: Option<&str>) -> Presence {
        let a_module = |name| self.is_loaded(name) || has(self.files.as_ref(), name);
        if self.is_loaded(module) || has(self.built_in.as_ref(), module) {
            Presence::Present
        } else if self.loaded.is_none() {
            // Either built in or not there.
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

fn has(names: Option<&HashSet<String>>, name: &str) -> bool {
    names.is_some_and(|names| names.contains(name))
}

/// The module in a line such as `ip_vs 16384 0 -` or `kernel/net/netfilter/ipvs/ip_vs.ko.xz: …`.
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
    fn what_is_not_known_is_not_made_up() {
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
