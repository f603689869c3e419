//! Words to commands: the options that may stand anywhere, then the name of a command and its arguments.
//!
//! Names of commands can be shortened, and the first in [`COMMANDS`] that begins so is meant: `d` is `del`, `des` is
//! `destroy`. Options cannot.

use std::borrow::Cow;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    Create,
    Add,
    Del,
    Test,
    Destroy,
    List,
    Save,
    Restore,
    Flush,
    Rename,
    Swap,
    Help,
    Version,
    Quit,
}

/// A command, its names (the first is shown), and how many arguments it needs and takes.
pub(crate) type Form = (Command, &'static [&'static str], usize, usize);

const ANY: usize = usize::MAX;

pub(crate) const COMMANDS: [Form; 14] = [
    (Command::Create, &["create", "new", "-N"], 2, ANY),
    (Command::Add, &["add", "-A"], 2, ANY),
    (Command::Del, &["del", "-D"], 2, ANY),
    (Command::Test, &["test", "-T"], 2, ANY),
    (Command::Destroy, &["destroy", "x", "-X"], 0, 1),
    (Command::List, &["list", "-L"], 0, 1),
    (Command::Save, &["save", "-S"], 0, 1),
    (Command::Restore, &["restore", "-R"], 0, 0),
    (Command::Flush, &["flush", "-F"], 0, 1),
    (Command::Rename, &["rename", "e", "-E"], 2, 2),
    (Command::Swap, &["swap", "w", "-W"], 2, 2),
    (Command::Help, &["help", "-h", "-H"], 0, ANY),
    (Command::Version, &["version", "-v", "-V"], 0, ANY),
    (Command::Quit, &["quit"], 0, ANY),
];

impl Command {
    fn form(self) -> &'static Form {
        // Every command is in the table; the first stands in for none.
        let [first, ..] = &COMMANDS;
        COMMANDS.iter().find(|form| form.0 == self).unwrap_or(first)
    }

    pub(crate) fn name(self) -> &'static str {
        self.form().1.first().copied().unwrap_or_default()
    }

    /// The command that a word names.
    fn find(word: &str) -> Option<Self> {
        let word = word.strip_prefix("--").filter(|word| !word.is_empty()).unwrap_or(word);
        let is_meant = |name: &&str| !word.is_empty() && name.starts_with(word);
        COMMANDS.iter().find(|form| form.1.iter().any(is_meant)).map(|form| form.0)
    }
}

/// How sets are listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Plain,
    Save,
    Xml,
    Json,
}

/// The options that may stand anywhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Settings {
    pub(crate) mode: Option<Mode>,
    pub(crate) sorted: bool,
    pub(crate) quiet: bool,
    pub(crate) resolve: bool,
    pub(crate) exist: bool,
    pub(crate) names_only: bool,
    pub(crate) terse: bool,
    pub(crate) file: Option<String>,
}

/// A word of a line: a part of it, or a copy without its quotes.
pub(crate) type Word<'a> = Cow<'a, str>;

/// Command of a line.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Line<'a> {
    /// A dash: commands are typed in one by one.
    Interactive,
    Command(Command, Vec<Word<'a>>),
}

/// The longest line, in words.
const MAX_WORDS: usize = 31;

impl Settings {
    /// Takes the options out of the words.
    fn take(&mut self, words: &mut Vec<Word<'_>>) -> Result<(), Failure> {
        // Few lines of a restore have an option: its bar.
        if words.iter().any(|word| word.starts_with('-')) { self.take_each(words) } else { Ok(()) }
    }

    fn take_each(&mut self, words: &mut Vec<Word<'_>>) -> Result<(), Failure> {
        // One option after the other, as far as one can be the argument of another.
        while let Some(value) = argument(words, "-o", &["-o", "-output"])? {
            self.mode = Some(match &*value {
                "plain" => Mode::Plain,
                "save" => Mode::Save,
                "xml" => Mode::Xml,
                "json" => Mode::Json,
                other => return Err(Failure::refused(format!("Syntax error: unknown output mode '{other}'"))),
            });
        }
        for (names, flag) in [
            (["-s", "-sorted"], &mut self.sorted),
            (["-q", "-quiet"], &mut self.quiet),
            (["-r", "-resolve"], &mut self.resolve),
            (["-!", "-exist"], &mut self.exist),
            (["-n", "-name"], &mut self.names_only),
            (["-t", "-terse"], &mut self.terse),
        ] {
            let before = words.len();
            words.retain(|word| !is_option(word, &names));
            *flag |= words.len() < before;
        }
        while let Some(value) = argument(words, "-f", &["-f", "-file"])? {
            if self.file.is_some() {
                return Err(Failure::usage("-file option cannot be used when full io is activated"));
            }
            self.file = Some(value.into_owned());
        }
        Ok(())
    }
}

fn is_option(word: &str, names: &[&str]) -> bool {
    names.iter().any(|name| word == *name || word.strip_prefix('-') == Some(name))
}

/// Takes out an option and its argument.
fn argument<'a>(words: &mut Vec<Word<'a>>, shown: &str, names: &[&str]) -> Result<Option<Word<'a>>, Failure> {
    let Some(at) = words.iter().position(|word| is_option(word, names)) else { return Ok(None) };
    words.remove(at);
    if at == words.len() {
        return Err(Failure::usage(format!("Missing mandatory argument to option {shown}")));
    }
    Ok(Some(words.remove(at)))
}

