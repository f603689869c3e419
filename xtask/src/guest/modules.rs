//! Loads kernel modules with what they depend on, by name or by alias.
use crate::complain;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Parameters that are always given: without them these modules create unwanted interfaces.
const PARAMETERS: [(&str, &str); 3] = [("bonding", "max_bonds=0"), ("dummy", "numdummies=0"), ("ifb", "numifbs=0")];

/// The modules of the running kernel, as `modules.dep` and `modules.alias` list them.
pub(crate) struct Modules {
    folder: PathBuf,
    /// Module name -> its file and the files it needs, in the order in which they must be loaded backwards.
    files: HashMap<String, Vec<String>>,
    /// Pattern -> module name.
    aliases: Vec<(String, String)>,
}

impl Modules {
    pub(crate) fn of_this_kernel() -> io::Result<Self> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let folder = Path::new("/lib/modules").join(release.trim());
        let read = |name| {
            let file = folder.join(name);
            std::fs::read_to_string(&file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
        };
        let (dependencies, aliases) = (read("modules.dep")?, read("modules.alias")?);
        Ok(Self::parse(folder, &dependencies, &aliases))
    }

    fn parse(folder: PathBuf, dependencies: &str, aliases: &str) -> Self {
        let files = dependencies
            .lines()
            .filter_map(|line| {
                let (file, needed) = line.split_once(':')?;
                let all = std::iter::once(file).chain(needed.split_whitespace());
                Some((module_name(file), all.map(String::from).collect()))
            })
            .collect();
        let aliases = aliases
            .lines()
            .filter_map(|line| {
                let (pattern, name) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
                Some((pattern.replace('-', "_"), name.to_owned()))
            })
            .collect();
        Self { folder, files, aliases }
    }

    /// The modules that a name or an alias stands for; none when it is unknown (or built in).
    fn resolve(&self, wanted: &str) -> Vec<&str> {
        let wanted = wanted.replace('-', "_");
        if let Some((name, _)) = self.files.get_key_value(&wanted) {
            return vec![name];
        }
        let matching = self.aliases.iter().filter(|(pattern, _)| matches(pattern.as_bytes(), wanted.as_bytes()));
        matching.map(|(_, name)| name.as_str()).collect()
    }

    /// Loads what a name or an alias stands for; `false` when nothing is known by it.
    pub(crate) fn load(&self, wanted: &str, parameters: &str) -> io::Result<bool> {
        let names = self.resolve(wanted);
        for name in &names {
            for file in self.files.get(*name).into_iter().flatten().rev() {
                let this = module_name(file);
                let fixed = PARAMETERS.iter().find(|(module, _)| *module == this).map_or("", |(_, fixed)| *fixed);
                let given = if this == **name { parameters } else { "" };
                insert(&self.folder.join(file), format!("{fixed} {given}").trim())?;
            }
        }
        Ok(!names.is_empty())
    }
}

fn insert(file: &Path, parameters: &str) -> io::Result<()> {
    let parameters = CString::new(parameters)?;
    match finit_module(&File::open(file)?, &parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(io::Error::other(format!("{}: {error}", file.display()))),
    }
}

fn module_name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

/// Whether a text matches an alias pattern: `*`, `?` and `[a-z]`, as in a shell.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, text) || text.split_first().is_some_and(|(_, text)| matches(pattern, text))
        }
        (Some((b'?', rest)), Some((_, text))) => matches(rest, text),
        (Some((b'[', rest)), Some((byte, text))) => {
            let mut parts = rest.splitn(2, |&byte| byte == b']');
            match (parts.next(), parts.next()) {
                (Some(class), Some(rest)) => in_class(class, *byte) && matches(rest, text),
                _ => false,
            }
        }
        (Some((expected, rest)), Some((byte, text))) => expected == byte && matches(rest, text),
        _ => false,
    }
}

/// Whether a byte is in the inside of `[…]`. A `-` has become `_` with the rest of the pattern, so both make a range.
fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        [low, b'-' | b'_', high, rest @ ..] => (*low..=*high).contains(&byte) || in_class(rest, byte),
        [one, rest @ ..] => *one == byte || in_class(rest, byte),
        [] => false,
    }
}

/// `modprobe [-q] [-a] [--] NAME [PARAMETER…]`, as the kernel and the tools call it.
pub(crate) fn modprobe(arguments: impl Iterator<Item = String>) -> ExitCode {
    let (options, words): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.starts_with('-'));
    let short = |wanted| options.iter().any(|option| !option.starts_with("--") && option.contains(wanted));
    let quiet = short('q') || options.iter().any(|option| option == "--quiet");
    if short('r') {
        complain("modprobe: only loads; use rmmod");
        return ExitCode::FAILURE;
    }
    let (names, parameters) = match words.split_first() {
        Some((name, parameters)) if !short('a') => (std::slice::from_ref(name), parameters.join(" ")),
        _ => (words.as_slice(), String::new()),
    };
    let modules = match Modules::of_this_kernel() {
        Ok(modules) => modules,
        Err(error) => {
            complain(format_args!("modprobe: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let complaint = match modules.load(name, &parameters) {
            Ok(true) => continue,
            Ok(false) if quiet || built_in(name) => None,
            Ok(false) => Some(format!("module {name} not found")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(complaint) = complaint {
            complain(format_args!("modprobe: {complaint}"));
        }
        if !built_in(name) {
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Whether the kernel has this module inside; only those with parameters or a version can be seen.
fn built_in(name: &str) -> bool {
    Path::new("/sys/module").join(name.replace('-', "_")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Modules {
        let dependencies = "kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko kernel/lib/libcrc32c.ko\n\
                            kernel/net/netfilter/ipvs/ip_vs.ko: kernel/lib/libcrc32c.ko\nkernel/lib/libcrc32c.ko:\n";
        let aliases = "alias net-pf-16-proto-16-family-IPVS ip_vs\nalias pci:v00001AF4d*sv* virtio_pci\n";
        Modules::parse(PathBuf::from("/m"), dependencies, aliases)
    }

    #[test]
    fn a_name_is_found_with_either_dash() {
        assert_eq!(sample().resolve("ip-vs_rr"), ["ip_vs_rr"]);
        assert_eq!(sample().resolve("ip_vs_none"), Vec::<&str>::new());
    }

    #[test]
    fn an_alias_is_found_by_its_pattern() {
        assert_eq!(sample().resolve("net-pf-16-proto-16-family-IPVS"), ["ip_vs"]);
        assert_eq!(sample().resolve("pci:v00001AF4d00001003sv1"), ["virtio_pci"]);
    }

    #[test]
    fn a_file_is_listed_with_its_dependencies() {
        let files = sample().files.remove("ip_vs_rr").unwrap();
        assert_eq!(files.first().unwrap(), "kernel/net/netfilter/ipvs/ip_vs_rr.ko");
        assert_eq!(files.last().unwrap(), "kernel/lib/libcrc32c.ko");
    }

    #[test]
    fn patterns_match_like_a_shell() {
        for (pattern, text, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("*", "", true),
            ("v[0-9a]x", "v7x", true),
            ("v[0_9a]x", "vax", true),
            ("v[0-9]x", "vbx", false),
            ("v[0", "v0", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
