//! Restoring: command lines from standard input, one a line.
//!
//! Blanks, tabs and carriage returns separate words, and there is no quoting. The word `ipvsadm` is skipped wherever
//! it stands, as are empty lines and lines that begin with `#`.
//!
//! The whole input is checked before the first change, so it is kept until then: as it was read, once. After the first
//! mistake nothing is kept any longer.

use std::io::{self, BufRead, Write};

use lvs::ipvs::Change;

use crate::command::{Command, Mistake};
use crate::names::Names;
use crate::options::parse;
use crate::text::{self, complain};
use crate::{Session, kernel};

/// Number of changes that are sent, and whose failures are kept, at a time.
const CHANGES: usize = 1024;

/// Checks all of the input, and carries it out if nothing is wrong with it. Errors name their lines.
pub(crate) fn run(session: &mut Session<'_>, input: impl BufRead, out: &mut impl Write) -> io::Result<u8> {
    let kept = match check(input, session.names, session.program) {
        Ok(kept) => kept,
        Err(status) => return Ok(status),
    };
    let mut work = Work { status: 0, lines: Vec::new(), changes: Vec::new() };
    for (number, line) in (1..).zip(kept.split(|byte| *byte == b'\n')) {
        match read(line, session.names) {
            None => {}
            Some(Ok(Command::Change(change))) => {
                work.lines.push(number);
                work.changes.push(change);
                if work.changes.len() == CHANGES && work.apply(session).is_err() {
                    return Ok(work.status);
                }
            }
            Some(Ok(command)) => {
                // A line that is no change must see the changes before it.
                if work.apply(session).is_err() {
                    return Ok(work.status);
                }
                let is_last = matches!(command, Command::Version | Command::Help);
                match session.perform(command, &format!("line {number}: "), out)? {
                    0 => {}
                    failed => work.status = failed,
                }
                // A request for help prints nothing else.
                if is_last {
                    return Ok(work.status);
                }
            }
            // A name that existed before no longer exists.
            Some(Err(mistake)) => {
                complain(format_args!("line {number}: {}", mistake.text(session.program)));
                work.status = mistake.status();
            }
        }
    }
    let _ = work.apply(session);
    Ok(work.status)
}

/// Reads the whole input and reports every mistake in it. Returns the input, or the exit status of the first mistake.
fn check(mut input: impl BufRead, names: &Names, program: &str) -> Result<Vec<u8>, u8> {
    let (mut kept, mut status) = (Vec::new(), None);
    for number in 1_usize.. {
        if status.is_some() {
            kept = Vec::new();
        }
        let start = kept.len();
        match input.read_until(b'\n', &mut kept) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                complain(format_args!("cannot read: {error}"));
                return Err(1);
            }
        }
        let line = kept.get(start..).unwrap_or_default();
        if let Some(Err(mistake)) = read(line.strip_suffix(b"\n").unwrap_or(line), names) {
            complain(format_args!("line {number}: {}", mistake.text(program)));
            status.get_or_insert(mistake.status());
        }
    }
    status.map_or(Ok(kept), Err)
}

/// The command of a line, if it has one.
pub(crate) fn read(line: &[u8], names: &Names) -> Option<Result<Command, Mistake>> {
    let line = text::read(line);
    let words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
    // A word ends at a zero byte, as everything does in C.
    let words = words.map(|word| word.split('\0').next().unwrap_or_default());
    let mut words = words.filter(|word| *word != "ipvsadm").peekable();
    let is_empty = words.peek().is_none_or(|word| word.starts_with('#'));
    let command = || match parse(words, names) {
        Ok(Command::Restore) => Err(Mistake::NoCommand),
        parsed => parsed,
    };
    (!is_empty).then(command)
}

/// The changes that have gathered, with the numbers of their lines.
struct Work {
    status: u8,
    lines: Vec<usize>,
    changes: Vec<Change>,
}

/// The conversation with the kernel broke off.
struct Interrupted;

impl Work {
    /// Makes the changes that have gathered.
    fn apply(&mut self, session: &mut Session<'_>) -> Result<(), Interrupted> {
        let applied = kernel::apply(&mut session.ipvs, &self.changes);
        for (position, text) in &applied.texts {
            complain(format_args!("line {}: {text}", self.lines.get(*position).copied().unwrap_or_default()));
            self.status = 255;
        }
        self.lines.clear();
        self.changes.clear();
        if applied.is_interrupted { Err(Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::some_names;

    /// The commands of an input and its mistakes, with the numbers of their lines.
    fn all(input: &str) -> Vec<(usize, Result<Command, Mistake>)> {
        let lines = (1..).zip(input.split('\n'));
        lines.filter_map(|(number, line)| Some((number, read(line.as_bytes(), &some_names())?))).collect()
    }

    fn refused(text: &str) -> Result<Command, Mistake> {
        Err(Mistake::Refused(text.to_owned()))
    }

    #[test]
    fn lines_are_words_with_blanks_tabs_and_carriage_returns_between() {
        let input = "-A -t 10.0.0.1:80 -s rr\n\n  ipvsadm\t-a  -t 10.0.0.1:80 ipvsadm -r 10.9.1.1\r\nipvsadm\n-C";
        let commands = all(input);
        let lines: Vec<_> = commands.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 5]);
        assert!(commands[0].1.is_ok() && commands[1].1.is_ok());
        assert_eq!(commands[2].1, Ok(Command::Change(Change::Clear)));
    }

    #[test]
    fn words_end_at_zero_bytes() {
        assert_eq!(all("-C\0junk ipvsadm\0\n"), [(1, Ok(Command::Change(Change::Clear)))]);
        assert_eq!(all("-C \0\n"), [(1, refused("unexpected argument "))]);
    }

    #[test]
    fn comment_lines_are_skipped() {
        assert_eq!(all("# saved yesterday\n  #-C\n"), []);
        assert_eq!(all("-C # all of it\n"), [(1, refused("unexpected argument #"))]);
    }

    #[test]
    fn the_whole_input_is_checked_and_the_first_mistake_counts() {
        let input = "-A -t 10.0.0.1:80\n-A -t bad\n-C\n-R\n--bogus\n-L -c --rate\n";
        let mistakes: Vec<_> = all(input).into_iter().filter_map(|(n, read)| Some((n, read.err()?.status()))).collect();
        assert_eq!(mistakes, [(2, 2), (4, 255), (5, 255), (6, 2)]);
        assert_eq!(check(input.as_bytes(), &some_names(), "ipvsadm"), Err(2));
        assert_eq!(check(&b"-C\n# last"[..], &some_names(), "ipvsadm"), Ok(b"-C\n# last".to_vec()));
    }

    #[test]
    fn a_word_without_end_is_one_that_no_command_takes() {
        let word = "x".repeat(1 << 20);
        assert_eq!(all(&word), [(1, Err(Mistake::NoCommand))]);
        assert_eq!(all(&format!("-C {word}")), [(1, refused(&format!("unexpected argument {word}")))]);
        assert_eq!(all(&format!("-C {}", "x ".repeat(1 << 19))), [(1, refused("unexpected argument x"))]);
    }
}
