//! Picks the modules a guest may need, with what they depend on, and makes them quick to load.
use anyhow::{Context, Result, anyhow, bail};
use object::{Object, ObjectSection};
use ruzstd::decoding::StreamingDecoder;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders and files of the module tree that are taken along, by how their path starts; dependencies come with them.
const WANTED: [&str; 27] = [
    "arch/s390/crypto/crc32",
    "arch/x86/crypto/crc32c",
    "crypto/crc32c",
    "drivers/char/virtio_console",
    "drivers/net/bonding/",
    "drivers/net/dummy",
    "drivers/net/geneve",
    "drivers/net/ifb",
    "drivers/net/ipvlan/",
    "drivers/net/macvlan",
    "drivers/net/nlmon",
    "drivers/net/tun.",
    "drivers/net/veth",
    "drivers/net/vrf",
    "drivers/net/vxlan",
    "drivers/virtio/",
    "net/8021q/",
    "net/bridge/",
    "net/ipv4/",
    "net/ipv6/",
    "net/netfilter/",
    "net/netlink/",
    "net/packet/",
    "net/sched/",
    "net/sctp/",
    "net/unix/",
    "net/xfrm/",
];

const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_HEADER: usize = 12;

/// A module as the guest gets it: not compressed.
pub(crate) struct Module {
    /// Where it stands in the module tree, such as `kernel/net/netfilter/xt_nat.ko`.
    pub(crate) path: String,
    pub(crate) data: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Signatures {
    /// For a kernel that may refuse unsigned modules.
    Keep,
    /// Checking the signatures takes seconds on an emulated processor, and stock Debian kernels do not insist on them.
    Strip,
}

/// The modules by name.
pub(crate) type Modules = BTreeMap<String, Module>;

/// Reads the wanted modules of a module tree and all that they depend on.
pub(crate) fn pick(tree: &Path, signatures: Signatures) -> Result<Modules> {
    let files = list(tree).with_context(|| format!("reading the modules in {}", tree.display()))?;
    let mut todo: Vec<String> =
        files.iter().filter(|(_, path)| is_wanted(path)).map(|(name, _)| name.clone()).collect();
    let mut picked = Modules::new();
    while let Some(name) = todo.pop() {
        let Some(path) = files.get(&name) else {
            continue;
        };
        if picked.contains_key(&name) {
            continue;
        }
        let module = read(tree, path, signatures).with_context(|| format!("reading the module {path}"))?;
        todo.extend(module.depends.iter().cloned());
        picked.insert(name, module);
    }
    Ok(picked)
}

/// The text of `modules.dep`: each file with the files it needs, nearest first.
pub(crate) fn dependency_list(modules: &Modules) -> String {
    let mut text = String::new();
    for (name, module) in modules {
        let mut order = Vec::new();
        visit(modules, name, &mut HashSet::new(), &mut order);
        let needed = order.iter().rev().skip(1).copied().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("{}: {needed}\n", module.path));
    }
    text
}

/// The text of `modules.alias`: pattern and module.
pub(crate) fn alias_list(modules: &Modules) -> String {
    let lines = modules
        .iter()
        .flat_map(|(name, module)| module.aliases.iter().map(move |alias| format!("alias {alias} {name}\n")));
    lines.collect()
}

/// Appends the files of a module and of all it needs, in the order in which they can be loaded.
fn visit<'a>(modules: &'a Modules, name: &'a str, seen: &mut HashSet<&'a str>, order: &mut Vec<&'a str>) {
    if let Some(module) = modules.get(name).filter(|_| seen.insert(name)) {
        for needed in &module.depends {
            visit(modules, needed, seen, order);
        }
        order.push(&module.path);
    }
}

/// All modules of a tree: name and path within the tree.
fn list(tree: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(tree.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(path);
            } else if let Some((name, path)) = path.to_str().and_then(|path| Some((module_name(path)?, path))) {
                found.insert(name, path.to_owned());
            }
        }
    }
    Ok(found)
}

fn module_name(path: &str) -> Option<String> {
    let base = path.rsplit('/').next()?;
    let (name, compression) = base.split_once(".ko")?;
    ["", ".gz", ".xz", ".zst"].contains(&compression).then(|| name.replace('-', "_"))
}

fn is_wanted(path: &str) -> bool {
    let path = path.strip_prefix("kernel/").unwrap_or(path);
    WANTED.iter().any(|start| path.starts_with(start))
}

fn read(tree: &Path, path: &str, signatures: Signatures) -> Result<Module> {
    let stored = fs::read(tree.join(path))?;
    let (plain_path, mut data) = decompress(path, stored)?;
    if signatures == Signatures::Strip {
        let length = without_signature(&data).len();
        data.truncate(length);
    }
    let mut module = Module { path: plain_path, depends: Vec::new(), aliases: Vec::new(), data };
    for (key, value) in modinfo(&module.data)? {
        match key.as_str() {
            "depends" => module.depends.extend(names(&value.replace(',', " "))),
            // A soft dependency is a wish: what is not in the tree is left out.
            "softdep" => {
                let before = value.split("post:").next().unwrap_or_default();
                module.depends.extend(before.strip_prefix("pre:").map(names).unwrap_or_default());
            }
            "alias" => module.aliases.push(value),
            _ => {}
        }
    }
    Ok(module)
}

