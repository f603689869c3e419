//! Restoring: command lines from standard input, one a line.
//!
//! Blanks, tabs and carriage returns separate words, and there is no quoting. The word `ipvsadm` is skipped wherever
//! it stands, as are empty lines and lines that begin with `#`.
//!
//! The whole input is checked before the first change, so it is kept until then: the first lines as changes, all others
//! as text, which is shorter. After the first mistake nothing is kept any longer.

use std::io::{self, BufRead, Write};

use lvs::ipvs::Change;

use crate::command::{Command, Mistake};
use crate::names::Names;
use crate::options::parse;
use crate::text::{self, complain};
use crate::{Session, kernel};

/// Number of changes that are kept, for the bar of `ipvsadm-rs -R`: lines that follow are read twice.
const KEPT: usize = 1 << 14;
/// Number of changes that are sent, and whose failures are kept, at a time.
const CHANGES: usize = 1024;

/// Checks all of the input, and carries it out if nothing is wrong with it. Errors name their lines.
pub(crate) fn run(session: &mut Session<'_>, input: impl BufRead, out: &mut impl Write) -> io::Result<u8> {
    let Kept { mut work, line, text } = match check(input, session.names, session.program, KEPT) {
        Ok(kept) => kept,
        Err(status) => return Ok(status),
    };
    for (number, line) in (line..).zip(text.split(|byte| *byte == b'\n')) {
        match read(line, session.names) {
            None => {}
            Some(Ok(Command::Change(change))) => {
                work.push(number, change);
                if work.changes.len() >= CHANGES && work.apply(session).is_err() {
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

/// Input without mistakes.
#[derive(Debug)]
struct Kept {
    /// Changes of the first lines.
    work: Work,
    /// Number of the first line of `text`.
    line: usize,
    /// Lines that follow.
    text: Vec<u8>,
}

impl Kept {
    fn new() -> Self {
        // Memory that is not used costs nothing. Growing does, because the pages are new.
        let work = Work { status: 0, lines: Vec::with_capacity(KEPT), changes: Vec::with_capacity(KEPT) };
        Self { work, line: 1, text: Vec::new() }
    }
}

/// Reads the whole input and reports every mistake in it. Returns the input, or the exit status of the first mistake.
/// At most so many changes are kept, and none after another command; the lines that follow are kept as text.
fn check(mut input: impl BufRead, names: &Names, program: &str, most: usize) -> Result<Kept, u8> {
    let (mut kept, mut status) = (Kept::new(), None);
    for number in 1.. {
        let start = kept.text.len();
        match input.read_until(b'\n', &mut kept.text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                complain(format_args!("cannot read: {error}"));
                return Err(1);
            }
        }
        let line = kept.text.get(start..).unwrap_or_default();
        let command = read(line.strip_suffix(b"\n").unwrap_or(line), names);
        if let Some(Err(mistake)) = &command {
            complain(format_args!("line {number}: {}", mistake.text(program)));
            if status.is_none() {
                status = Some(mistake.status());
                kept.work.clear();
            }
        }
        if status.is_some() {
            kept.text = Vec::new();
        } else if start == 0 && kept.work.changes.len() < most {
            match command {
                Some(Ok(Command::Change(change))) => kept.work.push(number, change),
                None => {}
                Some(_) => continue,
            }
            kept.text.clear();
            kept.line = number + 1;
        }
    }
    status.map_or(Ok(kept), Err)
}

/// The command of a line, if it has one.
pub(crate) fn read(line: &[u8], names: &Names) -> Option<Result<Command, Mistake>> {
    let line = text::read(line);
    let mut words = Words(&line).filter(|word| *word != "ipvsadm").peekable();
    let is_empty = words.peek().is_none_or(|word| word.starts_with('#'));
    let command = || match parse(words, names) {
        Ok(Command::Restore) => Err(Mistake::NoCommand),
        parsed => parsed,
    };
    (!is_empty).then(command)
}

/// The words of a line.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
        let start = self.0.bytes().position(|byte| !is_blank(byte))?;
        let rest = self.0.get(start..)?;
        let end = rest.bytes().position(|byte| is_blank(byte) || byte == 0).unwrap_or(rest.len());
        let (word, mut rest) = rest.split_at_checked(end)?;
        // A word ends at a zero byte, as everything does in C.
        if rest.starts_with('\0') {
            let end = rest.bytes().position(is_blank).unwrap_or(rest.len());
            rest = rest.get(end..)?;
        }
        self.0 = rest;
        Some(word)
    }
}

/// The changes that have gathered, with the numbers of their lines.
#[derive(Debug)]
struct Work {
    status: u8,
    lines: Vec<usize>,
    changes: Vec<Change>,
}

/// The conversation with the kernel broke off.
struct Interrupted;

impl Work {
    fn push(&mut self, line: usize, change: Change) {
        self.lines.push(line);
        self.changes.push(change);
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.changes.clear();
    }

    /// Makes the changes that have gathered.
    fn apply(&mut self, session: &mut Session<'_>) -> Result<(), Interrupted> {
        for (lines, changes) in self.lines.chunks(CHANGES).zip(self.changes.chunks(CHANGES)) {
            let applied = kernel::apply(&mut session.ipvs, changes);
            for (position, text) in &applied.texts {
                complain(format_args!("line {}: {text}", lines.get(*position).copied().unwrap_or_default()));
                self.status = 255;
            }
            if applied.is_interrupted {
                return Err(Interrupted);
            }
        }
        self.clear();
        Ok(())
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
        assert_eq!(check(input.as_bytes(), &some_names(), "ipvsadm", KEPT).err(), Some(2));
    }

    #[test]
    fn commands_are_the_same_whether_kept_or_read_twice() {
        let changes = "-A -t 10.0.0.1:80\n# next\n\n-a -t 10.0.0.1:80 -r 10.9.1.1\n-C";
        for input in [changes.to_owned(), format!("{changes}\n# last\n"), format!("{changes}\n-S\n# last\n-C\n\n-Z")] {
            for most in 0..5 {
                let Kept { work, line, text } = check(input.as_bytes(), &some_names(), "ipvsadm", most).unwrap();
                assert_eq!(work.changes.len(), most.min(3), "{input:?}");
                assert!(most <= 3 || text.is_empty() != input.contains("-S"), "{input:?}");
                let changes = work.lines.into_iter().zip(work.changes.into_iter().map(Command::Change).map(Ok));
                let text = all(std::str::from_utf8(&text).unwrap()).into_iter();
                let following = text.map(|(number, command)| (number + line - 1, command));
                assert_eq!(changes.chain(following).collect::<Vec<_>>(), all(&input), "{input:?}");
            }
        }
    }

    #[test]
    fn a_word_without_end_is_one_that_no_command_takes() {
        let word = "x".repeat(1 << 20);
        assert_eq!(all(&word), [(1, Err(Mistake::NoCommand))]);
        assert_eq!(all(&format!("-C {word}")), [(1, refused(&format!("unexpected argument {word}")))]);
        assert_eq!(all(&format!("-C {}", "x ".repeat(1 << 19))), [(1, refused("unexpected argument x"))]);
    }
}
