//! Tests that the manual page `ipvsadm-rs.8` has exactly the commands and options of the program.

#[path = "mdoc.rs"]
mod mdoc;

use std::collections::BTreeSet;

use crate::syntax::Takes;
use crate::table::{FORMS, Item, Rule, TunnelType, Verb, Word};
use mdoc::{arguments, arguments_of, items, section};

const PAGE: &str = include_str!("ipvsadm-rs.8");

/// Returns the meaning of an option by its letter, or by its long name after a dash.
fn meaning(option: &str) -> Word {
    let is_meant = |form: &&crate::syntax::Form<Word>| match option.strip_prefix('-') {
        Some(name) => form.name == name,
        None => form.letter.is_some_and(|letter| option == letter.to_string()),
    };
    FORMS.all().iter().find(is_meant).unwrap_or_else(|| panic!("the program has no -{option}")).means
}

#[test]
fn the_page_has_each_command_and_option_once_in_all_its_forms() {
    let mut listed = Vec::new();
    for heading in [".Sh COMMANDS", ".Sh OPTIONS"] {
        for head in items(&section(PAGE, heading)) {
            let options = arguments_of([head], "Fl");
            let Some(first) = options.first() else { continue };
            let means = meaning(first);
            let same: Vec<_> = FORMS.all().iter().filter(|form| form.means == means).collect();
            let letters = same.iter().filter_map(|form| form.letter.map(String::from));
            let names = same.iter().filter(|form| !form.name.is_empty()).map(|form| format!("-{}", form.name));
            let forms: BTreeSet<_> = letters.chain(names).collect();
            assert_eq!(options.iter().cloned().collect::<BTreeSet<_>>(), forms, "{head}");
            let takes = same.first().map(|form| form.takes).unwrap();
            // The values of `--set` are separate words.
            if means != Word::Verb(Verb::Set) {
                assert_eq!(head.contains(" Op Ar "), takes == Takes::MaybeValue, "{head}");
                assert_eq!(head.contains(" Ar "), takes != Takes::Nothing, "{head}");
            }
            assert!(!listed.contains(&means), "{head} occurs twice");
            listed.push(means);
        }
    }
    for form in FORMS.all() {
        assert!(listed.contains(&form.means), "{:?} {} is not in the page", form.letter, form.name);
    }
}

#[test]
fn the_page_names_only_options_of_the_program() {
    for option in arguments_of(PAGE.lines(), "Fl") {
        meaning(&option);
    }
}

/// Returns the meanings of a command line of the synopsis, and whether each is optional.
fn line_of_synopsis(lines: &[&str]) -> Vec<(Word, bool)> {
    let mut words = Vec::new();
    for line in lines {
        let is_optional = line.starts_with(".Op");
        for (name, argument) in arguments(line) {
            match name {
                "Fl" => words.push((meaning(&argument), is_optional)),
                "Ar" if argument == "service" => words.push((Word::Item(Item::ServiceAddress), is_optional)),
                _ => {}
            }
        }
    }
    words
}

#[test]
fn the_synopsis_has_the_options_of_each_command() {
    let synopsis = section(PAGE, ".Sh SYNOPSIS");
    let mut allowed = Vec::new();
    for lines in synopsis.split(|line| line.starts_with(".Nm")).skip(1) {
        let words = line_of_synopsis(lines);
        let verbs = words.iter().filter_map(|(word, _)| if let Word::Verb(verb) = word { Some(*verb) } else { None });
        for verb in verbs {
            let mut given = Vec::new();
            for (word, is_optional) in &words {
                let item = match word {
                    Word::Item(item) => *item,
                    Word::Method(_) => Item::ForwardingMethod,
                    _ => continue,
                };
                let rule = verb.rules().of(item);
                assert_ne!(rule, Rule::Illegal, "{verb:?} {item:?}");
                assert!(rule != Rule::Needed || !is_optional, "{verb:?} {item:?}");
                given.push(item);
            }
            allowed.extend(given.into_iter().map(|item| (verb, item)));
            // The command itself is in the synopsis.
            allowed.push((verb, Item::Numeric));
        }
    }
    let options =
        FORMS.all().iter().filter_map(|form| if let Word::Item(item) = form.means { Some(item) } else { None });
    for item in options.chain([Item::ServiceAddress, Item::ForwardingMethod]) {
        for form in FORMS.all() {
            let Word::Verb(verb) = form.means else { continue };
            assert!(allowed.iter().any(|(known, _)| *known == verb), "{verb:?} is not in the synopsis");
            // Accepted and ignored.
            if verb.rules().of(item) != Rule::Illegal && (verb, item) != (Verb::List, Item::SyncId) {
                assert!(allowed.contains(&(verb, item)), "{verb:?} {item:?} is not in the synopsis");
            }
        }
    }
}

#[test]
fn the_page_names_each_type_of_tunnel() {
    let words = arguments_of(section(PAGE, ".Ss Real servers"), "Cm");
    for kind in [TunnelType::Ipip, TunnelType::Gue, TunnelType::Gre] {
        assert!(words.iter().any(|word| word == kind.name()), "{}", kind.name());
    }
}
