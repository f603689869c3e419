//! Puts together what the guest finds when it starts: programs, libraries, modules, and what to run.
use super::cpio::Archive;
use super::kernel::Kernel;
use super::modules;
use super::tools::Tools;
use crate::host::{output_of, program};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tools that the guest has where this machine, or a package, has them. A real `sh`, because that of busybox prefers its
/// own `ip` and `setpriv` to those on the PATH.
const TOOLS: [&str; 13] = [
    "bash",
    "conntrack",
    "ip",
    "ipset",
    "ipvsadm",
    "nft",
    "nsenter",
    "setpriv",
    "sh",
    "ss",
    "strace",
    "tcpdump",
    "unshare",
];

/// Programs of many names; the first is the plain one where both exist.
const XTABLES: [(&str, &[&str]); 2] = [
    (
        "xtables-nft-multi",
        &[
            "iptables",
            "iptables-save",
            "iptables-restore",
            "ip6tables",
            "ip6tables-save",
            "ip6tables-restore",
            "iptables-nft",
            "iptables-nft-restore",
            "ip6tables-nft",
        ],
    ),
    (
        "xtables-legacy-multi",
        &[
            "iptables-legacy",
            "iptables-legacy-save",
            "iptables-legacy-restore",
            "ip6tables-legacy",
            "ip6tables-legacy-save",
            "ip6tables-legacy-restore",
        ],
    ),
];

/// Where iptables looks for its extensions.
const PLUGINS: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib/s390x-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"];

/// The extension that needs libm.
const MATHEMATICAL: &str = "libxt_statistic.so";

const FOLDERS: [&str; 10] =
    ["dev", "mnt", "proc", "root", "run", "sys", "usr/local/bin", "usr/lib64", "usr/sbin", "var/lib"];

/// Where the examples of this crate are. The real `ipvsadm` and `ipset` come first on the PATH.
const EXAMPLES: &str = "/examples";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/examples";

/// Texts of /etc. Name services other than files would need libraries that crash static programs.
const ETC: [(&str, &str); 4] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n",
    ),
    ("group", "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", HOSTS),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n"),
];

/// Some with one name, with more, with a long one, with one that has more bytes than letters, with a dash; names of
/// more than one address.
const HOSTS: &str = "127.0.0.1 localhost vm
::1 localhost
::1 ip6-localhost
10.0.0.1 vip.example.com vip
10.9.0.1 rs1.example.com rs1
10.9.0.9 averyveryverylongname.averylongdomain.example.com long
fd00::1 vip6.example.com vip6
fd00::99 rs6.example.com
10.0.0.3 twice
10.0.0.2 twice
192.168.1.1 far
10.0.0.1 far
10.0.0.8 café
192.168.1.12 mail-1.example.com
2001:db8::8 mail-6.example.com
";

/// Environment variables by which a user chooses tests.
const CHOICES: [&str; 4] = ["LVS_SEED", "LVS_LINES", "LVS_LONG", "LVS_KILLS"];

/// Results have a channel of their own, so that printed text is never treated as a result.
pub(crate) const RESULTS: &str = "/dev/virtio-ports/results";

/// Input and output of the guest's command.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Session {
    /// Output and errors apart, no input.
    Plain,
    /// Likewise, with the standard input of this process.
    Input,
    /// Likewise without input, and a third stream of test results.
    Results,
    /// A terminal.
    Terminal,
}

/// Clock of the guest.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Clock {
    Real,
    /// A count of instructions, one for each nanosecond; what is waited for takes none. It repeats exactly, whatever
    /// else this machine does.
    Instructions,
}

/// A command, and the files that it needs.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) command: Vec<String>,
    pub(crate) session: Session,
    pub(crate) clock: Clock,
    /// Statically linked programs and their path in the guest.
    pub(crate) programs: Vec<(PathBuf, String)>,
    /// Files and folders of the user and their path in the guest.
    pub(crate) files: Vec<(PathBuf, String)>,
}

/// Where an example goes.
pub(crate) fn example_path(name: &str) -> String {
    format!("{EXAMPLES}/{name}")
}

/// Writes the archive.
pub(crate) fn build(kernel: &Kernel, guest: &Path, job: &Job) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    base(&mut archive);
    copy(&mut archive, guest, "init")?;
    archive.link("usr/sbin/modprobe", "/init");
    add_modules(&mut archive, kernel);
    add_tools(&mut archive, &Tools::of(kernel.arch)?)?;
    for (source, path) in job.programs.iter().chain(&job.files) {
        copy(&mut archive, source, path)?;
    }
    archive.file("vm/command", 0o644, &zero_ended(&job.command));
    archive.file("vm/environment", 0o644, &zero_ended(&environment()));
    let session = match job.session {
        Session::Plain => "plain",
        Session::Input => "input",
        Session::Results => "results",
        Session::Terminal => "terminal",
    };
    archive.file("vm/session", 0o644, session.as_bytes());
    Ok(archive.finish())
}

