//! Restoring: command lines from standard input, one a line.
//!
//! Blanks, tabs and carriage returns separate words, and there is no quoting. The word `ipvsadm` is skipped wherever
//! it stands, as are empty lines and lines that begin with `#`.

use std::io::{self, Write};

use lvs::ipvs::Change;

use crate::command::{Command, Mistake};
use crate::names::Names;
use crate::options::parse;
use crate::text::complain;
use crate::{Session, kernel};

/// A line's number, counted from 1, and what it says.
type Line<T> = (usize, T);

/// Checks all of the input, and carries it out if nothing is wrong with it. Errors name their lines.
pub(crate) fn run(session: &mut Session<'_>, input: &str, out: &mut impl Write) -> io::Result<u8> {
    let commands = match read(input, session.names) {
        Ok(commands) => commands,
        Err(mistakes) => {
            for (line, mistake) in &mistakes {
                complain(&format!("line {line}: {}", mistake.text(session.program)));
            }
            return Ok(mistakes.first().map_or(0, |(_, mistake)| mistake.status()));
        }
    };
    let mut status = 0;
    let mut changes = Vec::new();
    for (line, command) in commands {
        if let Command::Change(change) = command {
            changes.push((line, change));
            continue;
        }
        // What is not a change must see those before it.
        status = apply(session, &mut changes).unwrap_or(status);
        let is_last = matches!(command, Command::Version | Command::Help);
        match session.perform(command, &format!("line {line}: "), out)? {
            0 => {}
            failed => status = failed,
        }
        // Who asks for help gets nothing else.
        if is_last {
            break;
        }
    }
    Ok(apply(session, &mut changes).unwrap_or(status))
}

/// The commands of all lines, or everything that is wrong with them.
pub(crate) fn read(input: &str, names: &Names) -> Result<Vec<Line<Command>>, Vec<Line<Mistake>>> {
    let (mut commands, mut mistakes) = (Vec::new(), Vec::new());
    for (index, line) in input.split('\n').enumerate() {
        let words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
        // A word ends at a zero byte, as everything does in C.
        let words = words.map(|word| word.split('\0').next().unwrap_or_default());
        let words: Vec<String> = words.filter(|word| *word != "ipvsadm").map(str::to_owned).collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        match parse(&words, names) {
            Ok(Command::Restore) => mistakes.push((index + 1, Mistake::NoCommand)),
            Ok(command) => commands.push((index + 1, command)),
            Err(mistake) => mistakes.push((index + 1, mistake)),
        }
    }
    if mistakes.is_empty() { Ok(commands) } else { Err(mistakes) }
}

/// Makes the changes that have gathered; the exit status if one failed.
fn apply(session: &mut Session<'_>, gathered: &mut Vec<Line<Change>>) -> Option<u8> {
    let (lines, changes): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
    let failures = kernel::apply(&mut session.ipvs, &changes);
    for (position, text) in &failures {
        complain(&format!("line {}: {text}", lines.get(*position).copied().unwrap_or_default()));
    }
    (!failures.is_empty()).then_some(255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::some_names;

    #[test]
    fn lines_are_words_with_blanks_tabs_and_carriage_returns_between() {
        let input = "-A -t 10.0.0.1:80 -s rr\n\n  ipvsadm\t-a  -t 10.0.0.1:80 ipvsadm -r 10.9.1.1\r\nipvsadm\n-C";
        let commands = read(input, &some_names()).unwrap();
        let lines: Vec<_> = commands.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 5]);
        assert_eq!(commands[2].1, Command::Change(Change::Flush));
    }

    #[test]
    fn words_end_at_zero_bytes() {
        let commands = read("-C\0junk ipvsadm\0\n", &some_names()).unwrap();
        assert_eq!(commands, [(1, Command::Change(Change::Flush))]);
        assert_eq!(read("-C \0\n", &some_names()).unwrap_err()[0].1.text(""), "unexpected argument ");
    }

    #[test]
    fn comment_lines_are_skipped() {
        assert_eq!(read("# saved yesterday\n  #-C\n", &some_names()), Ok(vec![]));
        let mistakes = read("-C # all of it\n", &some_names()).unwrap_err();
        assert_eq!(mistakes, [(1, Mistake::Refused("unexpected argument #".to_owned()))]);
    }

    #[test]
    fn every_mistake_of_the_input_is_found_before_anything_is_done() {
        let input = "-A -t 10.0.0.1:80\n-A -t bad\n-C\n-R\n--bogus\n-L -c --rate\n";
        let mistakes = read(input, &some_names()).unwrap_err();
        let lines: Vec<_> = mistakes.iter().map(|(line, mistake)| (*line, mistake.status())).collect();
        assert_eq!(lines, [(2, 2), (4, 255), (5, 255), (6, 2)]);
    }
}
