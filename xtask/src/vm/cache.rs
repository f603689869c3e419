//! The folder outside the repository that keeps unpacked kernels and packages.
//!
//! `kernels/RELEASE/` holds `image`, `modules/` and `manifest`; `tools/` holds unpacked packages for other
//! architectures. Each is created by one renaming, so that it is complete or absent. `tmp/` holds what is in the making; whoever has the lock may clear it.
use super::arch::Arch;
use super::kernel::Kernel;
use super::modules::{self, Modules, Signatures};
use crate::step;
use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MEGABYTE: u64 = 1 << 20;
/// Free space for package lists, packages and their contents together, with a reserve.
const SPACE_FOR_A_KERNEL: u64 = 300;

pub(crate) struct Cache {
    root: PathBuf,
    _lock: Flock<File>,
}

impl Cache {
    /// Opens the cache for this process alone, when others are done with it.
    pub(crate) fn open() -> Result<Self> {
        let root = folder()?;
        let opened = fs::create_dir_all(root.join("kernels")).and_then(|()| File::create(root.join("lock")));
        let file = opened.with_context(|| format!("the cache folder {}", root.display()))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).or_else(|(file, _)| {
            step(format_args!("waiting for another run to finish with {}", root.display()));
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)
        });
        let cache = Self { _lock: lock.with_context(|| format!("locking {}", root.display()))?, root };
        let _ = fs::remove_dir_all(cache.root.join("tmp"));
        Ok(cache)
    }

    /// A folder to work in, on the same file system as the cache; removed when dropped.
    pub(crate) fn workspace(&self) -> Result<TempDir> {
        let parent = self.root.join("tmp");
        let made = fs::create_dir_all(&parent).and_then(|()| tempfile::tempdir_in(&parent));
        made.with_context(|| format!("making a folder in {}", parent.display()))
    }

    /// Refuses to begin what would not fit: apt hangs for ever when the disk is full.
    pub(crate) fn check_space(&self) -> Result<()> {
        let root = self.root.display();
        let state = statvfs(&self.root).with_context(|| format!("the free space of {root}"))?;
        let free = state.blocks_available() * state.fragment_size() / MEGABYTE;
        ensure!(
            free >= SPACE_FOR_A_KERNEL,
            "{root} has {free} MB left, getting a kernel takes {SPACE_FOR_A_KERNEL} MB"
        );
        Ok(())
    }

    /// The releases of all kernels that are here.
    pub(crate) fn releases(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("kernels")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// A kernel that is here; an error when its files are not those that were stored.
    pub(crate) fn load(&self, release: &str, arch: &'static Arch) -> Result<Kernel> {
        let entry = self.entry(release);
        let manifest = fs::read_to_string(entry.join("manifest")).context("no manifest")?;
        for line in manifest.lines() {
            let (sum, path) = line.split_once(' ').context("a broken manifest")?;
            let data = fs::read(entry.join(path)).with_context(|| path.to_owned())?;
            ensure!(checksum(&data) == sum, "{path} has changed");
        }
        let modules = modules::pick(&entry.join("modules"), Signatures::Keep)?;
        Ok(Kernel { arch, release: release.to_owned(), image: entry.join("image"), modules })
    }

    pub(crate) fn remove(&self, release: &str) -> Result<()> {
        let entry = self.entry(release);
        fs::remove_dir_all(&entry).with_context(|| format!("removing {}", entry.display()))
    }

    /// Keeps a kernel.
    pub(crate) fn store(&self, release: &str, image: &[u8], modules: &Modules) -> Result<()> {
        let work = self.workspace()?;
        let new = work.path().join("entry");
        let mut manifest = String::new();
        let mut write = |path: &str, data: &[u8]| {
            manifest.push_str(&format!("{} {path}\n", checksum(data)));
            let file = new.join(path);
            write_whole(&file, data).with_context(|| format!("writing {}", file.display()))
        };
        write("image", image)?;
        for module in modules.values() {
            write(&format!("modules/{}", module.path), &module.data)?;
        }
        let file = new.join("manifest");
        write_whole(&file, manifest.as_bytes()).with_context(|| format!("writing {}", file.display()))?;
        let entry = self.entry(release);
        fs::rename(&new, &entry).with_context(|| format!("renaming to {}", entry.display()))
    }

    fn entry(&self, release: &str) -> PathBuf {
        self.root.join("kernels").join(release)
    }
}

/// Where the cache is.
pub(crate) fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("LVS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("lvs")))
        .or_else(|| Some(set("HOME")?.join(".cache/lvs")))
        .ok_or_else(|| anyhow!("no place for the cache: set LVS_CACHE to a folder"))?;
    std::path::absolute(&folder).with_context(|| folder.display().to_string())
}

/// Where unpacked packages for an architecture are; another list of packages has another folder.
pub(crate) fn tools(arch: &Arch, packages: &[&str]) -> Result<PathBuf> {
    let name = format!("{}-{}", arch.name, checksum(packages.join(" ").as_bytes()));
    Ok(folder()?.join("tools").join(name))
}

/// Writes a file whose data is on the disk before the entry it belongs to gets its name.
fn write_whole(path: &Path, data: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, data)
}

/// Length and CRC-32: against truncated and damaged files, not against an attacker.
fn checksum(data: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    format!("{}-{:08x}", data.len(), crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_tells_length_and_content() {
        assert_eq!(checksum(b""), "0-00000000");
        assert_eq!(checksum(b"123456789"), "9-cbf43926");
    }
}
