//! Runs all tests: on this machine, then those that need a kernel on each of the kernels.
use crate::cargo::{self, Programs};
use crate::verdict::{Verdict, counts, summary};
use crate::vm::arch::Arch;
use crate::vm::carrier::{Ending, Signals, Streams};
use crate::vm::initramfs::{Clock, Job, RESULTS, Session};
use crate::vm::kernel::Kernel;
use crate::vm::report::Report;
use crate::vm::{self, Choice};
use crate::{Interrupted, Usage, host, step};
use anyhow::{Context, Result, bail, ensure};
use std::io::{self, BufRead, BufReader, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where the kernel tests are in the guest.
const PROGRAM: &str = "/vm/kernel-tests";

/// Groups of tests that take minutes each on an emulated processor of another architecture.
const SLOW: [&str; 5] = ["ipset_rs", "scale", "memory", "concurrency", "differential"];

/// Groups of tests that run the drop-in programs.
const OF_PROGRAMS: [&str; 7] = ["differential", "ipset_rs", "ipvsadm", "long_run", "lost", "names", "saved"];

/// The kernel on which these tests run the programs as the README's command builds them, with another C library.
const RELEASED_ON: &str = "6.12";

const OUTPUT_LINES_SHOWN: usize = 60;

/// Test program for each kernel, and its arguments.
struct Work<'a> {
    guest: &'a Path,
    job: Job,
    /// The job on [`RELEASED_ON`].
    released: Option<Job>,
    timeout: Duration,
    /// Only some tests are run: then what the passing ones print, such as figures, is shown.
    some: bool,
    signals: Signals,
}