fn names(list: &str) -> Vec<String> {
    list.split_whitespace().map(|name| name.replace('-', "_")).collect()
}

/// The content of a module file, and its path without the suffix of its compression.
fn decompress(path: &str, stored: Vec<u8>) -> Result<(String, Vec<u8>)> {
    let mut data = Vec::new();
    let Some((start, suffix)) = path.rsplit_once('.').filter(|(_, suffix)| *suffix != "ko") else {
        return Ok((path.to_owned(), stored));
    };
    match suffix {
        "gz" => flate2::read::MultiGzDecoder::new(stored.as_slice()).read_to_end(&mut data)?,
        "zst" => StreamingDecoder::new(stored.as_slice())?.read_to_end(&mut data)?,
        "xz" => {
            let result = lzma_rs::xz_decompress(&mut stored.as_slice(), &mut data);
            result.map_err(|error| anyhow!("xz: {error:?}"))?;
            data.len()
        }
        _ => bail!("no way to decompress it"),
    };
    Ok((start.to_owned(), data))
}

/// Returns a module without the signature after its ELF file: signature, 12 bytes that end in its length, mark.
fn without_signature(data: &[u8]) -> &[u8] {
    let stripped = data.strip_suffix(SIGNATURE_MARK).and_then(|rest| {
        let (rest, header) = rest.split_at_checked(rest.len().checked_sub(SIGNATURE_HEADER)?)?;
        let length = u32::from_be_bytes(*header.last_chunk()?);
        rest.get(..rest.len().checked_sub(usize::try_from(length).ok()?)?)
    });
    stripped.unwrap_or(data)
}

/// Returns the `key=value` texts of a module.
fn modinfo(data: &[u8]) -> Result<Vec<(String, String)>> {
    let file = object::File::parse(data)?;
    let section = file.section_by_name(".modinfo").context("it has no .modinfo section")?;
    Ok(parse_modinfo(section.data()?))
}

fn parse_modinfo(data: &[u8]) -> Vec<(String, String)> {
    let texts = data.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    texts.filter_map(|text| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str]) -> (String, Module) {
        let depends = depends.iter().map(|name| (*name).to_owned()).collect();
        let module = Module { path: path.to_owned(), data: Vec::new(), depends, aliases: vec![format!("for-{path}")] };
        (module_name(path).unwrap(), module)
    }

    #[test]
    fn dependencies_are_listed_nearest_first_and_once() {
        let modules =
            Modules::from([module("a.ko", &["b", "c"]), module("b.ko", &["c", "built_in"]), module("c.ko", &[])]);
        assert_eq!(dependency_list(&modules), "a.ko: b.ko c.ko\nb.ko: c.ko\nc.ko: \n");
        assert_eq!(alias_list(&modules), "alias for-a.ko a\nalias for-b.ko b\nalias for-c.ko c\n");
    }

    #[test]
    fn a_circle_of_dependencies_ends() {
        let modules = Modules::from([module("a.ko", &["b"]), module("b.ko", &["a"])]);
        assert_eq!(dependency_list(&modules), "a.ko: b.ko\nb.ko: a.ko\n");
    }

    #[test]
    fn module_names_have_no_folder_dash_or_suffix() {
        assert_eq!(module_name("kernel/net/xt-a_b.ko.xz").as_deref(), Some("xt_a_b"));
        assert_eq!(module_name("x.ko").as_deref(), Some("x"));
        assert_eq!(module_name("modules.dep"), None);
        assert_eq!(module_name("x.ko.orig"), None);
    }

    #[test]
    fn modinfo_is_a_list_of_keys_and_values() {
        let expected = [("depends", "a,b"), ("alias", "x=*")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse_modinfo(b"depends=a,b\0\0alias=x=*\0junk\0"), expected);
    }

    #[test]
    fn a_signature_is_cut_off_and_nothing_else() {
        let mut signed = b"ELF and more".to_vec();
        signed.extend_from_slice(b"12345");
        signed.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        signed.extend_from_slice(SIGNATURE_MARK);
        assert_eq!(without_signature(&signed), b"ELF and more");
        assert_eq!(without_signature(b"ELF"), b"ELF");
        assert_eq!(without_signature(SIGNATURE_MARK), SIGNATURE_MARK);
        let mut lying = signed;
        let at = lying.len() - SIGNATURE_MARK.len() - 1;
        lying[at] = 200;
        assert_eq!(without_signature(&lying), lying.as_slice());
    }

    #[test]
    fn gzip_modules_are_decompressed() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"content").unwrap();
        let (path, data) = decompress("a/b.ko.gz", encoder.finish().unwrap()).unwrap();
        assert_eq!((path.as_str(), data.as_slice()), ("a/b.ko", b"content".as_slice()));
        assert_eq!(decompress("a/b.ko", b"x".to_vec()).unwrap(), ("a/b.ko".to_owned(), b"x".to_vec()));
    }
}
