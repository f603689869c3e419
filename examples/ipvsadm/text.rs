//! Bytes that are mostly text: words of the command line and of the input, which errors show as they were typed.

use std::io::Write;

/// Stand for the bytes that are no text. Nobody else uses the last characters there are: they have no meaning.
const FIRST: u32 = 0x10_ff00;

/// Text that [`bytes`] turns into the same bytes again.
pub(crate) fn read(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(FIRST + u32::from(*byte))));
    }
    text
}

/// The bytes that [`read`] made the text of.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for char in text.chars() {
        match u8::try_from(u32::from(char).wrapping_sub(FIRST)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    // Nobody is left to be told that nobody reads this.
    let _ = std::io::stderr().write_all(&bytes(&format!("{text}\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_out_as_they_went_in() {
        for bytes in [&b"plain"[..], b"", "\u{e9}\u{20ac}".as_bytes(), b"\xff", b"a\xc3\xffb\x80\xf4\x90"] {
            assert_eq!(super::bytes(&read(bytes)), bytes, "{bytes:?}");
        }
        assert_eq!(read("\u{e9}".as_bytes()), "\u{e9}");
    }
}
