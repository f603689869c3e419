//! Where `ipset-rs` does other than `ipset`, on purpose.

use std::os::unix::process::ExitStatusExt;

use super::bench::{Case, Outcome};

/// A difference that is known.
pub(crate) struct Deviation {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// Whether the two have other sets afterwards.
    pub(crate) other_sets: bool,
    /// Whether it, and nothing else, made these outcomes differ.
    pub(crate) explains: fn(&Case, &Outcome, &Outcome) -> bool,
}

/// An output without what is named here: `forceadd`, escapes, the quotes of JSON, and maybe the order of the lines.
fn plain(text: &str, any_order: bool) -> String {
    let replaced = [
        (" forceadd", ""),
        ("<forceadd/>", ""),
        ("      \"forceadd\" : true,\n", ""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", ""),
        ("&amp;", "&"),
        ("\\\"", ""),
        ("\\\\", "\\"),
        ("\"", ""),
    ];
    let text = replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let mut lines: Vec<_> = text.lines().map(|line| line.trim_end_matches(',')).collect();
    if any_order {
        lines.sort_unstable();
    }
    lines.join("\n")
}

/// Whether two outcomes are the same but for that.
fn is_alike(theirs: &Outcome, ours: &Outcome, any_order: bool) -> bool {
    let output = theirs.is_same_text(&plain(&theirs.output, any_order), &plain(&ours.output, any_order));
    output && theirs.status == ours.status && theirs.errors == ours.errors
}

fn is_sorted(case: &Case) -> bool {
    ["-s", "-sorted", "--sorted"].iter().any(|word| case.has(word))
}

pub(crate) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        name: "forceadd",
        reason: "ipset does not list it, so that its save restores another set",
        other_sets: false,
        explains: |_, theirs, ours| ours.output.contains("forceadd") && is_alike(theirs, ours, false),
    },
    Deviation {
        name: "no-json",
        reason: "ipset writes JSON since 7.18",
        other_sets: false,
        explains: |case, theirs, _| case.has("json") && theirs.errors.contains("unknown output mode 'json'"),
    },
    Deviation {
        name: "escapes",
        reason: "what ipset writes cannot be parsed",
        other_sets: false,
        explains: |case, theirs, ours| (case.has("xml") || case.has("json")) && is_alike(theirs, ours, false),
    },
    Deviation {
        name: "json-save-terse",
        reason: "what ipset writes for a terse save cannot be parsed",
        other_sets: false,
        explains: |case, theirs, ours| {
            let save = ["save", "s", "-S"].iter().any(|word| case.has(word));
            case.has("json") && save && case.has("-t") && theirs.status == ours.status && theirs.errors == ours.errors
        },
    },
    Deviation {
        name: "save-names",
        reason: "ipset repeats the name of a set in a save of names for each message of the kernel",
        other_sets: false,
        explains: |case, theirs, ours| {
            let mut lines: Vec<_> = theirs.output.lines().collect();
            lines.dedup();
            case.has("-n") && theirs.status == ours.status && lines == ours.output.lines().collect::<Vec<_>>()
        },
    },
    Deviation {
        name: "sorted",
        reason: "what ipset sorts by is no order: it depends on what stands behind an entry",
        other_sets: false,
        explains: |case, theirs, ours| is_sorted(case) && is_alike(theirs, ours, true),
    },
    Deviation {
        name: "sorted-cut",
        reason: "ipset loses the port of an entry at the end of a page of a sorted list",
        other_sets: false,
        explains: |case, theirs, ours| {
            let [their_lines, our_lines] = [theirs, ours].map(|outcome| plain(&outcome.output, false));
            let has = |lines: &str, line: &str| lines.lines().any(|known| known == line);
            let lost: Vec<_> = their_lines.lines().filter(|line| !has(&our_lines, line)).collect();
            let whole: Vec<_> = our_lines.lines().filter(|line| !has(&their_lines, line)).collect();
            let is_cut = |(cut, whole): (&&str, &&str)| {
                whole.match_indices(':').any(|(at, _)| {
                    let (before, port) = whole.split_at(at);
                    let end = port.find([' ', ',']).unwrap_or(port.len());
                    **cut == format!("{before}{}", &port[end..])
                })
            };
            is_sorted(case) && lost.len() == 1 && whole.len() == 1 && lost.iter().zip(&whole).all(is_cut)
        },
    },
    Deviation {
        name: "crash",
        reason: "ipset crashes with ICMP in a bitmap:port",
        other_sets: true,
        explains: |_, theirs, ours| theirs.status.signal() == Some(11) && ours.status.code() == Some(1),
    },
    Deviation {
        name: "help",
        reason: "the text is another one",
        other_sets: false,
        explains: |case, theirs, ours| case.has("help") && theirs.status == ours.status && theirs.errors == ours.errors,
    },
    Deviation {
        name: "restore-goes-on",
        reason: "ipset ends with status 0 at a test or an ignored option, or loses what is before a quit",
        other_sets: true,
        explains: |case, theirs, ours| {
            case.has("restore")
                && theirs.status.success()
                && ours.status.success()
                && (case.has("test") || case.has("quit") || ours.errors.contains("is ignored"))
        },
    },
    Deviation {
        name: "restore-keeps",
        reason: "ipset drops up to a page of entries before a line that is wrong in itself",
        other_sets: true,
        explains: |case, theirs, ours| {
            let line = |outcome: &Outcome| -> Option<usize> {
                outcome.errors.split_once("Error in line ")?.1.split(':').next()?.parse().ok()
            };
            // Among those that it drops, one may be wrong for the kernel.
            let is_first =
                ours.status.code() == Some(1) && line(ours).is_some() && line(ours) < line(theirs).or(Some(usize::MAX));
            let is_equal = theirs.status == ours.status && theirs.errors == ours.errors;
            let outputs = theirs.is_same_text(&plain(&theirs.output, false), &plain(&ours.output, false));
            case.has("restore") && !theirs.status.success() && outputs && (is_first || is_equal)
        },
    },
    Deviation {
        name: "restore-exist",
        reason: "ipset lets -exist inside of a line hold from the next batch only",
        other_sets: true,
        explains: |case, theirs, ours| {
            let inside = case.input.contains("-exist") || case.input.contains("-!");
            case.has("restore") && inside && theirs.status.code() == Some(1) && ours.status.success()
        },
    },
];