/// Reads a line whose words are these.
pub(crate) fn parse<'a>(mut words: Vec<Word<'a>>, settings: &mut Settings) -> Result<Line<'a>, Failure> {
    if words.len() > MAX_WORDS {
        return Err(Failure::usage("Line is too long to parse."));
    }
    settings.take(&mut words)?;
    if words.is_empty() {
        return Err(Failure::usage("No command specified."));
    }
    let word = words.remove(0);
    // The words after it are ignored.
    if word == "-" {
        return Ok(Line::Interactive);
    }
    let unknown = || Failure::usage(format!("No command specified: unknown argument {word}"));
    let command = Command::find(&word).ok_or_else(unknown)?;
    let (_, _, needs, takes) = command.form();
    if words.len() < *needs {
        let which = if words.is_empty() { "" } else { "second " };
        return Err(Failure::usage(format!("Missing {which}mandatory argument to command {}", command.name())));
    }
    match words.get(*takes) {
        Some(extra) => Err(Failure::usage(format!("Unknown argument {extra}"))),
        None => Ok(Line::Command(command, words)),
    }
}

/// Splits a line of input into words, separated by blanks or grouped by double quotes.
///
/// A quote that is not closed gives no word, and neither does an empty one.
pub(crate) fn words(line: &str) -> Result<Vec<Word<'_>>, Failure> {
    let mut words = Vec::with_capacity(4);
    let mut rest = line;
    loop {
        let blanks = rest.bytes().take_while(|byte| is_blank(*byte)).count();
        rest = rest.get(blanks..).unwrap_or_default();
        // Blanks before the end of the line count as a word.
        let blank_end = blanks > 1;
        if words.len() >= MAX_WORDS - 1 && (!rest.is_empty() || blank_end) {
            return Err(Failure::usage("Line is too long to parse."));
        }
        if rest.is_empty() {
            return Ok(words);
        }
        let end = rest.bytes().position(|byte| is_blank(byte) || byte == b'"').unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !behind.starts_with('"') {
            words.push(Cow::Borrowed(word));
            rest = behind;
            continue;
        }
        let mut word = String::new();
        let mut quoted = false;
        let mut closed = None;
        for (at, c) in rest.char_indices() {
            match c {
                '"' => quoted = !quoted,
                c if u8::try_from(c).is_ok_and(is_blank) && !quoted => {
                    closed = Some(at);
                    break;
                }
                c => word.push(c),
            }
        }
        if quoted {
            return if line.ends_with('\n') { Ok(words) } else { Err(Failure::usage("Missing close quote!")) };
        }
        if !word.is_empty() {
            words.push(Cow::Owned(word));
        }
        rest = closed.and_then(|at| rest.get(at..)).unwrap_or_default();
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        let mut settings = Settings::default();
        match parse(line.split(' ').map(Cow::from).collect(), &mut settings) {
            Ok(Line::Command(command, arguments)) => format!("{} {}", command.name(), arguments.join(" ")),
            Ok(Line::Interactive) => "-".into(),
            Err(failure) => format!("{} {}", failure.status(), failure.text()),
        }
    }

    #[test]
    fn the_first_command_that_begins_so_is_meant() {
        for (word, command) in [
            ("d", "del"),
            ("de", "del"),
            ("des", "destroy"),
            ("x", "destroy"),
            ("s", "save"),
            ("sw", "swap"),
            ("r", "restore"),
            ("ren", "rename"),
            ("e", "rename"),
            ("w", "swap"),
            ("l", "list"),
            ("--list", "list"),
            ("--l", "list"),
            ("n", "create"),
            ("-N", "create"),
            ("-X", "destroy"),
            ("-h", "help"),
            ("-v", "version"),
            ("q", "quit"),
            ("f", "flush"),
        ] {
            assert_eq!(Command::find(word).map(Command::name), Some(command), "{word}");
        }
        for word in ["", "--", "-l", "---list", "listx", "LIST", "-list", "--N"] {
            assert_eq!(Command::find(word), None, "{word}");
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        assert_eq!(read("-! add --quiet a b"), "add a b");
        assert_eq!(read("list -o xml -t"), "list ");
        assert_eq!(read("list -f -o xml"), "2 Missing mandatory argument to option -f");
        assert_eq!(read("list -o json2"), "1 Syntax error: unknown output mode 'json2'");
        assert_eq!(read("-"), "-");
        assert_eq!(read("- list"), "-");
        assert_eq!(read("--- a hash:ip"), "create a hash:ip");
    }

    #[test]
    fn lines_without_options_are_read_as_those_with() {
        for line in ["", "-", "add a 1", "add -! a", "-o", "list -o xml -t", "-f -f -f", "add --quiet", "x-y -z"] {
            let mut read = [Settings::default(), Settings::default()];
            let mut words = [0, 1].map(|_| line.split(' ').map(Cow::from).collect::<Vec<_>>());
            let done = [read[0].take(&mut words[0]), read[1].take_each(&mut words[1])];
            assert_eq!((&read[0], &words[0], &done[0]), (&read[1], &words[1], &done[1]), "{line}");
        }
    }

    #[test]
    fn arguments_are_counted() {
        assert_eq!(read("add"), "2 Missing mandatory argument to command add");
        assert_eq!(read("a x"), "2 Missing second mandatory argument to command add");
        assert_eq!(read("list a b"), "2 Unknown argument b");
        assert_eq!(read(&["x"; 32].join(" ")), "2 Line is too long to parse.");
    }

    #[test]
    fn quotes_group_words() {
        let words = |line| super::words(line).map_err(|failure| failure.text().to_owned());
        assert_eq!(words("add a\t1.1.1.1  \n").unwrap(), ["add", "a", "1.1.1.1"]);
        assert_eq!(words("\"a b\"c x\"y z\"w\n").unwrap(), ["a bc", "xy zw"]);
        assert_eq!(words("a \"\" b\n").unwrap(), ["a", "b"]);
        assert_eq!(words("a b\"c d\n").unwrap(), ["a"]);
        assert_eq!(words("a b\"c d"), Err("Missing close quote!".into()));
    }
}
