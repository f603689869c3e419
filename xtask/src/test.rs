//! Runs all tests: on this machine, then those that need a kernel on each of the kernels.
use crate::cargo::{self, Programs};
use crate::vm::initramfs::{Job, Session};
use crate::vm::kernel::Kernel;
use crate::vm::qemu::{Ending, Streams};
use crate::vm::report::{Outcome, Report};
use crate::vm::{self, Choice};
use crate::{host, step};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Kernel tests that may be ignored: kernel line, test, reason. All others must run everywhere.
const MAY_BE_IGNORED: &[(&str, &str, &str)] = &[];

/// Where the kernel tests are in the guest.
const PROGRAM: &str = "/vm/kernel-tests";
/// Results have a channel of their own, so that nothing a test prints can be taken for one.
const RESULTS: &str = "/dev/virtio-ports/results";

const OUTPUT_LINES_SHOWN: usize = 60;

/// Runs everything; a filter chooses tests by their names.
pub(crate) fn run(choices: &[Choice], timeout: Duration, filter: Option<&str>) -> Result<ExitCode> {
    let on_host = host_tests(filter)?;
    step("building the kernel tests");
    let tests = cargo::build_one(Programs::KernelTests)?;
    if list(&tests, filter)? == 0 {
        ensure!(
            filter.is_some() && on_host > 0,
            "no test ran: {}",
            if filter.is_some() { "none has such a name" } else { "there are no kernel tests" }
        );
        say(&format!("kernel tests: none has such a name; {on_host} tests passed on this machine"));
        return Ok(ExitCode::SUCCESS);
    }
    host::install_missing()?;
    let guest = cargo::build_one(Programs::Guest)?;
    let job = job(&tests, filter)?;
    let mut verdicts = Vec::new();
    for choice in choices {
        let kernel = vm::get(choice)?;
        let line = match choice {
            Choice::Debian(wanted) => Some(wanted.line()),
            Choice::Own { .. } => None,
        };
        match on_kernel(&kernel, line, &guest, &job, timeout)? {
            Some(verdict) => verdicts.push(verdict),
            None => bail!("interrupted"),
        }
    }
    say(&summary(&verdicts));
    Ok(if verdicts.iter().all(Verdict::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests of this machine and says how many passed.
fn host_tests(filter: Option<&str>) -> Result<usize> {
    let mut passed = 0;
    for (name, arguments) in [("unit and integration tests", "--all-targets"), ("documentation tests", "--doc")] {
        step(format_args!("{name} on this machine"));
        let mut child = cargo::command()
            .args(["test", "--workspace", "--all-features", arguments, "--"])
            .args(filter)
            .stdout(Stdio::piped())
            .spawn()
            .context("running cargo")?;
        for line in BufReader::new(child.stdout.take().context("the output of cargo")?).lines() {
            let line = line.context("the output of cargo")?;
            passed += passed_in(&line);
            say(&line);
        }
        ensure!(child.wait().context("waiting for cargo")?.success(), "{name} failed on this machine");
    }
    Ok(passed)
}

/// The count in a line such as `test result: ok. 5 passed; 0 failed; …`.
fn passed_in(line: &str) -> usize {
    let counts = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "));
    counts.and_then(|(_, counts)| counts.split_once(" passed")?.0.parse().ok()).unwrap_or(0)
}

/// How many kernel tests there are of such a name.
fn list(tests: &Path, filter: Option<&str>) -> Result<usize> {
    let output = host::output_of(Command::new(tests).arg("--list").args(filter))?;
    Ok(output.lines().filter(|line| line.ends_with(": test")).count())
}

fn job(tests: &Path, filter: Option<&str>) -> Result<Job> {
    step("building the examples");
    let examples = cargo::build(Programs::AllExamples)?;
    let mut programs: Vec<_> =
        examples.into_iter().map(|example| (example.file, vm::initramfs::example_path(&example.name))).collect();
    programs.push((tests.to_owned(), PROGRAM.to_owned()));
    let fixed = [PROGRAM, "--test-threads=1", "--color=never", "--logfile", RESULTS];
    let command = fixed.into_iter().chain(filter).map(String::from).collect();
    Ok(Job { command, session: Session::Results, programs, files: Vec::new() })
}

/// What came of the tests on one kernel.
struct Verdict {
    release: String,
    results: Vec<(String, Outcome)>,
    /// Why the run as a whole is no good, besides failed tests.
    problem: Option<String>,
}

impl Verdict {
    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.results.iter().filter(|(_, outcome)| wanted(outcome)).count()
    }

    fn passed(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Passed)
    }

    fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed | Outcome::Unfinished))
    }

    fn ignored(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Ignored(_)))
    }

    fn is_good(&self) -> bool {
        self.problem.is_none() && self.failed() == 0
    }
}

