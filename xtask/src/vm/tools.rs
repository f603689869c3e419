//! The tools that the guest has besides this project's own programs, and their shared libraries.
//!
//! They are those of this machine, or, for another architecture, those of Debian packages. A program of another
//! architecture cannot be run by `ldd`, so its libraries are read from its ELF file.
use super::apt::{Apt, Record};
use super::arch::Arch;
use super::cache::Cache;
use crate::host::{output_of, which};
use crate::step;
use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that has the versions of ipvsadm and ipset with which the tests compare.
const SUITES: [&str; 3] = ["bookworm", "bookworm-updates", "bookworm-security"];

const PACKAGES: [&str; 11] = [
    "bash",
    "busybox-static",
    "conntrack",
    "dash",
    "ipset",
    "iproute2",
    "iptables",
    "ipvsadm",
    "netbase",
    "nftables",
    "util-linux",
];

/// Where the programs of packages are.
const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// The tools for one architecture.
pub(super) struct Tools {
    arch: &'static Arch,
    /// The folder that holds their `/usr`, `/etc` and so on.
    root: PathBuf,
}

impl Tools {
    pub(super) fn of(arch: &'static Arch) -> Result<Self> {
        let root = if arch.native { PathBuf::from("/") } else { super::cache::tools(arch, &PACKAGES)? };
        Ok(Self { arch, root })
    }

    /// A path of the guest as the path of this machine.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The file of a program, if there is one.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        if self.arch.native {
            return which(name);
        }
        let files = FOLDERS.map(|folder| self.path(folder).join(name));
        // An absolute link leads out of the folder, to a program of this machine.
        let root = self.root.canonicalize().ok()?;
        files.into_iter().find(|file| file.canonicalize().is_ok_and(|file| file.starts_with(&root)))
    }

    /// Shared libraries of a program or a plugin and its loader, by their paths in the guest; none if it is static.
    pub(super) fn libraries(&self, file: &Path) -> Result<Vec<String>> {
        if self.arch.native {
            // It fails for a static program.
            let text = output_of(Command::new("ldd").arg(file)).unwrap_or_default();
            return Ok(parse_ldd(&text).map(String::from).collect());
        }
        let mut found = Vec::new();
        let mut todo = vec![file.to_owned()];
        while let Some(file) = todo.pop() {
            let data = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            for name in needed(&data).with_context(|| format!("the libraries of {}", file.display()))? {
                let Some(path) = self.library(&name) else {
                    bail!("{} needs {name}, which is in no package", file.display());
                };
                if !found.contains(&path) {
                    todo.push(self.path(&path));
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// The guest's path of a library, or of a loader, which has a full path already.
    fn library(&self, name: &str) -> Option<String> {
        let folder = |parent: &str| format!("{parent}/{}/{name}", self.arch.triplet);
        let paths =
            if name.starts_with('/') { vec![name.to_owned()] } else { vec![folder("/lib"), folder("/usr/lib")] };
        paths.into_iter().find(|path| self.path(path).exists())
    }
}

/// Puts the tools for an architecture into the cache, unless they are those of this machine.
pub(super) fn fetch(cache: &Cache, arch: &'static Arch) -> Result<()> {
    let tools = Tools::of(arch)?;
    if tools.root.exists() {
        return Ok(());
    }
    cache.check_space()?;
    let work = cache.workspace()?;
    let apt = Apt::new(work.path(), &SUITES, arch)?;
    step(format_args!("tools for {}: reading the package lists of {}", arch.name, SUITES.join(", ")));
    apt.update()?;
    step(format_args!("tools for {}: downloading {}", arch.name, PACKAGES.join(", ")));
    let tree = work.path().join("tree");
    unpack(&apt, &tree)?;
    // Texts for people.
    let _ = fs::remove_dir_all(tree.join("usr/share"));
    let kept = tools.root.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::rename(&tree, &tools.root));
    kept.with_context(|| format!("renaming to {}", tools.root.display()))
}

/// Unpacks the packages, and all packages of libraries that they depend on.
fn unpack(apt: &Apt, tree: &Path) -> Result<()> {
    let mut todo = PACKAGES.map(String::from).to_vec();
    let mut seen: HashSet<String> = todo.iter().cloned().collect();
    while let Some(package) = todo.pop() {
        match unpack_one(apt, &package, tree)? {
            Some(version) => {
                let libraries = version.depends().filter(|name| name.starts_with("lib") || name.starts_with("zlib"));
                todo.extend(libraries.filter(|name| seen.insert((*name).to_owned())).map(String::from));
            }
            None if PACKAGES.contains(&package.as_str()) => bail!("the archive has no package {package}"),
            // A name that several packages provide, or a library that may not be needed.
            None => {}
        }
    }
    Ok(())
}

/// Unpacks the newest version of a package that the archive has, and returns its record.
fn unpack_one(apt: &Apt, package: &str, tree: &Path) -> Result<Option<Record>> {
    for version in apt.versions(package) {
        if apt.unpack(&[version.exact()], tree)? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// The libraries in what `ldd` writes, with the loader.
fn parse_ldd(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (path, _address) = line.trim().split_once(" (0x")?;
        let path = path.rsplit(' ').next()?;
        path.starts_with('/').then_some(path)
    })
}

/// The names of the libraries that an ELF file is linked with, and the path of its loader.
fn needed(elf: &[u8]) -> Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    let table = header.sections(endian, elf)?.dynamic_table(endian, elf)?;
    let libraries = table.iter().filter(|entry| entry.tag == DT_NEEDED).map(|entry| Ok(table.string(entry)?));
    let mut names = libraries.collect::<Result<Vec<_>>>()?;
    for segment in header.program_headers(endian, elf)? {
        names.extend(segment.interpreter(endian, elf)?);
    }
    Ok(names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ff)\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x00007ff)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007ff)\n\tstatically linked\n";
        assert_eq!(parse_ldd(text).collect::<Vec<_>>(), ["/lib/x/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn an_elf_file_names_its_libraries_and_its_loader() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = needed(&this).unwrap();
        assert!(names.iter().any(|name| name.starts_with("libc.so")), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("/lib") && name.contains("/ld-linux")), "{names:?}");
        assert!(needed(b"no ELF").is_err());
    }
}
