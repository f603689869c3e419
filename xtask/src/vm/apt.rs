//! Debian's archive through the machine's apt: package lists of its own, and unpacked packages.
use super::arch::Arch;
use crate::host::output_of;
use crate::step;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A view of the archive with package lists of its own: what the machine itself uses is not touched.
pub(super) struct Apt {
    arch: &'static Arch,
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    pub(super) fn new(folder: &Path, suites: &[&str], arch: &'static Arch) -> Result<Self> {
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
            format!("APT::Architecture={}", arch.debian),
            format!("APT::Architectures={}", arch.debian),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ];
        let this = Self {
            arch,
            folder: folder.to_owned(),
            options: options.iter().map(|option| format!("-o{option}")).collect(),
        };
        let keyring = KEYRINGS.into_iter().find(|path| Path::new(path).exists());
        let keyring = keyring.context("the keys of the Debian archive are missing: install debian-archive-keyring")?;
        let sources = sources(&targets()?, suites, keyring, arch)?;
        let made = ["state/lists/partial", "cache/archives/partial"]
            .iter()
            .try_for_each(|part| fs::create_dir_all(folder.join(part)));
        made.and_then(|()| fs::write(folder.join("status"), ""))
            .and_then(|()| fs::write(folder.join("sources.list"), sources))
            .with_context(|| format!("writing in {base}"))?;
        Ok(this)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }

    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output_of(self.command(program).args(arguments).current_dir(&self.folder))
    }

    /// Reads the package lists. Those of another architecture than this machine's may be older than their index while
    /// the archive changes: such a list is left out.
    pub(super) fn update(&self) -> Result<()> {
        match self.run("apt-get", &["update"]) {
            Err(error) if !self.arch.native => {
                step(format_args!("{error}: continuing without this list"));
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The versions of a package, newest first; none if the package is only a name that others mention.
    pub(super) fn versions(&self, package: &str) -> Vec<Record> {
        let text = self.run("apt-cache", &["show", package]).unwrap_or_default();
        let records = text.split("\n\n").filter(|record| record.contains("\nFilename:"));
        records.map(Record::new).collect()
    }

    /// Downloads packages, each as `NAME` or `NAME=VERSION`, and unpacks them into one folder. Returns `false` if the
    /// archive lists a package and lacks its file.
    pub(super) fn unpack(&self, packages: &[String], tree: &Path) -> Result<bool> {
        let folder = tempfile::tempdir_in(&self.folder).context("a folder for the packages")?;
        let mut download = self.command("apt-get");
        let downloaded = output_of(download.arg("download").args(packages).current_dir(folder.path()));
        match downloaded {
            Err(error) if is_missing(&error.to_string()) => {
                step(format_args!("{error}: trying the next version"));
                return Ok(false);
            }
            other => other.map(drop)?,
        }
        let archives: Vec<PathBuf> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.path()).collect();
        ensure!(
            archives.len() == packages.len(),
            "apt-get downloaded {} packages, not {}",
            archives.len(),
            packages.len()
        );
        for archive in archives {
            output_of(Command::new("dpkg-deb").arg("-x").arg(archive).arg(tree))?;
        }
        Ok(true)
    }
}

/// Record of one version of a package.
pub(super) struct Record(String);

impl Record {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn field(&self, name: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
    }

    /// The version as apt accepts it: `NAME=VERSION`.
    pub(super) fn exact(&self) -> String {
        format!("{}={}", self.field("Package: "), self.field("Version: "))
    }

    /// Names of the packages that it depends on, with all alternatives.
    pub(super) fn depends(&self) -> impl Iterator<Item = &str> {
        let fields = ["Depends: ", "Pre-Depends: "].into_iter().flat_map(|name| self.field(name).split([',', '|']));
        fields.filter_map(|part| part.split_whitespace().next())
    }
}

/// Returns whether apt reports a file that the archive lacks.
fn is_missing(error: &str) -> bool {
    error.split_whitespace().collect::<Vec<_>>().windows(3).any(|words| words == ["404", "Not", "Found"])
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
fn sources(targets: &str, suites: &[&str], keyring: &str, arch: &Arch) -> Result<String> {
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
        uri.map(|uri| format!("deb [arch={} signed-by={keyring}] {uri} {suite} main\n", arch.debian))
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::arch::{S390X, X86_64};

    #[test]
    fn a_record_names_its_version_and_its_dependencies() {
        let text =
            "Package: ip\nVersion: 1:2-3\nPre-Depends: libc6 (>= 2)\nDepends: debconf (>= 0.5) | cdebconf, libmnl0";
        let record = Record::new(text);
        assert_eq!(record.exact(), "ip=1:2-3");
        assert_eq!(record.depends().collect::<Vec<_>>(), ["debconf", "cdebconf", "libmnl0", "libc6"]);
    }

    #[test]
    fn a_missing_file_differs_from_a_missing_network() {
        assert!(is_missing("apt-get: Failed to fetch http://m/a_1.deb  404  Not Found [IP: 192.0.2.1 80]"));
        assert!(!is_missing("apt-get: Failed to fetch http://m/a_1.404.deb  Could not resolve 'm'"));
    }

    #[test]
    fn sources_are_those_of_apt() {
        let suites = ["a", "a-security"];
        let expected = "deb [arch=amd64 signed-by=K] http://m/debian/ a main\ndeb [arch=amd64 signed-by=K] http://m/sec/ a-security main\n";
        let targets = "http://other/|\nhttp://m/debian/|Debian\nhttp://m/sec/|Debian-Security\n";
        assert_eq!(sources(targets, &suites, "K", &X86_64).unwrap(), expected);
        let not_updated = "http://m/debian|$(LABEL)\nhttp://m/debian-security/|$(LABEL)\n";
        assert!(sources(not_updated, &suites, "K", &X86_64).unwrap().contains("http://m/debian-security/ a-security"));
        assert!(
            sources(targets, &suites, "K", &S390X)
                .unwrap()
                .starts_with("deb [arch=s390x signed-by=K] http://m/debian/ a main\n")
        );
        assert!(sources("http://other/|Other\n", &suites, "K", &X86_64).is_err());
    }
}
