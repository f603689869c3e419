//! Where `ipset-rs` does other than `ipset`, on purpose.

use std::os::unix::process::ExitStatusExt;

use super::bench::{Case, Outcome, is_same};

/// A difference that is known.
pub(crate) struct Deviation {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    /// Whether the two have other sets afterwards.
    pub(crate) other_sets: bool,
    /// Whether it, and nothing else, made these outcomes differ.
    pub(crate) explains: fn(&Case, &Outcome, &Outcome) -> bool,
}

pub(crate) const DEVIATIONS: &[Deviation] = &[
    Deviation {
        name: "forceadd",
        reason: "ipset does not list it, so that its save restores another set",
        other_sets: false,
        explains: |_, theirs, ours| {
            let without = [" forceadd", "<forceadd/>", "      \"forceadd\" : true,\n"];
            let output = without.iter().fold(ours.output.clone(), |text, part| text.replace(part, ""));
            theirs.status == ours.status && ours.output.contains("forceadd") && is_same(&theirs.output, &output)
        },
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
        explains: |case, theirs, ours| {
            let escapes =
                [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&"), ("\\\"", "\""), ("\\\\", "\\")];
            let output = escapes.iter().fold(ours.output.clone(), |text, (escape, plain)| text.replace(escape, plain));
            (case.has("xml") || case.has("json")) && theirs.status == ours.status && is_same(&theirs.output, &output)
        },
    },
    Deviation {
        name: "json-markmask",
        reason: "a bare 0x number is no JSON",
        other_sets: false,
        explains: |case, theirs, ours| {
            let quoted = |text: &str| text.replace('"', "");
            case.has("json")
                && ours.output.contains("markmask")
                && is_same(&quoted(&theirs.output), &quoted(&ours.output))
        },
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
        reason: "what ipset compares names and IPv6 addresses by is no order: it depends on what stands behind them",
        other_sets: false,
        explains: |case, theirs, ours| {
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(|line| line.replace(" forceadd", "")).collect();
                lines.sort();
                lines.join("\n")
            };
            let is_asked = case.has("-s") || case.has("-sorted") || case.has("--sorted");
            is_asked && theirs.status == ours.status && is_same(&sorted(&theirs.output), &sorted(&ours.output))
        },
    },
    Deviation {
        name: "crash",
        reason: "ipset crashes with ICMP in a bitmap:port",
        other_sets: false,
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
        reason: "ipset ends with status 0 at a test, or loses what is before a quit",
        other_sets: true,
        explains: |case, theirs, ours| {
            case.has("restore")
                && theirs.status.success()
                && ours.status.success()
                && (case.has("test") || case.has("quit"))
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
            let is_same = theirs.status == ours.status && theirs.errors == ours.errors;
            let outputs = ours.output == theirs.output;
            case.has("restore") && !theirs.status.success() && outputs && (is_first || is_same)
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
