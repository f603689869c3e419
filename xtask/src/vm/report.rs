//! Reads the results that a test program writes, line by line.
use std::io::{self, Write};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// With the reason, which may be empty.
    Ignored(String),
    /// It began and never ended.
    Unfinished,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Result {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

/// Output of a test program so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many tests it announced.
    pub(crate) announced: Option<usize>,
    pub(crate) results: Vec<Result>,
    /// Output of the failed tests.
    pub(crate) failures: Vec<String>,
    in_failures: bool,
    rest: Vec<u8>,
}

impl Report {
    fn line(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("running ").and_then(|rest| rest.split(' ').next()?.parse().ok()) {
            self.announced = Some(count);
        } else if let Some(result) = parse_result(line).filter(|_| !self.in_failures) {
            self.results.push(result);
        } else if line == "failures:" {
            // The second list has only the names.
            self.in_failures = self.failures.is_empty();
        } else if line.starts_with("test result:") {
            self.in_failures = false;
        } else if self.in_failures {
            self.failures.push(line.to_owned());
        }
    }

    /// Whether the test program had a reason to end with a failure: a test failed, and it got to its end.
    pub(crate) fn explains_failure(&self) -> bool {
        let failed = self.results.iter().any(|result| result.outcome == Outcome::Failed);
        failed && self.results.iter().all(|result| result.outcome != Outcome::Unfinished)
    }

    /// The whole report, with the test that was running at its end.
    pub(crate) fn finish(mut self) -> Self {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
        if let Some((name, _)) = rest.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.results.push(Result { name: name.trim().to_owned(), outcome: Outcome::Unfinished });
        }
        self
    }
}

impl Write for Report {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(data);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line such as `test ipvs::adding_twice   ... ignored (no IPVS)`.
fn parse_result(line: &str) -> Option<Result> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        ignored => {
            let reason = ignored.strip_prefix("ignored")?.trim();
            let inner = reason.strip_prefix('(').and_then(|reason| reason.strip_suffix(')'));
            Outcome::Ignored(inner.unwrap_or(reason).to_owned())
        }
    };
    Some(Result { name: name.trim().to_owned(), outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nrunning 4 tests\ntest ipvs::a         ... ok\ntest ipvs::bb        ... FAILED\n\
                        test ipset::c        ... ignored (this kernel (6.1) has none (yet))\ntest vip::d          ... ignored\n\n\
                        failures:\n\n---- ipvs::bb ----\nnot equal\ntest x ... ok\n\n\nfailures:\n    ipvs::bb\n\n\
                        test result: FAILED. 1 passed; 1 failed\n\n";

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        for piece in text.as_bytes().chunks(7) {
            report.write_all(piece).unwrap();
        }
        report.finish()
    }

    #[test]
    fn results_are_read_with_their_reasons() {
        let report = report(TEXT);
        let results: Vec<_> = report.results.into_iter().map(|result| (result.name, result.outcome)).collect();
        let expected = [
            ("ipvs::a", Outcome::Passed),
            ("ipvs::bb", Outcome::Failed),
            ("ipset::c", Outcome::Ignored("this kernel (6.1) has none (yet)".to_owned())),
            ("vip::d", Outcome::Ignored(String::new())),
        ];
        assert_eq!(results, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
        assert_eq!(report.announced, Some(4));
        assert!(report.failures.contains(&"not equal".to_owned()));
        assert!(report.failures.contains(&"test x ... ok".to_owned()));
        assert!(!report.failures.iter().any(|line| line.contains("    ipvs")));
    }

    #[test]
    fn a_test_that_never_ended_is_named() {
        let report = report("\nrunning 2 tests\ntest a ... ok\ntest b ... ");
        assert_eq!(report.results.last(), Some(&Result { name: "b".to_owned(), outcome: Outcome::Unfinished }));
    }
}
