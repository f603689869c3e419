//! Words to options, by the rules of popt, which `ipvsadm` reads its command line with.
//!
//! An option is `-s rr`, `-srr`, `-s=rr`, `--scheduler rr` or `--scheduler=rr`; letters that take no value can be
//! bundled (`-Ln`); `--` ends the options; long names cannot be shortened. Words that are no options may stand
//! anywhere, unless `POSIXLY_CORRECT` is in the environment.

use std::fmt;
use std::iter::Peekable;
use std::sync::LazyLock;

/// A form in which an option can be written, and what it means.
pub(crate) struct Form<T> {
    pub(crate) letter: Option<char>,
    /// The long name, without its dashes; empty if it has none.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) means: T,
}

/// All forms of a program, indexed by letter for the bar of `ipvsadm-rs -R`.
pub(crate) struct Forms<T: 'static> {
    all: &'static [Form<T>],
    by_letter: [u8; 128],
}

impl<T: 'static> Forms<T> {
    /// Indexes at most 128 forms, whose letters are ASCII.
    pub(crate) const fn new(all: &'static [Form<T>]) -> Self {
        assert!(all.len() <= 128, "a place has one byte");
        let mut by_letter = [u8::MAX; 128];
        let (mut place, mut rest) = (0, all);
        while let [form, others @ ..] = rest {
            if let Some(letter) = form.letter {
                #[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
                (by_letter[letter as usize] = place);
            }
            place += 1;
            rest = others;
        }
        Self { all, by_letter }
    }

    pub(crate) fn all(&self) -> &'static [Form<T>] {
        self.all
    }

    fn of_letter(&self, letter: char) -> Option<&'static Form<T>> {
        let place = self.by_letter.get(letter as usize)?;
        self.all.get(usize::from(*place))
    }

    fn of_name(&self, name: &str) -> Option<&'static Form<T>> {
        self.all.iter().find(|form| form.name == name && !name.is_empty())
    }
}

/// Whether an option has a value.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Takes {
    Nothing,
    Value,
    /// The next word is the value unless it begins with a dash.
    MaybeValue,
}

/// Fault of the last word that was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misuse {
    Unknown,
    NoValue,
    UnwantedValue,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown option",
            Self::NoValue => "missing argument",
            Self::UnwantedValue => "option does not take an argument",
        })
    }
}

/// Goes through the words of a command line, option by option, in constant memory.
pub(crate) struct Scanner<'a, T: 'static, I: Iterator> {
    forms: &'static Forms<T>,
    words: Peekable<I>,
    /// The word that was read last, as it was typed.
    last: &'a str,
    /// The letters of a bundle that are still to be read.
    bundle: &'a str,
    options_ended: bool,
    leftovers: Vec<&'a str>,
}

/// Whether the first word that is no option ends the options, as in popt.
static IS_STRICT: LazyLock<bool> =
    LazyLock::new(|| ["POSIXLY_CORRECT", "POSIX_ME_HARDER"].iter().any(|name| std::env::var_os(name).is_some()));

/// More words than any command takes, so that the first one too many is among those that are kept.
const LEFTOVERS_KEPT: usize = 8;

