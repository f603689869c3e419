//! Fuzzed code: lines, on a kernel that accepts everything, and on an in-memory kernel.
//!
//! The sets that the in-memory kernel saves restore as the same. Lines that are buffered as a whole and lines that arrive
//! byte by byte make the same sets.

use std::io::{self, BufReader};

use lvs::Family;
use lvs::ipset::{Kind, SetName};
use lvs::testing::{Kernel, Reply};

use crate::names::Names;
use crate::restore::{self, Lines};
use crate::session::{Prepared, Session};
use crate::syntax::{Command, Mode, Settings, parse, words};
use crate::values;

/// An input is the text of a restore.
pub(crate) fn run(data: &[u8]) {
    if names_files(data) {
        return;
    }
    let _ = restore::restore(&mut session(&Kernel::script(agreeable)), data, &mut io::sink());
    let (mut first, mut by_bytes) = (session(&Kernel::new()), session(&Kernel::new()));
    let done = restore::restore(&mut first, data, &mut io::sink());
    let done_by_bytes = restore::restore(&mut by_bytes, BufReader::with_capacity(1, data), &mut io::sink());
    assert_eq!(format!("{done:?}"), format!("{done_by_bytes:?}"));
    assert_eq!(String::from_utf8_lossy(&save(&mut first)), String::from_utf8_lossy(&save(&mut by_bytes)));
    // A save has no quotes around names, as that of `ipset`.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':');
    let is_odd = |name: &SetName| !name.as_bytes().iter().all(is_plain);
    if first.ipset.get().is_ok_and(|ipset| ipset.names().is_ok_and(|names| names.iter().any(is_odd))) {
        return;
    }
    let saved = save(&mut first);
    let mut second = session(&Kernel::new());
    let restored = restore::restore(&mut second, &saved[..], &mut io::sink());
    assert!(restored.is_ok(), "{restored:?}: {}", String::from_utf8_lossy(&saved));
    assert_eq!(String::from_utf8_lossy(&save(&mut second)), String::from_utf8_lossy(&saved));
}

/// Whether a line says which file to write to. Those are not run.
fn names_files(data: &[u8]) -> bool {
    let mut lines = Lines::new(data);
    let mut settings = Settings::default();
    while let Ok(Some((_, line))) = lines.next() {
        let line = values::text(line);
        if let Ok(words) = words(&line) {
            let _ = parse(words, &mut settings);
        }
    }
    settings.file.is_some()
}

fn session(kernel: &Kernel) -> Session {
    let settings = Settings { quiet: true, ..Settings::default() };
    Session::over(kernel.ipset(), Names::of("http 80/tcp www\n", "vrrp 112 VRRP\nsctp 132 SCTP\n"), settings)
}

fn save(session: &mut Session) -> Vec<u8> {
    session.settings = Settings { mode: Some(Mode::Save), ..Settings::default() };
    let mut out = Vec::new();
    let saved = session.finish(Prepared::List(Command::Save, None), &mut out);
    assert!(saved.is_ok(), "{saved:?}");
    out
}

/// Has every type, and every set: the first letters of its name say its type and family. Every change is made.
fn agreeable(request: &[u8]) -> Vec<Reply> {
    const TYPE: u8 = 13;
    const HEADER: u8 = 12;
    let mut replies = Vec::new();
    let command = request.get(4).copied().unwrap_or_default();
    let name = request.get(32..).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    let kind = usize::from(name.first().copied().unwrap_or_default());
    let family = if name.get(1).is_some_and(|byte| byte % 2 == 1) { Family::Inet6 } else { Family::Inet };
    let kind = Kind::ALL.get(kind % Kind::ALL.len()).copied().unwrap_or(Kind::HashIp);
    let family = if kind.has_family() { family } else { Family::Inet };
    let body = match command {
        TYPE => Some([attribute(4, &[9]), attribute(10, &[0])].concat()),
        HEADER => {
            let name = attribute(2, &[name, b"\0"].concat());
            let kind = attribute(3, &[kind.name().as_bytes(), b"\0"].concat());
            let family = attribute(5, &[if family == Family::Inet { 2 } else { 10 }]);
            Some([name, kind, family].concat())
        }
        _ => None,
    };
    let sequence = request.get(8..12).unwrap_or_default();
    if let Some(body) = body {
        let body = [&[2, 0, 0, 0][..], &attribute(1, &[7]), &body].concat();
        replies.push(message([command, 6], sequence, &body));
    }
    replies.push(message([2, 0], sequence, &[&[0; 4], request.get(..16).unwrap_or_default()].concat()));
    replies.into_iter().map(|bytes| Reply::Datagram(0, bytes)).collect()
}

fn message(kind: [u8; 2], sequence: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    [&length.to_ne_bytes()[..], &kind, &[0; 2], sequence, &[0; 4], body].concat()
}

fn attribute(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + payload.len()).unwrap_or_default();
    let mut bytes = [&length.to_ne_bytes()[..], &[number, 0], payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));

#[cfg(test)]
#[path = "../../tests/corpus/files.rs"]
mod files;

#[cfg(test)]
#[test]
fn the_kept_inputs_pass() {
    files::each("ipset_rs", run);
}
