//! Stock Debian kernels: a list of them, and the download through the machine's apt.
use super::cache::Cache;
use super::kernel;
use super::modules::{self, Signatures};
use crate::host::output_of;
use crate::{Usage, step};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
const FLAVOUR: &str = "-cloud-amd64";
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A kernel line as the user asked for it.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    line: &'static Line,
    minor: Option<u64>,
}

impl Wanted {
    /// All lines, oldest first.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        LINES.iter().map(|line| Self { line, minor: line.minor })
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
        line.map(|line| Self { line, minor }).ok_or_else(|| format!("no such kernel line; known lines: {names}"))
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
        let apt = Apt::new(work.path(), suites)?;
        step(format_args!("kernel {}: reading the package lists of {}", wanted.name(), suites.join(", ")));
        apt.run("apt-get", &["update"])?;
        let packages = apt.run("apt-cache", &["pkgnames", PREFIX])?;
        let releases = releases(&packages);
        if let Some((release, package)) =
            wanted.choose(releases.clone()).iter().find_map(|release| Some((release, apt.package(release)?)))
        {
            step(format_args!("kernel {}: downloading {PREFIX}{release}", wanted.name()));
            let tree = apt.download_and_unpack(&package)?;
            step(format_args!("kernel {}: unpacking {release}", wanted.name()));
            keep(cache, release, &tree)?;
            return Ok(release.clone());
        }
        there.extend(releases);
    }
    bail!(Usage(format!("no kernel {}; the archive has: {}", wanted.name(), minors(wanted.line.major, &there))))
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

/// The releases of the signed cloud kernels in a list of package names.
fn releases(packages: &str) -> Vec<String> {
    let names = packages.lines().filter_map(|name| name.strip_prefix(PREFIX)).filter(|name| name.ends_with(FLAVOUR));
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

/// A view of the archive with package lists of its own: what the machine itself uses is not touched.
struct Apt {
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(folder: &Path, suites: &[&str]) -> Result<Self> {
        let base = folder.display();
        // The download method runs as root only when apt does; its usual user may not write here.
        let user = if nix::unistd::geteuid().is_root() { "root" } else { "" };
        let options = [
            format!("Dir::Etc::sourcelist={base}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State={base}/state"),
            format!("Dir::State::status={base}/status"),
            format!("Dir::Cache={base}/cache"),
            format!("APT::Sandbox::User={user}"),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        let this =
            Self { folder: folder.to_owned(), options: options.iter().map(|option| format!("-o{option}")).collect() };
        let keyring = KEYRINGS.into_iter().find(|path| Path::new(path).exists());
        let keyring = keyring.context("the keys of the Debian archive are missing: install debian-archive-keyring")?;
        let sources = sources(&targets()?, suites, keyring)?;
        let made = ["state/lists/partial", "cache/archives/partial"]
            .iter()
            .try_for_each(|part| fs::create_dir_all(folder.join(part)));
        made.and_then(|()| fs::write(folder.join("status"), ""))
            .and_then(|()| fs::write(folder.join("sources.list"), sources))
            .with_context(|| format!("writing in {base}"))?;
        Ok(this)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output_of(Command::new(program).args(&self.options).args(arguments).current_dir(&self.folder))
    }

    /// The record of a kernel's package; `None` when it is only a name that others mention.
    fn package(&self, release: &str) -> Option<String> {
        let text = self.run("apt-cache", &["show", "--no-all-versions", &format!("{PREFIX}{release}")]).ok()?;
        text.contains("\nFilename:").then_some(text)
    }

    /// Unpacks a kernel's package, and those that hold its parts, into a folder.
    fn download_and_unpack(&self, record: &str) -> Result<PathBuf> {
        let packages = parts(record);
        let mut arguments = vec!["download"];
        arguments.extend(packages.iter().map(String::as_str));
        self.run("apt-get", &arguments)?;
        let tree = self.folder.join("tree");
        let files: Vec<PathBuf> = fs::read_dir(&self.folder)?.flatten().map(|entry| entry.path()).collect();
        let archives: Vec<&PathBuf> =
            files.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "deb")).collect();
        ensure!(
            archives.len() == packages.len(),
            "apt-get downloaded {} packages, not {}",
            archives.len(),
            packages.len()
        );
        for archive in archives {
            output_of(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&tree))?;
        }
        Ok(tree)
    }
}