/// Runs the kernel tests on one kernel; nothing when the user stopped it.
fn on_kernel(
    kernel: &Kernel,
    line: Option<&str>,
    guest: &Path,
    job: &Job,
    timeout: Duration,
) -> Result<Option<Verdict>> {
    let started = Instant::now();
    let (mut report, mut output, mut errors) = (Report::default(), Vec::new(), Vec::new());
    let streams =
        Streams { stdout: Box::new(&mut output), stderr: Box::new(&mut errors), results: Box::new(&mut report) };
    let run = vm::boot(kernel, guest, job, Some(timeout), streams)?;
    let report = report.finish();
    let ended_badly = match run.ending {
        Ending::Exit(status) => {
            (status != 0 && !report.has_failures()).then(|| format!("the tests ended with status {status}"))
        }
        Ending::Interrupted(_) => return Ok(None),
        _ => Some(vm::failure(&kernel.release, &run, Some(timeout))),
    };
    let problem = ended_badly.or_else(|| problem(line, &report));
    let failures = report.failures.join("\n");
    let verdict = Verdict {
        release: kernel.release.clone(),
        results: report.results.into_iter().map(|result| (result.name, result.outcome)).collect(),
        problem,
    };
    if !verdict.is_good() {
        say(&format!("\nkernel {}: what the tests say of their failures:\n{failures}", verdict.release));
        for (name, text) in [("output", &output), ("errors", &errors)] {
            let text = String::from_utf8_lossy(text);
            let lines: Vec<&str> = text.lines().collect();
            let shown = lines.get(lines.len().saturating_sub(OUTPUT_LINES_SHOWN)..).unwrap_or_default();
            if !shown.is_empty() {
                say(&format!("kernel {}: the end of the tests' {name}:\n{}\n", verdict.release, shown.join("\n")));
            }
        }
    }
    step(format_args!(
        "{}: {} ({} s)",
        verdict.release,
        counts(std::slice::from_ref(&verdict)),
        started.elapsed().as_secs()
    ));
    Ok(Some(verdict))
}

/// What is wrong with a run that ended by itself.
fn problem(line: Option<&str>, report: &Report) -> Option<String> {
    let listed = |name: &str| MAY_BE_IGNORED.iter().any(|(on, test, _)| Some(*on) == line && *test == name);
    // A kernel of the user's own may lack anything.
    let must_run = |name: &str| line.is_some() && !listed(name);
    let ignored = report.results.iter().find_map(|result| match &result.outcome {
        Outcome::Ignored(reason) if must_run(&result.name) => {
            Some(format!("{} was ignored, but must run on this kernel: {reason}", result.name))
        }
        _ => None,
    });
    let lost = report.announced != Some(report.results.len());
    let none = report.results.iter().all(|result| matches!(result.outcome, Outcome::Ignored(_)));
    ignored
        .or_else(|| lost.then(|| "not all tests gave a result".to_owned()))
        .or_else(|| none.then(|| "no test ran".to_owned()))
}

fn counts(verdicts: &[Verdict]) -> String {
    let sum = |count: fn(&Verdict) -> usize| verdicts.iter().map(count).sum::<usize>();
    format!("{} passed, {} failed, {} ignored", sum(Verdict::passed), sum(Verdict::failed), sum(Verdict::ignored))
}

