//! Tests that the manual page `ipset-rs.8` has exactly the commands, types and options of the program.

#[path = "../ipvsadm/mdoc.rs"]
mod mdoc;

use std::collections::BTreeSet;

use lvs::ipset::Kind;

use crate::entry::Reader;
use crate::failure::Failure;
use crate::names::Names;
use crate::options::{Carried, create, entry_options, kind, set_options};
use crate::syntax::{COMMANDS, Command, Settings, Word, parse};
use mdoc::{arguments_of, items, section};

const PAGE: &str = include_str!("ipset-rs.8");

#[test]
fn the_page_has_each_command_with_its_names_and_arguments_in_the_order_of_abbreviations() {
    let heads = items(&section(PAGE, ".Sh COMMANDS"));
    assert_eq!(heads.len(), COMMANDS.len());
    for (head, (_, names, needs, takes)) in heads.into_iter().zip(COMMANDS) {
        assert_eq!(arguments_of([head], "Ic"), names, "{head}");
        let needed = head.split(" Op ").next().unwrap();
        assert_eq!(arguments_of([needed], "Ar").len(), needs, "{head}");
        // Further arguments of these are ignored.
        if !matches!(names, ["help" | "version" | "quit", ..]) {
            assert_eq!(head.contains(" Op Ar "), takes > needs, "{head}");
            assert_eq!(head.ends_with("..."), takes == usize::MAX, "{head}");
        }
    }
}

/// Returns the settings after this option with this value, if it takes one.
fn settings(option: &str) -> Settings {
    let mut settings = Settings::default();
    let _ = parse(["list", option, "plain"].map(Word::from).into(), &mut settings);
    settings
}

#[test]
fn the_page_has_each_option_with_both_names() {
    let mut letters = String::new();
    let mut long = BTreeSet::new();
    for head in items(&section(PAGE, ".Sh OPTIONS")) {
        let names = arguments_of([head], "Fl");
        let [letter, name] = &*names else { panic!("{head}") };
        let effect = settings(&format!("-{letter}"));
        assert_ne!(effect, Settings::default(), "{head}");
        assert_eq!(effect, settings(&format!("-{name}")), "{head}");
        assert_eq!(effect.mode.is_some() || effect.file.is_some(), head.contains(" Ar "), "{head}");
        letters.push_str(letter);
        long.insert(name.clone());
    }
    for letter in ('!'..='~').filter(|letter| settings(&format!("-{letter}")) != Settings::default()) {
        assert!(letters.contains(letter), "-{letter} is not in the page");
    }
    let help = include_str!("help.txt").split("Options").nth(1).unwrap();
    let in_help = help.split_whitespace().filter_map(|word| word.trim_end_matches(',').strip_prefix('-'));
    assert_eq!(in_help.filter(|name| name.len() > 1).map(str::to_owned).collect::<BTreeSet<_>>(), long);
}

/// Returns the options of an item of a type.
fn listed(lines: &[&str], item: &str) -> Vec<String> {
    let behind = lines.iter().copied().skip_while(|line| *line != format!(".It {item}")).skip(1);
    arguments_of(behind.take_while(|line| !line.starts_with(".It") && *line != ".El"), "Cm")
}

#[test]
fn the_page_has_each_type_with_its_options_and_its_old_name() {
    let types = section(PAGE, ".Sh SET TYPES");
    let headings: BTreeSet<_> = types.iter().filter_map(|line| line.strip_prefix(".Ss ")).collect();
    assert_eq!(headings, Kind::ALL.iter().map(|kind| kind.name()).collect());
    for &wanted in Kind::ALL {
        let lines = section(PAGE, &format!(".Ss {wanted}"));
        assert_eq!(listed(&lines, "set options"), set_options(wanted), "{wanted}");
        for (item, command) in
            [("add options", Command::Add), ("del options", Command::Del), ("test options", Command::Test)]
        {
            assert_eq!(listed(&lines, item), entry_options(wanted, command), "{wanted} {item}");
        }
        let old = listed(&lines, "old name");
        assert_eq!(old.len(), 1, "{wanted}");
        assert_ne!(old, [wanted.name()]);
        assert_eq!(kind(&old[0]).unwrap(), wanted);
    }
}

/// Checks that a list has exactly these options, with a value if they take one.
fn check(heads: &[&str], known: BTreeSet<&str>, takes_value: impl Fn(&str) -> bool) {
    let mut names = BTreeSet::new();
    for head in heads {
        let name = arguments_of([*head], "Cm").remove(0);
        assert!(known.contains(&*name), "{head}");
        let has_value = head.contains(" Ar ");
        assert_eq!(has_value, takes_value(&name), "{head}");
        names.insert(name);
    }
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

fn is_missing<T>(read: Result<T, Failure>) -> bool {
    read.is_err_and(|failure| failure.text().starts_with("Missing mandatory argument"))
}

#[test]
fn the_page_describes_each_option_of_sets() {
    let names = Names::default();
    let reader = Reader { names: &names, quiet: true };
    let lines = section(PAGE, ".Sh SET OPTIONS");
    let old = lines.iter().position(|line| line.starts_with("These options of")).unwrap();
    let known = Kind::ALL.iter().flat_map(|kind| set_options(*kind)).collect();
    check(&items(&lines[..old]), known, |name| {
        let has = Kind::ALL.iter().copied().find(|kind| set_options(*kind).contains(&name)).unwrap();
        is_missing(create(has, has.revision(), &[name.into()], &reader))
    });
    // Those that are ignored.
    let mut pairs = BTreeSet::new();
    let mut options = Vec::new();
    for line in &lines[old..] {
        if line.starts_with(".It") {
            options = arguments_of([*line], "Cm");
        }
        for kind in arguments_of([*line], "Sy") {
            pairs.extend(options.iter().map(|option| (option.clone(), kind.clone())));
        }
    }
    let is_ignored = |name: &str, kind: Kind| {
        create(kind, kind.revision(), &[name.into(), "1".into()], &reader).is_ok_and(|new| !new.warnings.is_empty())
    };
    for &kind in Kind::ALL {
        for name in ["from", "to", "network", "probes", "resize", "gc"] {
            let pair = (name.to_owned(), kind.name().to_owned());
            assert_eq!(pairs.contains(&pair), is_ignored(name, kind), "{pair:?}");
        }
    }
}

#[test]
fn the_page_describes_each_option_of_entries() {
    let known = Kind::ALL.iter().flat_map(|kind| entry_options(*kind, Command::Add)).collect();
    check(&items(&section(PAGE, ".Sh ENTRY OPTIONS")), known, |name| {
        let has = Kind::ALL.iter().copied().find(|kind| entry_options(*kind, Command::Add).contains(&name)).unwrap();
        is_missing(Carried::read(has, Command::Add, false, &[name.into()]))
    });
}
