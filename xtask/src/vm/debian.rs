//! Stock Debian kernels: a list of them, and the download through the machine's apt.
use super::apt::{Apt, Record};
use super::arch::{Arch, X86_64};
use super::cache::Cache;
use super::kernel;
use super::modules::{self, Signatures};
use crate::{Usage, step};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// A line of kernels that this crate is tested on.
struct Line {
    name: &'static str,
    major: u64,
    /// `None`: the newest of this major version.
    minor: Option<u64>,
    /// Where to look: the first group that has the line is taken.
    suites: &'static [&'static [&'static str]],
}

const LINES: [Line; 3] = [
    Line { name: "6.1", major: 6, minor: Some(1), suites: &[&["bookworm", "bookworm-updates", "bookworm-security"]] },
    Line { name: "6.12", major: 6, minor: Some(12), suites: &[&["trixie", "trixie-updates", "trixie-security"]] },
    Line { name: "7.x", major: 7, minor: None, suites: &[&["trixie-backports"], &["sid"]] },
];

const PREFIX: &str = "linux-image-";

/// A kernel line as the user asked for it.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    line: &'static Line,
    minor: Option<u64>,
    pub(crate) arch: &'static Arch,
}

impl Wanted {
    /// All lines, oldest first.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        LINES.iter().map(|line| Self { line, minor: line.minor, arch: &X86_64 })
    }

    /// Reads `6.1`, `6.12`, `7`, `7.x` or `7.3`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.parse::<u64>().ok();
        let (major, minor) = match text.split_once('.') {
            None | Some((_, "x")) => (text.split('.').next().and_then(number), None),
            Some((major, minor)) => match number(minor) {
                Some(minor) => (number(major), Some(minor)),
                None => (None, None),
            },
        };
        let line = LINES.iter().find(|line| major == Some(line.major) && (line.minor.is_none() || line.minor == minor));
        let names = LINES.map(|line| line.name).join(", ");
        line.map(|line| Self { line, minor, arch: &X86_64 })
            .ok_or_else(|| format!("no such kernel line; known lines: {names}"))
    }

    /// The same line of another architecture.
    pub(crate) fn on(self, arch: &'static Arch) -> Self {
        Self { arch, ..self }
    }

    /// The name of the line, such as `7.x`.
    pub(crate) fn line(self) -> &'static str {
        self.line.name
    }

    pub(crate) fn name(self) -> String {
        self.minor.map_or_else(|| self.line.name.to_owned(), |minor| format!("{}.{minor}", self.line.major))
    }

    fn fits(self, release: &str) -> bool {
        match version(release).as_slice() {
            _ if !release.ends_with(self.arch.flavour) => false,
            [major, minor, ..] => *major == self.line.major && self.minor.is_none_or(|wanted| wanted == *minor),
            _ => false,
        }
    }

    /// Those of some releases that fit, newest first.
    pub(crate) fn choose(self, mut releases: Vec<String>) -> Vec<String> {
        releases.retain(|release| self.fits(release));
        releases.sort_by_cached_key(|release| std::cmp::Reverse(version(release)));
        releases
    }
}

