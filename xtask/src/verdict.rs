//! Judges what the kernel tests gave on each kernel, and sums it up.
use crate::vm::report::{Outcome, Report};
use std::fmt::Write as _;

/// Kernel tests that may be ignored: kernel line, test, reason. All others must run on every promised kernel.
const MAY_BE_IGNORED: &[(&str, &str, &str)] = &[];

/// Outcome of the tests on one kernel.
pub(crate) struct Verdict {
    /// The kernel's release, or the name of its line if no kernel could be started.
    pub(crate) kernel: String,
    results: Vec<(String, Outcome)>,
    /// Why the run is no good, besides failed tests.
    problems: Vec<String>,
}

impl Verdict {
    /// Judges a run that gave this report, and possibly a reason why it did not end well.
    pub(crate) fn new(kernel: &str, line: Option<&str>, report: &Report, bad_end: Option<String>) -> Self {
        let problems = bad_end.into_iter().chain(problems(line, report)).collect();
        let results = report.results.iter().map(|result| (result.name.clone(), result.outcome.clone()));
        Self { kernel: kernel.to_owned(), results: results.collect(), problems }
    }

    /// The tests could not even begin.
    pub(crate) fn of_failure(kernel: &str, reason: String) -> Self {
        Self { kernel: kernel.to_owned(), results: Vec::new(), problems: vec![reason] }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty() && self.failed() == 0
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.results.iter().filter(|(_, outcome)| wanted(outcome)).count()
    }

    fn passed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Passed)
    }

    fn failed(&self) -> usize {
        self.count(is_failure)
    }

    fn ignored(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Ignored(_)))
    }

    fn word_for(&self, test: &str) -> &'static str {
        match self.results.iter().find(|(name, _)| name == test) {
            Some((_, Outcome::Passed)) => "ok",
            Some((_, Outcome::Failed)) => "FAILED",
            Some((_, Outcome::Ignored(_))) => "ignored",
            Some((_, Outcome::Unfinished)) => "UNFINISHED",
            None => "no result",
        }
    }
}

fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed | Outcome::Unfinished)
}

/// Returns the problems of a report, besides failed tests.
fn problems(line: Option<&str>, report: &Report) -> Vec<String> {
    let listed = |name: &str| MAY_BE_IGNORED.iter().any(|(on, test, _)| Some(*on) == line && *test == name);
    let mut problems = Vec::new();
    for result in &report.results {
        match &result.outcome {
            // A kernel of the user's own may lack anything.
            Outcome::Ignored(reason) if line.is_some() && !listed(&result.name) => {
                problems.push(format!("{} must run on this kernel, but was ignored: {reason}", result.name));
            }
            _ => {}
        }
    }
    let ended = report.results.iter().filter(|result| result.outcome != Outcome::Unfinished).count();
    match report.announced {
        Some(announced) if announced != ended => {
            problems.push(format!("only {ended} of {announced} tests came to an end"))
        }
        Some(_) if report.results.iter().any(|result| !matches!(result.outcome, Outcome::Ignored(_))) => {}
        _ => problems.push("no test ran".to_owned()),
    }
    problems
}

/// How many tests passed, failed and were ignored.
pub(crate) fn counts(verdicts: &[Verdict]) -> String {
    let sum = |count: fn(&Verdict) -> usize| verdicts.iter().map(count).sum::<usize>();
    format!("{} passed, {} failed, {} ignored", sum(Verdict::passed), sum(Verdict::failed), sum(Verdict::ignored))
}

/// A table of all tests and kernels, the problems, and a line of counts.
pub(crate) fn summary(verdicts: &[Verdict]) -> String {
    const TITLE: &str = "kernel test";
    let mut names: Vec<&str> =
        verdicts.iter().flat_map(|verdict| &verdict.results).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let width = names.iter().map(|name| name.len()).fold(TITLE.len(), usize::max);
    let mut text = format!("\n{TITLE:width$}");
    for verdict in verdicts {
        let _ = write!(text, "  {}", verdict.kernel);
    }
    for name in names {
        let mut row = format!("\n{name:width$}");
        for verdict in verdicts {
            let _ = write!(row, "  {:column$}", verdict.word_for(name), column = verdict.kernel.len());
        }
        text.push_str(row.trim_end());
    }
    text.push_str("\n\n");
    for verdict in verdicts {
        // Once more at the end, where one looks first, and which is left when a log is cut.
        for (test, _) in verdict.results.iter().filter(|(_, outcome)| is_failure(outcome)) {
            let _ = writeln!(text, "FAILED on {}: {test}", verdict.kernel);
        }
        for problem in &verdict.problems {
            let _ = writeln!(text, "FAILED on {}: {problem}", verdict.kernel);
        }
    }
    let kernels: Vec<&str> = verdicts.iter().map(|verdict| verdict.kernel.as_str()).collect();
    let plural = if kernels.len() == 1 { "" } else { "s" };
    let _ =
        write!(text, "kernel tests: {} on {} kernel{plural} ({})", counts(verdicts), kernels.len(), kernels.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::report;

    fn report(announced: usize, results: &[(&str, Outcome)]) -> Report {
        let results =
            results.iter().map(|(name, outcome)| report::Result { name: (*name).to_owned(), outcome: outcome.clone() });
        let mut report = Report::default();
        report.announced = Some(announced);
        report.results.extend(results);
        report
    }

    #[test]
    fn an_ignored_test_is_a_problem_on_a_promised_kernel_only() {
        let report = report(2, &[("a", Outcome::Passed), ("b", Outcome::Ignored("none".to_owned()))]);
        assert_eq!(problems(Some("6.1"), &report), ["b must run on this kernel, but was ignored: none"]);
        assert_eq!(problems(None, &report), Vec::<String>::new());
    }

    #[test]
    fn a_run_of_nothing_or_of_less_than_announced_is_a_problem() {
        assert_eq!(problems(None, &report(0, &[])), ["no test ran"]);
        assert_eq!(problems(None, &report(1, &[("a", Outcome::Ignored(String::new()))])), ["no test ran"]);
        assert_eq!(problems(None, &report(2, &[("a", Outcome::Passed)])), ["only 1 of 2 tests came to an end"]);
        assert_eq!(problems(None, &report(1, &[("a", Outcome::Unfinished)])), ["only 0 of 1 tests came to an end"]);
        assert_eq!(problems(None, &Report::default()), ["no test ran"]);
        assert_eq!(problems(Some("6.1"), &report(1, &[("a", Outcome::Passed)])), Vec::<String>::new());
    }

    #[test]
    fn the_summary_names_each_test_and_kernel_and_ends_in_counts() {
        let verdict =
            |kernel, outcome| Verdict::new(kernel, None, &report(2, &[("a", Outcome::Passed), ("b", outcome)]), None);
        let verdicts = [
            verdict("6.1.0", Outcome::Passed),
            verdict("7.3.4", Outcome::Failed),
            Verdict::of_failure("6.12", "no network".to_owned()),
        ];
        let expected = "\nkernel test  6.1.0  7.3.4  6.12\na            ok     ok     no result\nb            ok     FAILED  no result\n\n\
                        FAILED on 7.3.4: b\nFAILED on 6.12: no network\n\
                        kernel tests: 3 passed, 1 failed, 0 ignored on 3 kernels (6.1.0, 7.3.4, 6.12)";
        assert_eq!(summary(&verdicts), expected);
        assert!(!verdicts[1].is_good() && !verdicts[2].is_good() && verdicts[0].is_good());
    }
}
