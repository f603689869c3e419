//! Bytes that are mostly text: words of the command line and of the input, which errors show as they were typed.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write as _};

/// Stand for the bytes that are no text. Nobody else uses the last characters there are: they have no meaning.
const FIRST: u32 = 0x10_ff00;

/// Text that [`bytes`] turns into the same bytes again.
pub(crate) fn read(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        // The first byte of each character that stands for another byte.
        Ok(text) if text.is_ascii() || !bytes.contains(&0xf4) => return text.into(),
        _ => {}
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match u32::from(c) {
                // It stands for another byte.
                FIRST.. => text.extend(c.encode_utf8(&mut [0; 4]).bytes().filter_map(stand_in)),
                _ => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
    }
    text.into()
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte))
}

/// The bytes that [`read`] made the text of.
pub(crate) fn bytes(text: &str) -> Cow<'_, [u8]> {
    // The first byte of each character that stands for another byte.
    if !text.as_bytes().contains(&0xf4) {
        return text.as_bytes().into();
    }
    let mut bytes = Vec::new();
    // Writing into memory cannot fail.
    let _ = Bytes(&mut bytes).write_str(text);
    bytes.into()
}

/// Writes text as the bytes that it was read from.
struct Bytes<W>(W);

impl<W: io::Write> fmt::Write for Bytes<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| byte(*char).is_some()) {
            let (before, after) = rest.split_at_checked(at).ok_or(fmt::Error)?;
            let byte = byte(char).ok_or(fmt::Error)?;
            self.0.write_all(before.as_bytes()).and_then(|()| self.0.write_all(&[byte])).map_err(|_| fmt::Error)?;
            rest = after.strip_prefix(char).unwrap_or_default();
        }
        self.0.write_all(rest.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The byte that a character stands for.
fn byte(char: char) -> Option<u8> {
    u8::try_from(u32::from(char).wrapping_sub(FIRST)).ok()
}

/// Writes a line to standard error, however long, in constant memory.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    // Nobody is left to be told that nobody reads this.
    let mut errors = BufWriter::new(io::stderr().lock());
    let _ = Bytes(&mut errors).write_fmt(format_args!("{text}\n"));
    let _ = errors.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_out_as_they_went_in() {
        for bytes in
            [&b"plain"[..], b"", "\u{e9}\u{20ac}".as_bytes(), b"\xff", b"\xf4\x8f\xbf\xa9", b"a\xc3\xffb\x80\xf4\x90"]
        {
            assert_eq!(*super::bytes(&read(bytes)), *bytes, "{bytes:?}");
        }
        assert_eq!(read("\u{e9}".as_bytes()), "\u{e9}");
    }
}
