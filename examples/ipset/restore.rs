//! Commands from a file or typed in, one in a line.

use std::ffi::CStr;
use std::io::{self, BufRead, Read, Write};

use lvs::ipset::{AnyType, BatchError, Member, Set};

use crate::failure::{Failure, explain};
use crate::session::{Session, written};
use crate::syntax::{Command, Line, words};
use crate::values::text;

/// The longest line in bytes; what is longer is cut into lines.
const MAX_LINE: u16 = 1023;
/// How many entries are kept before they are sent.
const MANY: usize = 1024;

/// Entries of one set that wait to be added or deleted together.
#[derive(Default)]
struct Waiting {
    /// The command, its set, and whether `-exist` holds; none if no entry waits.
    change: Option<(Command, Set<AnyType>, bool)>,
    members: Vec<Member<AnyType>>,
    /// The line of each.
    lines: Vec<usize>,
    /// The last line up to its entry. Empty if a line that starts so has to be read as a whole.
    start: Vec<u8>,
}

impl Waiting {
    /// The command and the set of a line that starts as the last one, and that start.
    fn repeated(&self) -> Option<(Command, Set<AnyType>, &[u8])> {
        let (command, set, _) = self.change.filter(|_| self.members.len() < MANY)?;
        (!self.start.is_empty()).then_some((command, set, &self.start))
    }

    fn push(&mut self, member: Member<AnyType>, line: usize) {
        self.members.push(member);
        self.lines.push(line);
    }
}

/// A line up to its entry, if the line is a command, the name of a set, an entry and nothing else.
fn start<'a>(line: &'a str, name: &str, entry: &str) -> Option<&'a str> {
    let start = line.strip_suffix('\n')?.strip_suffix(entry)?;
    let command = start.strip_suffix(' ')?.strip_suffix(name)?.strip_suffix(' ')?;
    let is_plain = start.is_ascii() && command.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_plain.then_some(start)
}

/// Lines of input, counted.
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: usize,
    /// Whether the end of the input was read. A terminal would be read again.
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, ended: false }
    }

    /// Takes the entry of the next line and its number, if the line is `start` and one word without quotes or options. For the
    /// bar of `ipset-rs restore`, as nearly every line is such a one.
    fn entry_after(&mut self, start: &[u8]) -> Option<(usize, &str)> {
        // `next` reports an error when it reads again.
        let buffered = self.input.fill_buf().ok()?;
        self.ended = buffered.is_empty();
        let rest = buffered.get(..MAX_LINE.into()).unwrap_or(buffered).strip_prefix(start)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_graphic() || *byte == b'"')?;
        let (entry, behind) = rest.split_at_checked(end)?;
        if matches!(entry, [] | [b'-', ..]) || !behind.starts_with(b"\n") {
            return None;
        }
        self.line.clear();
        self.line.extend_from_slice(entry);
        self.input.consume(start.len() + end + 1);
        self.number += 1;
        Some((self.number, std::str::from_utf8(&self.line).ok()?))
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<(usize, &[u8])>> {
        self.line.clear();
        if self.ended || self.input.by_ref().take(MAX_LINE.into()).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        // As text of C, it ends at a zero byte.
        let line = CStr::from_bytes_until_nul(&self.line).map_or(&*self.line, CStr::to_bytes);
        Ok(Some((self.number, line)))
    }
}

/// Whether there is no command in a line.
fn is_empty(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\r', '\n']);
    line.is_empty() || line.starts_with('#')
}

/// Outcome of a restore, and the number of the line where it ended.
type Outcome = Result<(), (Failure, Option<usize>)>;

/// Output of many commands. A failed write does not keep the commands that follow from being carried out; it is reported
/// when they are.
struct Output<'a, W> {
    out: &'a mut W,
    lost: Option<Failure>,
}

impl<'a, W: Write> Output<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self { out, lost: None }
    }

    /// Completes an input whose commands ended so.
    fn end(mut self, done: Outcome) -> Outcome {
        // Recorded, if it fails.
        let _ = self.flush();
        done.and(self.lost.map_or(Ok(()), |failure| Err((failure, None))))
    }
}