fn base(archive: &mut Archive) {
    for folder in FOLDERS {
        archive.folder(folder);
    }
    archive.folder_with_mode("tmp", 0o1777);
    for folder in ["bin", "sbin", "lib", "lib64"] {
        archive.link(folder, &format!("usr/{folder}"));
    }
    archive.link("var/run", "/run");
    archive.device("dev/console", 0o600, 5, 1);
    archive.device("dev/null", 0o666, 1, 3);
    for (name, text) in ETC {
        archive.file(&format!("etc/{name}"), 0o644, text.as_bytes());
    }
}

fn add_modules(archive: &mut Archive, kernel: &Kernel) {
    let folder = format!("usr/lib/modules/{}", kernel.release);
    for module in kernel.modules.values() {
        archive.file(&format!("{folder}/{}", module.path), 0o644, &module.data);
    }
    archive.file(&format!("{folder}/modules.dep"), 0o644, modules::dependency_list(&kernel.modules).as_bytes());
    archive.file(&format!("{folder}/modules.alias"), 0o644, modules::alias_list(&kernel.modules).as_bytes());
}

fn add_tools(archive: &mut Archive, tools: &Tools) -> Result<()> {
    for tool in TOOLS {
        if let Some(file) = tools.program(tool) {
            add_program(archive, tools, &file, &format!("usr/bin/{tool}"))?;
            archive.link(&format!("usr/sbin/{tool}"), &format!("../bin/{tool}"));
        }
    }
    for (multi, names) in XTABLES {
        let Some(file) = tools.program(multi) else { continue };
        add_program(archive, tools, &file, &format!("usr/sbin/{multi}"))?;
        for name in names {
            archive.link(&format!("usr/sbin/{name}"), multi);
        }
    }
    for folder in PLUGINS {
        let source = tools.path(folder);
        if source.is_dir() {
            copy(archive, &source, folder)?;
            add_libraries(archive, tools, &source.join(MATHEMATICAL))?;
        }
    }
    for name in ["protocols", "services", "ethertypes", "iproute2"] {
        let path = format!("/etc/{name}");
        let source = tools.path(&path);
        if source.exists() {
            copy(archive, &source, &path)?;
        }
    }
    add_busybox(archive, tools)
}

/// The static busybox, by all the names that no real program has. They are those of this machine's busybox.
fn add_busybox(archive: &mut Archive, tools: &Tools) -> Result<()> {
    let busybox = tools.program("busybox").context("the program busybox is not installed")?;
    add_program(archive, tools, &busybox, "usr/bin/busybox")?;
    for applet in output_of(Command::new(program("busybox")?).arg("--list"))?.split_whitespace() {
        let taken = ["bin", "sbin"].iter().any(|folder| archive.contains(&format!("usr/{folder}/{applet}")));
        if !taken {
            archive.link(&format!("usr/bin/{applet}"), "busybox");
        }
    }
    Ok(())
}

/// A program with its shared libraries.
fn add_program(archive: &mut Archive, tools: &Tools, file: &Path, path: &str) -> Result<()> {
    copy(archive, file, path)?;
    add_libraries(archive, tools, file)
}

/// Shared libraries of a program or a plugin.
fn add_libraries(archive: &mut Archive, tools: &Tools, file: &Path) -> Result<()> {
    for library in tools.libraries(file)? {
        copy(archive, &tools.path(&library), &merged(&library))?;
    }
    Ok(())
}

/// The path in a system where `/lib` is a link to `/usr/lib`.
fn merged(path: &str) -> String {
    if path.starts_with("/lib") { format!("/usr{path}") } else { path.to_owned() }
}

/// Copies a file or a folder. Links are followed, dead ones left out.
fn copy(archive: &mut Archive, source: &Path, path: &str) -> Result<()> {
    let reading = || format!("reading {}", source.display());
    let data = source.metadata().with_context(reading)?;
    if data.is_dir() {
        archive.folder(path);
        for entry in fs::read_dir(source).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            if entry.path().exists() {
                copy(archive, &entry.path(), &format!("{path}/{}", entry.file_name().to_string_lossy()))?;
            }
        }
    } else if data.is_file() {
        archive.file(path, data.permissions().mode() & 0o777, &fs::read(source).with_context(reading)?);
    }
    Ok(())
}

fn environment() -> Vec<String> {
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let fixed = [
        ("PATH", PATH),
        // Tests may load and unload modules here.
        ("LVS_OWN_MACHINE", "1"),
        ("HOME", "/root"),
        ("LC_ALL", "C"),
        ("LVS_EXAMPLES", EXAMPLES),
        ("TERM", &terminal),
    ];
    let chosen = CHOICES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let chosen = chosen.map(|(name, value)| format!("{name}={value}"));
    fixed.iter().map(|(name, value)| format!("{name}={value}")).chain(chosen).collect()
}

fn zero_ended(words: &[String]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_where_the_links_of_the_guest_lead() {
        assert_eq!(merged("/lib64/ld.so"), "/usr/lib64/ld.so");
        assert_eq!(merged("/usr/lib/x.so"), "/usr/lib/x.so");
    }

    #[test]
    fn words_may_hold_anything_but_zero() {
        assert_eq!(zero_ended(&["a b".to_owned(), String::new()]), b"a b\0\0");
    }
}