/// The numbers of a release in their order: `6.12.117+deb13-cloud-amd64` is 6, 12, 117, 13, 64.
fn version(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Downloads the newest kernel that fits, keeps it in the cache, and gives its release.
pub(crate) fn fetch(cache: &Cache, wanted: Wanted) -> Result<String> {
    cache.check_space()?;
    let mut there = Vec::new();
    for suites in wanted.line.suites {
        let work = cache.workspace()?;
        let apt = Apt::new(work.path(), suites, wanted.arch)?;
        step(format_args!("kernel {}: reading the package lists of {}", wanted.name(), suites.join(", ")));
        apt.update()?;
        let packages = apt.run("apt-cache", &["pkgnames", PREFIX])?;
        let releases = releases(&packages, wanted.arch);
        for release in wanted.choose(releases.clone()) {
            for version in apt.versions(&format!("{PREFIX}{release}")) {
                step(format_args!("kernel {}: downloading {PREFIX}{release}", wanted.name()));
                let tree = work.path().join("tree");
                if apt.unpack(&parts(&version), &tree)? {
                    step(format_args!("kernel {}: unpacking {release}", wanted.name()));
                    keep(cache, &release, &tree)?;
                    return Ok(release);
                }
            }
        }
        there.extend(releases);
    }
    bail!(Usage(format!(
        "no kernel {} to download; the archive lists: {}",
        wanted.name(),
        minors(wanted.line.major, &there)
    )))
}

/// The minor versions of a major one among some releases, such as `7.0, 7.1`.
fn minors(major: u64, releases: &[String]) -> String {
    let versions = releases.iter().map(|release| version(release));
    let mut minors: Vec<u64> = versions
        .filter(|numbers| numbers.first() == Some(&major))
        .filter_map(|numbers| numbers.get(1).copied())
        .collect();
    minors.sort_unstable();
    minors.dedup();
    let names: Vec<String> = minors.iter().map(|minor| format!("{major}.{minor}")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The package of a record, and the packages that it depends on for the kernel and the modules themselves.
fn parts(record: &Record) -> Vec<String> {
    let parts = record.depends().filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
    std::iter::once(record.exact()).chain(parts.map(String::from)).collect()
}

/// The releases of the signed kernels in a list of package names: on x86-64 those for clouds.
fn releases(packages: &str, arch: &Arch) -> Vec<String> {
    let names = packages.lines().filter_map(|name| name.strip_prefix(PREFIX));
    let names = names.filter(|name| name.ends_with(arch.flavour));
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit())).map(String::from).collect()
}

/// Takes what is needed from an unpacked kernel package.
fn keep(cache: &Cache, release: &str, tree: &Path) -> Result<()> {
    let first = |paths: [PathBuf; 2]| paths.into_iter().find(|path| path.exists());
    let boot = tree.join("boot").join(format!("vmlinuz-{release}"));
    let modules = first([tree.join("lib/modules").join(release), tree.join("usr/lib/modules").join(release)]);
    let modules = modules.with_context(|| format!("the package of {release} has no modules"))?;
    let image =
        first([boot, modules.join("vmlinuz")]).with_context(|| format!("the package of {release} has no kernel"))?;
    let image = fs::read(&image).with_context(|| format!("reading {}", image.display()))?;
    let picked = modules::pick(&modules, Signatures::Strip)?;
    cache.store(release, &kernel::unpack(&image).unwrap_or(image), &picked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::arch::S390X;

    #[test]
    fn lines_are_read_in_each_spelling() {
        let names = |text| Wanted::parse(text).map(Wanted::name);
        for (text, name) in [("6.1", "6.1"), ("6.12", "6.12"), ("7", "7.x"), ("7.x", "7.x"), ("7.3", "7.3")] {
            assert_eq!(names(text).as_deref(), Ok(name));
        }
        for text in ["", "6", "6.x", "6.2", "7.", "7.y", "8", "x", "6.1.0"] {
            assert_eq!(names(text).unwrap_err(), "no such kernel line; known lines: 6.1, 6.12, 7.x", "{text}");
        }
    }

    #[test]
    fn the_newest_release_that_fits_comes_first() {
        let all = [
            "6.1.0-9-cloud-amd64",
            "6.1.0-56-cloud-amd64",
            "6.12.117+deb13-cloud-amd64",
            "7.3.4+deb13-cloud-amd64",
            "7.10.1-cloud-amd64",
        ];
        let choose = |text| Wanted::parse(text).unwrap().choose(all.map(String::from).into());
        assert_eq!(choose("6.1"), ["6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64"]);
        assert_eq!(choose("7"), ["7.10.1-cloud-amd64", "7.3.4+deb13-cloud-amd64"]);
        assert_eq!(choose("7.3"), ["7.3.4+deb13-cloud-amd64"]);
        assert_eq!(choose("7.4"), Vec::<String>::new());
        let releases = ["6.1.0-50-s390x", "6.1.0-56-cloud-amd64"].map(String::from);
        let wanted = Wanted::parse("6.1").unwrap();
        assert_eq!(wanted.choose(releases.to_vec()), ["6.1.0-56-cloud-amd64"]);
        assert_eq!(wanted.on(&S390X).choose(releases.to_vec()), ["6.1.0-50-s390x"]);
    }

    #[test]
    fn known_lines_are_named_once_and_in_order() {
        let all =
            ["7.10.1-cloud-amd64", "6.12.1-cloud-amd64", "7.2.6-cloud-amd64", "7.2.9-cloud-amd64"].map(String::from);
        assert_eq!(minors(7, &all), "7.2, 7.10");
        assert_eq!(minors(8, &all), "none");
    }

    #[test]
    fn only_signed_kernels_of_the_architecture_count() {
        let names = "linux-image-6.1.0-56-cloud-amd64\nlinux-image-6.1.0-56-amd64\nlinux-image-cloud-amd64\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\nlinux-image-6.1.0-56-cloud-amd64-dbg\n";
        assert_eq!(releases(names, &X86_64), ["6.1.0-56-cloud-amd64"]);
    }

    #[test]
    fn the_parts_of_a_split_kernel_are_found() {
        let record = "Package: linux-image-7.3.4-cloud-amd64\nVersion: 7.3.4-1\nDepends: linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1), kmod, \
                      linux-modules-7.3.4-cloud-amd64 (= 7.3.4-1), linux-base\nFilename: pool/x\n";
        let expected = [
            "linux-image-7.3.4-cloud-amd64=7.3.4-1",
            "linux-binary-7.3.4-cloud-amd64",
            "linux-modules-7.3.4-cloud-amd64",
        ];
        assert_eq!(parts(&Record::new(record)), expected);
    }
}
