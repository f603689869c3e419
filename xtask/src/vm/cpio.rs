//! Writes the archive format of an initramfs ("newc").
use std::collections::HashSet;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive in the making. Folders come into being with what is put into them; of two entries by one name the first counts.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    names: HashSet<String>,
}

impl Archive {
    pub(crate) fn folder(&mut self, path: &str) {
        self.folder_with_mode(path, 0o755);
    }

    pub(crate) fn folder_with_mode(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entry(path, FOLDER | mode, (0, 0), &[]);
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, (0, 0), data);
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes());
    }

    pub(crate) fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE | mode, (major, minor), &[]);
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.names.contains(path.trim_matches('/'))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            if let Some(parent) = path.get(..end) {
                self.entry(parent, FOLDER | 0o755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), data: &[u8]) {
        let name = path.trim_matches('/');
        if !self.names.insert(name.to_owned()) {
            return;
        }
        let inode = self.names.len();
        let header = format!(
            "070701{inode:08X}{mode:08X}{owner:08X}{owner:08X}{links:08X}{time:08X}{size:08X}{zero:08X}{zero:08X}{major:08X}{minor:08X}{length:08X}{zero:08X}",
            owner = 0,
            links = 1,
            time = 0,
            zero = 0,
            size = data.len(),
            length = name.len() + 1,
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and content of each entry, read back.
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let field = |index: usize| {
                let start = at + 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap() as usize
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, size, length) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[at + 110..at + 110 + length - 1].to_vec()).unwrap();
            let data = (at + 110 + length).next_multiple_of(4);
            entries.push((name, u32::try_from(mode).unwrap(), bytes[data..data + size].to_vec()));
            at = (data + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn files_read_back_with_their_folders_first() {
        let mut archive = Archive::default();
        archive.file("/etc/hosts", 0o644, b"abc");
        archive.link("bin", "usr/bin");
        archive.folder_with_mode("etc", 0o700);
        let expected = [
            ("etc", FOLDER | 0o755, b"".as_slice()),
            ("etc/hosts", FILE | 0o644, b"abc"),
            ("bin", LINK | 0o777, b"usr/bin"),
            ("TRAILER!!!", 0, b""),
        ];
        let expected: Vec<_> = expected.map(|(name, mode, data)| (name.to_owned(), mode, data.to_vec())).into();
        assert_eq!(read(&archive.finish()), expected);
    }
}