impl<W: Write> Write for Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lost.is_none() {
            self.lost = self.out.write_all(bytes).err().map(|error| written(&error));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lost.is_none() {
            self.lost = self.out.flush().err().map(|error| written(&error));
        }
        Ok(())
    }
}

/// Carries out all lines of an input.
pub(crate) fn restore(session: &mut Session, input: impl BufRead, out: &mut impl Write) -> Outcome {
    let mut out = Output::new(out);
    let done = restore_lines(session, input, &mut out);
    out.end(done)
}

fn restore_lines(session: &mut Session, input: impl BufRead, out: &mut impl Write) -> Outcome {
    let mut waiting = Waiting::default();
    let done = each_line(session, &mut Lines::new(input), out, &mut waiting);
    // These lines stand before the one that ended it, so an error among them is the first.
    send(session, &mut waiting).and(done)
}

fn each_line(
    session: &mut Session,
    lines: &mut Lines<impl BufRead>,
    out: &mut impl Write,
    waiting: &mut Waiting,
) -> Outcome {
    loop {
        if let Some((command, set, start)) = waiting.repeated() {
            if let Some((number, text)) = lines.entry_after(start) {
                let typed = session.reader().entry(command, &set, text, &[]);
                waiting.push(typed.map_err(|failure| (failure, Some(number)))?.member, number);
                continue;
            }
        }
        let read = lines.next().map_err(|error| (Failure::refused(format!("cannot read: {error}")), None))?;
        let Some((number, line)) = read else { return Ok(()) };
        let here = |failure| (failure, Some(number));
        let line = text(line);
        if is_empty(&line) {
            continue;
        }
        // Nothing may stand behind it, and the line must end.
        if matches!(line.trim_start_matches([' ', '\t', '\r']), "COMMIT\n" | "COMMIT\r\n") {
            send(session, waiting)?;
            continue;
        }
        match words(&line).and_then(|words| session.parse(words)).map_err(here)? {
            Line::Interactive => {
                send(session, waiting)?;
                return interactive_lines(session, lines, out).map_err(|error| (written(&error), None));
            }
            Line::Command(command @ (Command::Restore | Command::Help | Command::Version), _) => {
                let text = format!("Command `{}' is invalid in restore mode.", command.name());
                return Err(here(Failure::usage(text)));
            }
            Line::Command(Command::Quit, _) => return Ok(()),
            Line::Command(command @ (Command::Add | Command::Del), words) => {
                let (set, typed) = session.entry(command, &words).map_err(here)?;
                let change = Some((command, set, session.exist()));
                if waiting.change != change || waiting.members.len() == MANY {
                    send(session, waiting)?;
                    waiting.change = change;
                }
                waiting.start.clear();
                if let [name, entry] = &words[..] {
                    waiting.start.extend(start(&line, name, entry).unwrap_or_default().bytes());
                }
                waiting.push(typed.member, number);
            }
            Line::Command(command, words) => {
                let prepared = session.prepare(command, &words).map_err(here)?;
                send(session, waiting)?;
                session.finish(prepared, out).map_err(here)?;
            }
        }
    }
}

/// Sends what waits.
fn send(session: &mut Session, waiting: &mut Waiting) -> Outcome {
    let Some((command, set, exist)) = waiting.change.take() else { return Ok(()) };
    let (members, lines) = (waiting.members.drain(..), &mut waiting.lines);
    let ipset = session.ipset.get().map_err(|failure| (failure, lines.first().copied()))?;
    let done = match (command, exist) {
        (Command::Add, false) => ipset.add_all(&set, members),
        (Command::Add, true) => ipset.put_all(&set, members),
        (_, false) => ipset.delete_all(&set, members),
        (_, true) => ipset.remove_all(&set, members),
    };
    let failed = |error: BatchError| {
        let line = lines.get(error.done).copied();
        (explain(command.name(), Some(set.kind()), &error.into()), line)
    };
    let sent = done.map(drop).map_err(failed);
    lines.clear();
    sent
}

