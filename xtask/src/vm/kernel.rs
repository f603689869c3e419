//! A kernel that can be booted, and the unpacking of compressed ones.
use super::arch::{Arch, X86_64};
use super::modules::{self, Modules, Signatures};
use anyhow::{Context, Result, ensure};
use object::elf::{FileHeader64, NoteType};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};
use ruzstd::decoding::StreamingDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A kernel image for QEMU, and its modules.
pub(crate) struct Kernel {
    pub(crate) arch: &'static Arch,
    /// Its full version, such as `6.1.0-56-cloud-amd64`.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    pub(crate) modules: Modules,
}

impl Kernel {
    /// A kernel of the user's own for x86-64: a bzImage or a vmlinux, and its `/lib/modules/RELEASE` folder.
    pub(crate) fn from_files(image: &Path, modules: &Path) -> Result<Self> {
        ensure!(image.is_file(), "{}: no such file", image.display());
        ensure!(modules.is_dir(), "{}: no such folder", modules.display());
        let modules = modules::pick(modules, Signatures::Keep)?;
        let data = fs::read(image).with_context(|| image.display().to_string())?;
        let release = release_of_image(&data).or_else(|| release_of_elf(&data));
        let release = release.with_context(|| format!("{}: neither a bzImage nor a vmlinux", image.display()))?;
        Ok(Self { arch: &X86_64, release, image: image.to_owned(), modules })
    }
}

/// The release in the header of a bzImage.
fn release_of_image(image: &[u8]) -> Option<String> {
    image.get(MAGIC..)?.strip_prefix(b"HdrS")?;
    let offset = usize::from(u16::from_le_bytes(*image.get(VERSION..)?.first_chunk()?));
    let text = image.get(offset.checked_add(SECTOR)?..)?;
    (offset != 0).then(|| first_word(text)).flatten()
}

/// Returns the release in the banner of an unpacked kernel.
fn release_of_elf(elf: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let constants = object::File::parse(elf).ok()?.section_by_name(".rodata")?.data().ok()?;
    let at = constants.windows(BANNER.len()).position(|window| window == BANNER)?;
    first_word(constants.get(at + BANNER.len()..)?)
}

fn first_word(text: &[u8]) -> Option<String> {
    let word = text.split(|byte| matches!(byte, b' ' | 0)).next()?;
    Some(String::from_utf8_lossy(word).into_owned())
}

const SECTOR: usize = 512;
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x20e;
const PAYLOAD: usize = 0x248;

/// The ELF kernel inside a bzImage, if QEMU can boot that: it spares an emulated processor the decompression.
pub(crate) fn unpack(image: &[u8]) -> Option<Vec<u8>> {
    let elf = decompress(payload(image)?)?;
    has_entry_for_qemu(&elf).unwrap_or(false).then_some(elf)
}

/// The compressed kernel inside a bzImage.
fn payload(image: &[u8]) -> Option<&[u8]> {
    image.get(MAGIC..)?.strip_prefix(b"HdrS")?;
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let code = (if sectors == 0 { 4 } else { sectors }).checked_add(1)?.checked_mul(SECTOR)?;
    let number = |at: usize| usize::try_from(u32::from_le_bytes(*image.get(at..)?.first_chunk()?)).ok();
    let start = code.checked_add(number(PAYLOAD)?)?;
    image.get(start..start.checked_add(number(PAYLOAD + 4)?)?)
}

/// Decompresses a payload whose last four bytes are the size of what comes out.
fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    let (rest, size) = payload.split_last_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let mut out = Vec::new();
    match payload {
        // The x86 filter of xz is not supported: such a kernel is booted compressed.
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(payload).read_to_end(&mut out).ok()?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => StreamingDecoder::new(rest).ok()?.read_to_end(&mut out).ok()?,
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => legacy_lz4(blocks, size, &mut out)?,
        _ => return None,
    };
    (out.len() == size).then_some(out)
}

/// The old frame format of LZ4, which the kernel uses: blocks of 8 MiB, each preceded by its compressed length.
fn legacy_lz4(mut blocks: &[u8], size: usize, out: &mut Vec<u8>) -> Option<usize> {
    const BLOCK: usize = 8 << 20;
    while out.len() < size {
        let (length, rest) = blocks.split_first_chunk::<4>()?;
        let (block, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        out.extend(lz4_flex::block::decompress(block, BLOCK.min(size - out.len())).ok()?);
        blocks = rest;
    }
    Some(out.len())
}

/// Whether an ELF kernel has the note that tells QEMU where to start it (PVH).
fn has_entry_for_qemu(elf: &[u8]) -> object::Result<bool> {
    const PHYS32_ENTRY: NoteType = NoteType(18);
    let header = FileHeader64::<Endianness>::parse(elf)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, elf)? {
        let Some(mut notes) = segment.notes(endian, elf)? else {
            continue;
        };
        while let Some(note) = notes.next()? {
            if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A bzImage with one sector of setup and this payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30a].copy_from_slice(b"6.1.0-56 (");
        image[PAYLOAD..PAYLOAD + 4].copy_from_slice(&16_u32.to_le_bytes());
        image[PAYLOAD + 4..PAYLOAD + 8].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(&[0xaa; 16]);
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn the_payload_and_the_release_are_found() {
        let image = image(b"payload");
        assert_eq!(payload(&image), Some(b"payload".as_slice()));
        assert_eq!(release_of_image(&image).as_deref(), Some("6.1.0-56"));
    }

    #[test]
    fn a_cut_image_is_no_image() {
        let image = image(b"payload");
        for length in 0..image.len() {
            assert_eq!(payload(&image[..length]), None, "{length}");
        }
        assert_eq!(payload(&[0; 4096]), None);
    }

    #[test]
    fn gzip_payloads_are_decompressed() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[7; 5000]).unwrap();
        assert_eq!(decompress(&encoder.finish().unwrap()), Some(vec![7; 5000]));
    }

    #[test]
    fn lz4_payloads_are_decompressed_block_by_block() {
        // Two blocks of literals only: token, then the bytes.
        let blocks = [6, 0, 0, 0, 0x50, b'h', b'e', b'l', b'l', b'o', 2, 0, 0, 0, 0x10, b'!'];
        let mut payload = vec![0x02, 0x21, 0x4c, 0x18];
        payload.extend_from_slice(&blocks);
        payload.extend_from_slice(&6_u32.to_le_bytes());
        assert_eq!(decompress(&payload).as_deref(), Some(b"hello!".as_slice()));
        payload.truncate(12);
        assert_eq!(decompress(&payload), None);
    }

    #[test]
    fn other_files_than_elf_kernels_are_not_unpacked() {
        assert_eq!(unpack(&image(b"\x1f\x8bjunk")), None);
        assert!(has_entry_for_qemu(b"no ELF").is_err());
    }
}