/// A table of all tests and kernels, the problems, and a line of counts.
fn summary(verdicts: &[Verdict]) -> String {
    let mut names: Vec<&str> =
        verdicts.iter().flat_map(|verdict| verdict.results.iter().map(|(name, _)| name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    let title = "kernel test";
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default().max(title.len());
    let mut text = format!("\n{title:width$}");
    for verdict in verdicts {
        let _ = write!(text, "  {}", verdict.release);
    }
    for name in names {
        let mut row = format!("\n{name:width$}");
        for verdict in verdicts {
            let word = match verdict.results.iter().find(|(of, _)| of == name) {
                Some((_, Outcome::Passed)) => "ok",
                Some((_, Outcome::Failed)) => "FAILED",
                Some((_, Outcome::Ignored(_))) => "ignored",
                Some((_, Outcome::Unfinished)) => "UNFINISHED",
                None => "no result",
            };
            let _ = write!(row, "  {word:column$}", column = verdict.release.len());
        }
        text.push_str(row.trim_end());
    }
    text.push_str("\n\n");
    for verdict in verdicts {
        if let Some(problem) = &verdict.problem {
            let _ = writeln!(text, "FAILED on {}: {problem}", verdict.release);
        }
    }
    let releases: Vec<&str> = verdicts.iter().map(|verdict| verdict.release.as_str()).collect();
    let kernels = if let [_] = verdicts { "kernel" } else { "kernels" };
    let _ =
        write!(text, "kernel tests: {} on {} {kernels} ({})", counts(verdicts), verdicts.len(), releases.join(", "));
    text
}

fn say(text: &str) {
    // The exit status tells the result even if nobody reads this.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::report;

    fn report_of(announced: usize, results: &[(&str, Outcome)]) -> Report {
        let results =
            results.iter().map(|(name, outcome)| report::Result { name: (*name).to_owned(), outcome: outcome.clone() });
        let mut report = Report::default();
        report.announced = Some(announced);
        report.results.extend(results);
        report
    }

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed_in("test result: ok. 15 passed; 0 failed; 2 ignored"), 15);
        assert_eq!(passed_in("test result: FAILED. 3 passed; 1 failed"), 3);
        assert_eq!(passed_in("test passed ... ok"), 0);
    }

    #[test]
    fn an_ignored_test_is_a_problem_on_a_promised_kernel_only() {
        let report = report_of(2, &[("a", Outcome::Passed), ("b", Outcome::Ignored("none".to_owned()))]);
        assert_eq!(problem(Some("6.1"), &report).unwrap(), "b was ignored, but must run on this kernel: none");
        assert_eq!(problem(None, &report), None);
    }

    #[test]
    fn a_run_of_nothing_or_of_less_than_announced_is_a_problem() {
        assert!(problem(Some("6.1"), &report_of(0, &[])).is_some());
        assert!(problem(None, &report_of(1, &[("a", Outcome::Ignored(String::new()))])).is_some());
        assert!(problem(Some("6.1"), &report_of(2, &[("a", Outcome::Passed)])).is_some());
        assert!(problem(Some("6.1"), &Report::default()).is_some());
        assert_eq!(problem(Some("6.1"), &report_of(1, &[("a", Outcome::Passed)])), None);
    }

    #[test]
    fn the_summary_names_each_test_and_kernel_and_ends_in_counts() {
        let verdict = |release: &str, outcome| Verdict {
            release: release.to_owned(),
            results: vec![("a".to_owned(), Outcome::Passed), ("b".to_owned(), outcome)],
            problem: None,
        };
        let text = summary(&[verdict("6.1.0", Outcome::Passed), verdict("7.3.4", Outcome::Failed)]);
        let expected = "\nkernel test  6.1.0  7.3.4\na            ok     ok\nb            ok     FAILED\n\n\
                        kernel tests: 3 passed, 1 failed, 0 ignored on 2 kernels (6.1.0, 7.3.4)";
        assert_eq!(text, expected);
    }
}
