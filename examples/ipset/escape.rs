//! Text inside of XML and JSON.

use std::fmt;

/// Text inside of XML. A character that XML 1.0 cannot hold is replaced by U+FFFD.
pub(crate) struct Xml<'a>(pub(crate) &'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // A parser would make blanks or line feeds of them.
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(c))?,
                '\0'..'\x20' | '\u{fffe}' | '\u{ffff}' => fmt::Write::write_char(f, char::REPLACEMENT_CHARACTER)?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

/// Text inside of a string of JSON.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

/// A string of JSON.
pub(crate) struct Json<'a>(pub(crate) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_what_it_stands_in() {
        assert_eq!(Xml("a<b>&\"c\"").to_string(), "a&lt;b&gt;&amp;&quot;c&quot;");
        assert_eq!(
            Xml("a\u{1}b\u{1f}\t\r\n\u{ffff}\u{7f}\u{fffd}").to_string(),
            "a\u{fffd}b\u{fffd}&#9;&#13;&#10;\u{fffd}\u{7f}\u{fffd}"
        );
        assert_eq!(Json("a\\b\"\nü").to_string(), "\"a\\\\b\\\"\\u000aü\"");
    }
}
