//! Where `ipvsadm-rs` does something else than `ipvsadm`, on purpose. Its own documentation has all of it, and what no
//! command line here can show.

use std::net::SocketAddr;

use super::bench::{Around, Case, Outcome};

/// A difference that is meant.
pub(crate) struct Deviation {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// Whether the outcomes of `ipvsadm` and ours differ by this, and by nothing else.
    pub(crate) explains: fn(&Case, &Outcome, &Outcome) -> bool,
}

pub(crate) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        name: "help",
        reason: "the text is our own",
        explains: |_, theirs, ours| {
            let usage =
                |outcome: &Outcome| text(&outcome.output).contains("compiled with popt and IPVS v1.2.1)\nUsage:\n");
            same_but_output(theirs, ours) && usage(theirs) && usage(ours)
        },
    },
    Deviation {
        name: "help without privilege",
        reason: "who asks for help has not got that far",
        explains: |case, theirs, ours| {
            let asks = case.text().first().is_some_and(|word| ["-h", "-v"].contains(word));
            asks && case.around == Around::User && theirs.status.code() == Some(2) && ours.status.success()
        },
    },
    Deviation {
        name: "numeric order",
        reason: "ipvsadm compares numbers that are far apart the wrong way",
        explains: |case, theirs, ours| {
            let is_sorted = !case.text().iter().any(|word| word.contains("--nosort"));
            let same = same_but_output(theirs, ours) && sorted(&text(&theirs.output)) == sorted(&text(&ours.output));
            is_sorted && same && is_in_numeric_order(&text(&ours.output))
        },
    },
    Deviation {
        name: "unsigned marks",
        reason: "a negative mark cannot be restored",
        explains: |_, theirs, ours| {
            let has_negative = ["FWM  -", "-f -"].iter().any(|negative| text(&theirs.output).contains(negative));
            has_negative && same_list(theirs, ours)
        },
    },
    Deviation {
        name: "only commas",
        reason: "ipvsadm crashes",
        explains: |_, theirs, ours| {
            let says = text(&ours.errors).contains("invalid scheduler flag `,");
            theirs.status.code().is_none() && says && ours.status.code() == Some(2) && !ours.changed
        },
    },
    Deviation {
        name: "numbers of lines",
        reason: "an error in a long input must be found",
        explains: |case, theirs, ours| {
            let same = (theirs.status, &theirs.state) == (ours.status, &ours.state) && same_but_order(theirs, ours);
            is_restore(case) && same && without_numbers(ours) == text(&theirs.errors)
        },
    },
    Deviation {
        name: "status of a restore",
        reason: "it tells that a line failed; with ipvsadm, whether the last one did",
        explains: |case, theirs, ours| {
            let same = same_but_order(theirs, ours) && theirs.state == ours.state;
            let statuses = theirs.status.success() && ours.status.code() == Some(255);
            is_restore(case) && same && statuses && without_numbers(ours) == text(&theirs.errors)
        },
    },
    Deviation {
        name: "a restore is checked first",
        reason: "ipvsadm does what stands before a mistake",
        explains: |case, theirs, ours| {
            let known = without_numbers(ours);
            let told = text(&theirs.errors).lines().all(|line| known.lines().any(|known| known == line));
            is_restore(case) && !theirs.errors.is_empty() && told && !ours.changed && !ours.status.success()
        },
    },
    Deviation {
        name: "a restore goes on",
        reason: "a list that fails ends that of ipvsadm",
        explains: |case, theirs, ours| {
            let codes = (theirs.status.code(), ours.status.code()) == (Some(1), Some(1));
            is_restore(case) && codes && without_numbers(ours).starts_with(&*text(&theirs.errors))
        },
    },
    Deviation {
        name: "comments",
        reason: "ipvsadm takes them for commands",
        explains: |case, theirs, ours| {
            let has_some = text(&case.input).lines().any(|line| line.trim_start().starts_with('#'));
            let taken = ours.errors.is_empty() && ours.status.success();
            is_restore(case) && has_some && text(&theirs.errors).starts_with("Try ") && taken
        },
    },
    Deviation {
        name: "long words",
        reason: "ipvsadm splits a word of a restore after 4,096 bytes",
        explains: |case, theirs, ours| {
            let has_one = text(&case.input).split_whitespace().any(|word| word.len() > 4096);
            let is_split = text(&theirs.errors).starts_with("unexpected argument ") && theirs.status.code() == Some(2);
            is_restore(case) && has_one && is_split && ours.status.code() == Some(255)
        },
    },
    Deviation {
        name: "a full disk",
        reason: "a save that is not there must not look like one",
        explains: |case, theirs, ours| {
            let told = text(&ours.errors).starts_with("cannot write: ") && ours.status.code() == Some(1);
            case.around == Around::FullDisk && theirs.status.success() && told && theirs.state == ours.state
        },
    },
    Deviation {
        name: "the next word within a value",
        reason: "an accident of popt's, which has it for aliases",
        explains: |case, _, ours| {
            let has_it = case.text().iter().any(|word| word.contains("!#:+"));
            has_it && ours.status.code() == Some(2) && !ours.changed
        },
    },
];

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn is_restore(case: &Case) -> bool {
    matches!(case.text().as_slice(), ["-R" | "--restore"])
}

