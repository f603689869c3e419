//! Output of `ipset` that other programs read: the texts of errors, the types that `help` lists, what happens without a kernel.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use libtest_mimic::Trial;
use lvs::ipset::Kind;

use super::bench::Case;
use super::texts::{NO_SESSION, SUPPORTED, TEXTS, TYPES};
use crate::lab::{Lab, Need, tests};

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipset(Kind::HashIp), Need::Program("ipset"), Need::Program("ipset-rs")];
        the_texts_are_those_of_the_original,
        help_lists_the_types_of_the_original,
        without_a_session_only_what_needs_one_fails,
    )
    .into_iter()
    .chain(tests!(
        &[Need::Ipset(Kind::HashNetNet), Need::Host("mail-1.example.com"), Need::Program("ipset"), Need::Program("ipset-rs")];
        saved_names_of_hosts_are_restored,
    ))
    .collect()
}

/// The original and the libraries that it loads, as bytes.
fn original() -> Vec<u8> {
    // Its loader lists them and runs nothing.
    let listed = Command::new("ipset").env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    let folders = std::env::var("PATH").unwrap();
    let programs = folders.split(':').map(|folder| format!("{folder}/ipset"));
    let files = libraries.map(str::to_owned).chain(programs);
    files.filter_map(|file| std::fs::read(file).ok()).flatten().collect()
}

fn the_texts_are_those_of_the_original(_: &Lab) {
    let original = original();
    // The zero byte before and behind it: it is all of a text.
    let has = |text: &str| {
        let text = [b"\0", text.as_bytes(), b"\0"].concat();
        original.windows(text.len()).any(|window| window == text)
    };
    let texts = TEXTS.iter().map(|(.., text)| *text).chain([NO_SESSION]);
    let missing: Vec<_> = texts.filter(|text| !has(text)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn help_lists_the_types_of_the_original(_: &Lab) {
    for words in [&["help"][..], &["--help"], &["-h"]] {
        let supported = |program: &str| {
            let output = Command::new(program).args(words).output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            text.split_once(&format!("\n{SUPPORTED}\n")).unwrap().1.to_owned()
        };
        let ours = supported("ipset-rs");
        assert_eq!(ours, supported("ipset"));
        assert_eq!(ours.lines().count(), TYPES.iter().map(|(.., revisions)| revisions.len()).sum::<usize>());
    }
}

/// Runs our program where it can open no file, and so no socket.
fn without_files(lab: &Lab, words: &str, input: &str, closed: &str) -> Output {
    let script = format!("exec {closed}; ulimit -n 3; exec ipset-rs {words}");
    lab.run(|| {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that does not read may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    })
}

fn without_a_session_only_what_needs_one_fails(lab: &Lab) {
    let failing = [
        "list",
        "list -n",
        "list -o xml",
        "save",
        "create x hash:ip",
        "create x hash:ip foo",
        "add x 192.0.2.1",
        "add x y",
        "del x 192.0.2.1",
        "test x 192.0.2.1",
        "destroy",
        "destroy x",
        "flush",
        "rename x y",
        "swap x y",
    ];
    let told = |output: Output| {
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text.split_once(": ").map_or("", |(_, text)| text).to_owned())
    };
    // The loader needs a descriptor; the one that is closed stands for it, and the program opens it again.
    let status = |words: &str, input: &str| told(without_files(lab, words, input, ">&-"));
    for words in failing {
        assert_eq!(status(words, ""), (Some(1), format!("{NO_SESSION}\n")), "{words}");
        let line = format!("# comment\n{words}\nadd x 192.0.2.1\n");
        assert_eq!(status("restore", &line), (Some(1), format!("Error in line 2: {NO_SESSION}\n")), "{words}");
        assert_eq!(status("-", &format!("{words}\nquit\n")), (Some(0), format!("{NO_SESSION}\n")), "{words}");
    }
    for input in ["", "# comment\n\n", "COMMIT\n", "quit\n"] {
        assert_eq!(status("restore", input), (Some(0), String::new()), "{input}");
    }
    assert_eq!(status("create x foo", "").1, "Syntax error: typename 'foo' is unknown\n");
    assert_eq!(status("flush x y", "").0, Some(2));
    for (words, line) in [("version", "protocol version: 7"), ("help", SUPPORTED), ("help hash:ip", "hash:ip:")] {
        let output = without_files(lab, words, "", "<&-");
        assert!(output.status.success(), "{words}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().any(|known| known.ends_with(line)), "{words}: {text}");
    }
}

/// The name of `mail-1.example.com` has a dash, which would be that of a range.
fn saved_names_of_hosts_are_restored(lab: &Lab) {
    for (address, network) in [("192.168.1.12", "192.168.1.12/30"), ("2001:db8::8", "2001:db8::8/125")] {
        let family = if address.contains(':') { "inet6" } else { "inet" };
        for (kind, entry) in [
            ("hash:ip", address.to_owned()),
            ("hash:net", network.to_owned()),
            ("hash:ip,port", format!("{address},udp:53")),
            ("hash:net,net", format!("{network},{address}")),
        ] {
            lab.tool(&format!("ipset create a {kind} family {family} initval 1"));
            lab.tool(&format!("ipset add a {entry}"));
            let saved = lab.tool("ipset-rs -r save");
            assert!(saved.contains("[mail-"), "{saved}");
            assert_eq!(saved, lab.tool("ipset -r save"));
            let plain = lab.tool("ipset-rs save");
            lab.tool("ipset-rs destroy a");
            lab.tool_with_input("ipset-rs restore", &saved);
            assert_eq!(lab.tool("ipset-rs save"), plain);
            assert_eq!(lab.tool("ipset-rs -r list -o xml"), lab.tool("ipset -r list -o xml"));
            lab.tool("ipset destroy a");
        }
    }
}

/// Options of a command line hold for the lines that it reads.
pub(crate) fn options_before_lines() -> Vec<Vec<Case>> {
    const OPTIONS: &[&str] =
        &["", "-o save", "-o xml", "-o xml -t -n", "-s", "-n", "-t", "-q", "-r -exist", "-q -! -s -o save"];
    const LINES: &[&str] = &[
        "",
        "list a\n",
        "save a\n",
        "list a\nsave b\n",
        "save b\nlist a\n",
        "list -o xml a\nlist b\nsave b\n",
        "list -n\nlist a\n",
        "list -t\nlist a\n",
        "list -s b\nlist b\n",
        "add b 10.0.0.1\nlist b\n",
        "add -exist b 10.0.0.1\nadd b 10.0.0.1\nlist b\n",
        "del b 10.0.0.77\nlist b\n",
        "create b hash:ip\nadd b 10.0.0.5\n",
        "create -exist b hash:ip family inet6\nlist b\n",
        "add b x\nlist b\n",
        "list -o foo\nlist b\n",
    ];
    let setup = "create a hash:net initval 1 comment\nadd a 10.0.0.9 comment x\nadd a 10.0.0.10\n\
                 create b hash:ip initval 1\nadd b 10.0.0.1\ncreate c list:set\nadd c a\n";
    let mut sequences = Vec::new();
    for option in OPTIONS {
        for way in ["restore", "-"] {
            let mut cases = vec![Case { input: setup.into(), ..Case::new(&["restore"]) }];
            for lines in LINES {
                let words: Vec<_> = option.split_whitespace().chain([way]).collect();
                cases.push(Case { input: (*lines).into(), ..Case::new(&words) });
            }
            sequences.push(cases);
        }
    }
    sequences
}
