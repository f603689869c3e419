//! Commands from a file or typed in, one in a line.

use std::ffi::CStr;
use std::io::{self, BufRead, Read, Write};

use lvs::ipset::{AnyType, BatchError, Member, Set};

use crate::failure::{Failure, explain};
use crate::session::{Session, written};
use crate::syntax::{Command, Line, words};
use crate::values::text;

/// The longest line in bytes; what is longer is cut into lines.
const MAX_LINE: u64 = 1023;
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
}

/// Lines of input, counted.
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<(usize, &[u8])>> {
        self.line.clear();
        if self.input.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)? == 0 {
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
                waiting.members.push(typed.member);
                waiting.lines.push(number);
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