/// Runs everything; a filter chooses tests by their names. For another architecture than this machine's only the kernel
/// tests are run, without the slow groups.
pub(crate) fn run(choices: &[Choice], arch: &Arch, timeout: Duration, filter: Option<&str>) -> Result<ExitCode> {
    let on_host = if arch.native { host_tests(filter)? } else { 0 };
    step("building the kernel tests");
    let tests = cargo::build_one(Programs::KernelTests, arch)?;
    if arch.native && list(&tests, filter)? == 0 {
        ensure!(
            filter.is_some() && on_host > 0,
            "no test ran: {}",
            if filter.is_some() { "no test has such a name" } else { "no kernel tests were found" }
        );
        say(&format!("kernel tests: no test has such a name ({on_host} passed on this machine)"))?;
        return Ok(ExitCode::SUCCESS);
    }
    host::install(arch.boot_tools)?;
    let guest = cargo::build_one(Programs::Guest, arch)?;
    let kernels: Vec<_> = choices.iter().map(|choice| (choice, vm::get(choice))).collect();
    let left_out = left_out(arch, filter);
    let job = job(&tests, arch, filter, &left_out)?;
    let released = choices.iter().any(|choice| line_of(choice) == Some(RELEASED_ON)) && arch.native;
    let released = if released && of_programs(filter) { Some(with_released_programs(&job)?) } else { None };
    let work = Work { guest: &guest, job, released, timeout, some: filter.is_some(), signals: Signals::catch()? };
    let verdict = &|choice: &Choice, kernel: Result<Kernel>| {
        let verdict = kernel.and_then(|kernel| on_kernel(choice, &kernel, &work));
        verdict.or_else(|error| {
            let hopeless = error.is::<Usage>() || error.is::<Interrupted>();
            // The other kernels may still do.
            if hopeless { Err(error) } else { Ok(Verdict::of_failure(&choice.to_string(), format!("{error:#}"))) }
        })
    };
    // All at once: three kernels on two processors, two at a time, would leave a processor idle for a third of the time.
    let verdicts = thread::scope(|scope| {
        let running: Vec<_> =
            kernels.into_iter().map(|(choice, kernel)| scope.spawn(move || verdict(choice, kernel))).collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?;
    say(&summary(&verdicts))?;
    if !left_out.is_empty() {
        say(&format!("left out as slow: {} (a filter with the name of a group runs it)", left_out.join(", ")))?;
    }
    let good = verdicts.iter().all(Verdict::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the tests of this machine and returns the number of passed ones.
fn host_tests(filter: Option<&str>) -> Result<usize> {
    let mut passed = 0;
    // The programs have no documentation tests, and would be built again for them.
    for (name, packages, targets) in [
        ("unit and integration tests", "--workspace", "--all-targets"),
        ("documentation tests", "--package=lvs", "--doc"),
    ] {
        step(format_args!("{name} on this machine"));
        let mut child = cargo::command()
            .args(["test", packages, "--all-features", targets, "--"])
            .args(filter)
            .stdout(Stdio::piped())
            .spawn()
            .context("running cargo")?;
        for line in BufReader::new(child.stdout.take().context("the output of cargo")?).lines() {
            let line = line.context("the output of cargo")?;
            passed += passed_in(&line);
            say(&line)?;
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

/// Returns the number of kernel tests with such a name.
fn list(tests: &Path, filter: Option<&str>) -> Result<usize> {
    let output = host::output_of(Command::new(tests).arg("--list").args(filter))?;
    Ok(output.lines().filter(|line| line.ends_with(": test")).count())
}

/// The groups of tests that are not run: on an emulated processor those that take minutes each, unless the filter names
/// them.
fn left_out(arch: &Arch, filter: Option<&str>) -> Vec<&'static str> {
    let slow: &[&str] = if arch.native { &[] } else { &SLOW };
    let named = |group: &str| filter.is_some_and(|filter| filter.contains("::") || filter.contains(group));
    slow.iter().copied().filter(|group| !named(group)).collect()
}

fn job(tests: &Path, arch: &Arch, filter: Option<&str>, left_out: &[&str]) -> Result<Job> {
    step("building the examples");
    let mut examples = cargo::build(Programs::AllExamples, arch)?;
    examples.append(&mut cargo::build(Programs::ServiceProxy, arch)?);
    let mut programs: Vec<_> =
        examples.into_iter().map(|example| (example.file, vm::initramfs::example_path(&example.name))).collect();
    programs.push((tests.to_owned(), PROGRAM.to_owned()));
    let fixed = [PROGRAM, "--test-threads=1", "--color=never", "--logfile", RESULTS];
    let skipped = left_out.iter().flat_map(|group| ["--skip".to_owned(), format!("{group}::")]);
    let command = fixed.into_iter().chain(filter).map(String::from).chain(skipped).collect();
    Ok(Job { command, session: Session::Results, clock: Clock::Real, programs, files: Vec::new() })
}

/// Whether tests of the programs run.
fn of_programs(filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| OF_PROGRAMS.iter().any(|group| filter.contains(group)))
}

/// The same job with the programs that the README's command builds.
fn with_released_programs(job: &Job) -> Result<Job> {
    step("building the programs as released");
    let mut job = job.clone();
    for program in cargo::build_released()? {
        let place = vm::initramfs::example_path(&program.name);
        job.programs.iter_mut().filter(|(_, to)| *to == place).for_each(|(file, _)| file.clone_from(&program.file));
    }
    Ok(job)
}

/// The kernel line of a choice; `None` for a kernel of the user's.
fn line_of(choice: &Choice) -> Option<&'static str> {
    match choice {
        Choice::Debian(wanted) => Some(wanted.line()),
        Choice::Own { .. } => None,
    }
}

/// Runs the kernel tests on one kernel.
fn on_kernel(choice: &Choice, kernel: &Kernel, work: &Work<'_>) -> Result<Verdict> {
    let started = Instant::now();
    let (mut report, mut output, mut errors) = (Report::default(), Vec::new(), Vec::new());
    let streams =
        Streams { stdout: Box::new(&mut output), stderr: Box::new(&mut errors), results: Box::new(&mut report) };
    let line = line_of(choice);
    let job = work.released.as_ref().filter(|_| line == Some(RELEASED_ON)).unwrap_or(&work.job);
    let run = vm::boot(kernel, work.guest, job, Some(work.timeout), streams, &work.signals)?;
    let report = report.finish();
    let bad_end = match run.ending {
        Ending::Exit(0) => None,
        Ending::Exit(_) if report.explains_failure() => None,
        Ending::Exit(status) => Some(format!("the test program ended with status {status}")),
        Ending::Interrupted(signal) => bail!(Interrupted(signal)),
        _ => Some(vm::failure(&run, Some(work.timeout))),
    };
    let verdict = Verdict::new(&kernel.release, line, &report, bad_end);
    if !verdict.is_good() {
        show(&kernel.release, "output of the failed tests", &report.failures)?;
    }
    if work.some || !verdict.is_good() {
        show(&kernel.release, "the end of the tests' output", &last_lines(&output))?;
    }
    if !verdict.is_good() {
        show(&kernel.release, "the end of the tests' errors", &last_lines(&errors))?;
    }
    let counts = counts(std::slice::from_ref(&verdict));
    step(format_args!("{}: {counts} ({} s)", kernel.release, started.elapsed().as_secs()));
    Ok(verdict)
}

fn last_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let skipped = text.lines().count().saturating_sub(OUTPUT_LINES_SHOWN);
    text.lines().skip(skipped).map(String::from).collect()
}

fn show(release: &str, what: &str, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    say(&format!("\nkernel {release}: {what}:\n{}", lines.join("\n")))
}

/// Writes a line of results. A reader that is gone loses only the text: the exit status has the result, too.
pub(crate) fn say(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("writing the results"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::arch::{S390X, X86_64};

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed_in("test result: ok. 15 passed; 0 failed; 2 ignored"), 15);
        assert_eq!(passed_in("test result: FAILED. 3 passed; 1 failed"), 3);
        assert_eq!(passed_in("test passed ... ok"), 0);
    }

    #[test]
    fn slow_groups_run_where_they_are_named() {
        assert_eq!(left_out(&X86_64, None), Vec::<&str>::new());
        assert_eq!(left_out(&S390X, None), SLOW);
        assert_eq!(left_out(&S390X, Some("ipset")), SLOW);
        assert_eq!(left_out(&S390X, Some("memory")), ["ipset_rs", "scale", "concurrency", "differential"]);
        assert_eq!(left_out(&S390X, Some("memory::a_list")), Vec::<&str>::new());
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let text: String = (0..100).map(|number| format!("{number}\n")).collect();
        let lines = last_lines(text.as_bytes());
        assert_eq!((lines.len(), lines[0].as_str()), (OUTPUT_LINES_SHOWN, "40"));
        assert_eq!(last_lines(b""), Vec::<String>::new());
    }
}