/// The package of a record, and the packages that it depends on for the kernel and the modules themselves.
fn parts(record: &str) -> Vec<String> {
    let field = |name: &str| record.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let depends = field("Depends: ").split([',', '|']).filter_map(|part| part.split_whitespace().next());
    let parts = depends.filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
    std::iter::once(field("Package: ")).chain(parts).map(String::from).collect()
}

/// The archives that apt knows, as `URI|label` lines; before the first update it knows them by their URI only.
fn targets() -> Result<String> {
    let list = |options: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("indextargets").args(options).args(["--format", "$(REPO_URI)|$(LABEL)", "Created-By: Packages"]);
        output_of(&mut command)
    };
    Ok(list(&[])? + &list(&["--no-release-info"])?)
}

/// A sources.list for some suites, from the archives that apt knows.
fn sources(targets: &str, suites: &[&str], keyring: &str) -> Result<String> {
    let archive = |label: &str, end: &str| {
        let lines = || targets.lines().filter_map(|line| line.split_once('|'));
        let by_label = || lines().find(|(_, of)| *of == label);
        let by_uri = || lines().find(|(uri, of)| *of == "$(LABEL)" && uri.trim_end_matches('/').ends_with(end));
        by_label().or_else(by_uri).map(|(uri, _)| uri)
    };
    let main = archive("Debian", "/debian");
    let main =
        main.context("apt has no Debian archive among its sources: add one, or use --kernel-image and --modules")?;
    let security = archive("Debian-Security", "-security");
    let lines = suites.iter().filter_map(|suite| {
        let uri = if suite.ends_with("-security") { security } else { Some(main) };
        uri.map(|uri| format!("deb [arch=amd64 signed-by={keyring}] {uri} {suite} main\n"))
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn known_lines_are_named_once_and_in_order() {
        let all =
            ["7.10.1-cloud-amd64", "6.12.1-cloud-amd64", "7.2.6-cloud-amd64", "7.2.9-cloud-amd64"].map(String::from);
        assert_eq!(minors(7, &all), "7.2, 7.10");
        assert_eq!(minors(8, &all), "none");
    }

    #[test]
    fn only_signed_cloud_kernels_count() {
        let names = "linux-image-6.1.0-56-cloud-amd64\nlinux-image-6.1.0-56-amd64\nlinux-image-cloud-amd64\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\nlinux-image-6.1.0-56-cloud-amd64-dbg\n";
        assert_eq!(releases(names), ["6.1.0-56-cloud-amd64"]);
    }

    #[test]
    fn the_parts_of_a_split_kernel_are_found() {
        let record = "Package: linux-image-7.3.4-cloud-amd64\nDepends: linux-binary-7.3.4-cloud-amd64 (= 7.3.4-1), kmod, \
                      linux-modules-7.3.4-cloud-amd64 (= 7.3.4-1), linux-base\nFilename: pool/x\n";
        let expected =
            ["linux-image-7.3.4-cloud-amd64", "linux-binary-7.3.4-cloud-amd64", "linux-modules-7.3.4-cloud-amd64"];
        assert_eq!(parts(record), expected);
    }

    #[test]
    fn sources_are_those_of_apt() {
        let suites = ["a", "a-security"];
        let expected = "deb [arch=amd64 signed-by=K] http://m/debian/ a main\ndeb [arch=amd64 signed-by=K] http://m/sec/ a-security main\n";
        let targets = "http://other/|\nhttp://m/debian/|Debian\nhttp://m/sec/|Debian-Security\n";
        assert_eq!(sources(targets, &suites, "K").unwrap(), expected);
        let not_updated = "http://m/debian|$(LABEL)\nhttp://m/debian-security/|$(LABEL)\n";
        assert!(sources(not_updated, &suites, "K").unwrap().contains("http://m/debian-security/ a-security"));
        assert!(sources("http://other/|Other\n", &suites, "K").is_err());
    }
}