fn same_but_output(theirs: &Outcome, ours: &Outcome) -> bool {
    (theirs.status, &theirs.errors, &theirs.state) == (ours.status, &ours.errors, &ours.state)
}

/// Whether the outputs are the same, or differ by the numeric order alone.
fn same_but_order(theirs: &Outcome, ours: &Outcome) -> bool {
    let [before, after] = [theirs, ours].map(|outcome| text(&outcome.output));
    before == after || (sorted(&before) == sorted(&after) && is_in_numeric_order(&after))
}

/// Its errors without the `line 3: ` before each.
fn without_numbers(outcome: &Outcome) -> String {
    let errors = text(&outcome.errors);
    let line = |line: &str| {
        let rest = line.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        format!("{}\n", rest.map_or(line, |(_, rest)| rest))
    };
    errors.lines().map(line).collect()
}

/// Whether the outputs are the same but for what one list may have of each of: the order and marks.
fn same_list(theirs: &Outcome, ours: &Outcome) -> bool {
    same_but_output(theirs, ours) && unsigned(&text(&theirs.output)) == unsigned(&text(&ours.output))
}

/// Whether services stand by mark, family, protocol, address and port, and destinations by address and port. Names say
/// nothing about it.
fn is_in_numeric_order(list: &str) -> bool {
    // A list and a save may follow each other, and so may lists.
    let mut services = Vec::new();
    let mut destinations = Vec::new();
    let mut saves = false;
    for line in list.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let (starts_list, is_saved) = (words.first() == Some(&"Prot"), words.first() == Some(&"-A"));
        if starts_list || (is_saved && !saves) {
            if !services.is_sorted() || !destinations.is_sorted() {
                return false;
            }
            services.clear();
            destinations.clear();
            saves = is_saved;
        }
        match words[..] {
            ["->", at, ..] | ["-a", _, _, "-r", at, ..] => destinations.extend(at.parse::<SocketAddr>()),
            [kind @ ("TCP" | "UDP" | "SCTP" | "FWM"), at, third, ..]
            | ["-A", kind @ ("-t" | "-u" | "--sctp-service" | "-f"), at, third, ..] => {
                if !destinations.is_sorted() {
                    return false;
                }
                destinations.clear();
                let protocol =
                    ["TCP", "-t", "UDP", "-u", "SCTP", "--sctp-service"].iter().position(|known| *known == kind);
                match (at.parse::<u32>(), at.parse::<SocketAddr>()) {
                    (Ok(mark), _) => services.push((mark, matches!(third, "IPv6" | "-6"), None, None)),
                    (_, Ok(at)) => services.push((0, at.is_ipv6(), protocol.map(|place| place / 2), Some(at))),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    services.is_sorted() && destinations.is_sorted()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// With marks as the kernel has them. Columns move with the sign, so they are not there.
fn unsigned(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let mark = words.iter().position(|word| ["FWM", "-f"].contains(&word.as_str()));
        if let Some(mark) = mark.and_then(|before| words.get_mut(before + 1)) {
            if let Ok(negative) = mark.parse::<i32>() {
                *mark = u32::from_ne_bytes(negative.to_ne_bytes()).to_string();
            }
        }
        words.join(" ") + "\n"
    };
    sorted(&text.lines().map(line).collect::<String>())
}