/// Carries out lines as they are typed in; errors do not end it.
pub(crate) fn interactive(session: &mut Session, input: impl BufRead, out: &mut impl Write) -> Outcome {
    let mut out = Output::new(out);
    let done = interactive_lines(session, &mut Lines::new(input), &mut out);
    out.end(done.map_err(|error| (written(&error), None)))
}

fn interactive_lines(session: &mut Session, lines: &mut Lines<impl BufRead>, out: &mut impl Write) -> io::Result<()> {
    loop {
        write!(out, "ipset> ")?;
        out.flush()?;
        let Some((_, line)) = lines.next()? else { return Ok(()) };
        let line = text(line);
        if is_empty(&line) {
            // Asked once for the line, and once more for no command in it.
            write!(out, "ipset> ")?;
            continue;
        }
        let unknown = |text: &str| text.starts_with("No command specified");
        let done = match words(&line) {
            Err(failure) => Err(failure),
            Ok(words) => match session.parse(words) {
                Err(Failure::Usage(text)) if unknown(&text) => {
                    writeln!(out, "No command specified")?;
                    Ok(())
                }
                Err(failure) => Err(failure),
                Ok(Line::Interactive) => {
                    writeln!(out, "No command specified")?;
                    Ok(())
                }
                Ok(Line::Command(Command::Quit, _)) => return Ok(()),
                Ok(Line::Command(Command::Restore, _)) => {
                    writeln!(out, "Restore command is not supported in interactive mode")?;
                    Ok(())
                }
                Ok(Line::Command(command, words)) => session.perform(command, &words, out),
            },
        };
        if let Err(failure) = done {
            out.flush()?;
            // Also where no messages are wanted.
            failure.tell(None);
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use crate::fuzz;

    const SETS: &str =
        "create one hash:ip timeout 9\ncreate two hash:net timeout 9\ncreate o\\ne hash:ip\ncreate é hash:ip\n";

    /// Starts of ordinary lines, and of others that look like them.
    const STARTS: [&[&str]; 2] = [
        &["add one ", "a one ", "del one ", "add two ", "add o\\ne "],
        &[
            "-A one ",
            "-exist add one ",
            "\"add\" one ",
            "add\tone ",
            "add  one ",
            "add \"one\" ",
            "add o\"ne\" ",
            "add é ",
            "add one -! ",
            "add -q one ",
            "add one",
            "# add one ",
        ],
    ];

    const ENTRIES: [&[&str]; 2] = [
        &["10.0.0.1", "10.0.0.2", "10.4", "10.0.0.8/29", "10.0.0.16-10.0.0.18"],
        &[
            "-!",
            "-q",
            "-",
            "",
            "\"10.0.0.5\"",
            "\"10.0.0.5",
            "10.\"0.0.6\"",
            "10.0.0.6 ",
            "10.0.0.7\r",
            "10.0.0.9\0x",
            "10.0.0.10 timeout 5",
            "10.0.0.11 -exist",
            "é",
            "-o xml",
            "x",
            "10.0.0.1,tcp:80",
        ],
    ];

    const ENDS: [&[&str]; 2] = [
        &["\n"],
        &[
            "\r\n",
            "\nCOMMIT\n",
            "\n\n# -\n",
            "\nflush one\n",
            "\nrename one three\nrename two one\n",
            "\ndestroy one\ncreate one hash:net\n",
            "",
            " ",
        ],
    ];

    fn one_of([ordinary, others]: [&'static [&'static str]; 2]) -> impl Strategy<Value = &'static str> {
        prop_oneof![3 => select(ordinary), 1 => select(others)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn lines_that_repeat_a_start_are_read_as_others(
            exist in select(&["", "-exist "][..]),
            starts in [one_of(STARTS), one_of(STARTS)],
            lines in prop::collection::vec((prop::bool::weighted(0.3), one_of(ENTRIES), one_of(ENDS)), 1..8),
        ) {
            let mut input = format!("{exist}{SETS}");
            for (is_second, entry, end) in lines {
                let [first, second] = starts;
                input.extend([if is_second { second } else { first }, entry, end]);
            }
            fuzz::run(input.as_bytes());
        }
    }
}