impl<'a, T: Copy, I: Iterator<Item = &'a str>> Scanner<'a, T, I> {
    pub(crate) fn new(forms: &'static Forms<T>, words: Peekable<I>) -> Self {
        Self { forms, words, last: "", bundle: "", options_ended: false, leftovers: Vec::new() }
    }

    /// The next option and its value; `None` after the last one.
    pub(crate) fn option(&mut self) -> Result<Option<(T, Option<&'a str>)>, Misuse> {
        loop {
            let mut bundle = self.bundle.chars();
            if let Some(letter) = bundle.next() {
                return self.letter(letter, bundle.as_str()).map(Some);
            }
            let Some(word) = self.word() else { return Ok(None) };
            match word.strip_prefix('-').filter(|_| !self.options_ended) {
                None | Some("") => {
                    self.options_ended |= *IS_STRICT;
                    if self.leftovers.len() < LEFTOVERS_KEPT {
                        self.leftovers.push(word);
                    }
                }
                Some("-") => self.options_ended = true,
                Some(letters) => match letters.strip_prefix('-') {
                    Some(long) => return self.long(long).map(Some),
                    None => self.bundle = letters,
                },
            }
        }
    }

    /// The word that was read last, as it was typed.
    pub(crate) fn last(&self) -> &'a str {
        self.last
    }

    /// The first words that are neither options nor their values.
    pub(crate) fn leftovers(self) -> Vec<&'a str> {
        self.leftovers
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.words.next()?;
        self.last = word;
        Some(word)
    }

    /// The option with this letter, before the rest of its bundle.
    fn letter(&mut self, letter: char, rest: &'a str) -> Result<(T, Option<&'a str>), Misuse> {
        let form = self.forms.of_letter(letter).ok_or(Misuse::Unknown)?;
        self.bundle = "";
        match form.takes {
            Takes::Nothing if rest.starts_with('=') => Err(Misuse::UnwantedValue),
            Takes::Nothing => {
                self.bundle = rest;
                Ok((form.means, None))
            }
            Takes::Value | Takes::MaybeValue if rest.is_empty() => self.value_of(form),
            Takes::Value | Takes::MaybeValue => Ok((form.means, Some(rest.strip_prefix('=').unwrap_or(rest)))),
        }
    }

    fn long(&mut self, long: &'a str) -> Result<(T, Option<&'a str>), Misuse> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let form = self.forms.of_name(name).ok_or(Misuse::Unknown)?;
        match (form.takes, value) {
            (Takes::Nothing, Some(_)) => Err(Misuse::UnwantedValue),
            (Takes::Nothing, None) => Ok((form.means, None)),
            (_, Some(value)) => Ok((form.means, Some(value))),
            (_, None) => self.value_of(form),
        }
    }

    /// The next word as the value of an option.
    fn value_of(&mut self, form: &Form<T>) -> Result<(T, Option<&'a str>), Misuse> {
        let is_there = match self.words.peek() {
            None => false,
            Some(next) => form.takes == Takes::Value || !next.starts_with('-'),
        };
        match form.takes {
            Takes::Value if !is_there => Err(Misuse::NoValue),
            _ if !is_there => Ok((form.means, None)),
            _ => Ok((form.means, self.word())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FORMS: Forms<char> = Forms::new(&[
        Form { letter: Some('n'), name: "numeric", takes: Takes::Nothing, means: 'n' },
        Form { letter: Some('s'), name: "scheduler", takes: Takes::Value, means: 's' },
        Form { letter: Some('p'), name: "persistent", takes: Takes::MaybeValue, means: 'p' },
        Form { letter: Some('l'), name: "", takes: Takes::Nothing, means: 'l' },
    ]);

    /// `n s=rr`, then the leftover words in brackets, or the misuse and the word that it names.
    fn read(line: &[&str]) -> String {
        let mut scanner = Scanner::new(&FORMS, line.iter().copied().peekable());
        let mut text = String::new();
        loop {
            match scanner.option() {
                Ok(Some((means, value))) => {
                    text.extend([means.into(), value.map_or("".into(), |v| format!("={v}")), " ".into()])
                }
                Ok(None) => return format!("{text}{:?}", scanner.leftovers()),
                Err(misuse) => return format!("{text}{}: {misuse}", scanner.last()),
            }
        }
    }

    #[test]
    fn a_value_can_be_written_in_five_ways() {
        for line in [&["-s", "rr"][..], &["-srr"], &["-s=rr"], &["--scheduler", "rr"], &["--scheduler=rr"]] {
            assert_eq!(read(line), "s=rr []", "{line:?}");
        }
        assert_eq!(read(&["-s==rr"]), "s==rr []");
        assert_eq!(read(&["-s="]), "s= []");
        assert_eq!(read(&["-s", ""]), "s= []");
        assert_eq!(read(&["-s", "-n"]), "s=-n []");
    }

    #[test]
    fn letters_can_be_bundled_and_the_last_may_have_a_value() {
        assert_eq!(read(&["-nl"]), "n l []");
        assert_eq!(read(&["-ns", "rr"]), "n s=rr []");
        assert_eq!(read(&["-nsrr"]), "n s=rr []");
        assert_eq!(read(&["-sn"]), "s=n []");
    }

    #[test]
    fn an_optional_value_is_no_word_with_a_dash() {
        assert_eq!(read(&["-p", "30", "-n"]), "p=30 n []");
        assert_eq!(read(&["-p", "-n"]), "p n []");
        assert_eq!(read(&["-p"]), "p []");
        assert_eq!(read(&["-p=-5"]), "p=-5 []");
        assert_eq!(read(&["--persistent="]), "p= []");
    }

    #[test]
    fn other_words_are_left_over() {
        assert_eq!(read(&["a", "-n", "-", "", "-l"]), "n l [\"a\", \"-\", \"\"]");
        assert_eq!(read(&["-n", "--", "-l", "--"]), "n [\"-l\", \"--\"]");
    }

    #[test]
    fn misuse_names_the_whole_word() {
        assert_eq!(read(&["--bogus", "-n"]), "--bogus: unknown option");
        assert_eq!(read(&["--numer"]), "--numer: unknown option");
        assert_eq!(read(&["--="]), "--=: unknown option");
        assert_eq!(read(&["-nx"]), "n -nx: unknown option");
        assert_eq!(read(&["-ns"]), "n -ns: missing argument");
        assert_eq!(read(&["--scheduler"]), "--scheduler: missing argument");
        assert_eq!(read(&["--numeric=1"]), "--numeric=1: option does not take an argument");
        assert_eq!(read(&["-ln=x"]), "l -ln=x: option does not take an argument");
    }
}
