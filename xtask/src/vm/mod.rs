//! A virtual machine for one command: get a kernel, build an initramfs, boot it, see how the command ended.
mod apt;
pub(crate) mod arch;
pub(crate) mod cache;
pub(crate) mod carrier;
mod cpio;
pub(crate) mod debian;
pub(crate) mod initramfs;
pub(crate) mod kernel;
mod modules;
pub(crate) mod qemu;
pub(crate) mod report;
mod terminal;
mod tools;

use crate::cargo::{self, Programs};
use crate::{Interrupted, Usage, exit_code, host, step};
use anyhow::{Context, Result, bail};
use arch::X86_64;
use cache::Cache;
use carrier::{Ending, Signals, Streams};
use debian::Wanted;
use initramfs::{Clock, Job, Session, example_path};
use kernel::Kernel;
use qemu::{Machine, Run};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The kernel to boot.
pub(crate) enum Choice {
    Debian(Wanted),
    Own { image: PathBuf, modules: PathBuf },
}

/// Options of both `demo` and `vm`.
pub(crate) struct Options {
    pub(crate) choice: Option<Choice>,
    pub(crate) timeout: Option<Duration>,
}

impl Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Debian(wanted) => f.write_str(&wanted.name()),
            Self::Own { image, .. } => image.display().fmt(f),
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(300);
const CONSOLE_LINES_SHOWN: usize = 25;

/// Runs the example `quickstart`.
pub(crate) fn demo(options: &Options) -> Result<ExitCode> {
    step("building the example");
    let example = cargo::build_one(Programs::Example("quickstart"), &X86_64)?;
    let path = example_path("quickstart");
    let job = Job {
        command: vec![path.clone()],
        session: Session::Plain,
        clock: Clock::Real,
        programs: vec![(example, path)],
        files: Vec::new(),
    };
    run(options, &job)
}

/// Runs a rolling update under load through the service proxy.
pub(crate) fn demo_of_proxy(options: &Options) -> Result<ExitCode> {
    step("building the service proxy");
    let programs = cargo::build(Programs::ServiceProxy, &X86_64)?;
    let programs = programs.into_iter().map(|program| (program.file, example_path(&program.name))).collect();
    let command = vec![example_path("rolling_update")];
    run(options, &Job { command, session: Session::Plain, clock: Clock::Real, programs, files: Vec::new() })
}

/// Runs a command, or a shell if none is given.
pub(crate) fn command(options: &Options, files: &[String], command: Vec<String>) -> Result<ExitCode> {
    let files = files.iter().map(|file| parse_file(file)).collect::<Result<_>>()?;
    let input_is_terminal = io::stdin().is_terminal();
    let session = match (command.is_empty(), input_is_terminal) {
        (true, true) => Session::Terminal,
        (false, true) => Session::Plain,
        (_, false) => Session::Input,
    };
    let command = match command.as_slice() {
        [] if session == Session::Terminal => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), terminal::shell()]
        }
        [] => vec!["sh".to_owned()],
        [script] if script.contains(char::is_whitespace) => {
            vec!["sh".to_owned(), "-c".to_owned(), script.clone()]
        }
        _ => command,
    };
    step("building the examples");
    let mut examples = cargo::build(Programs::AllExamples, &X86_64)?;
    examples.append(&mut cargo::build(Programs::ServiceProxy, &X86_64)?);
    let programs = examples.into_iter().map(|example| (example.file, example_path(&example.name))).collect();
    run(options, &Job { command, session, clock: Clock::Real, programs, files })
}

/// Boots a machine for a job and passes on its streams and exit status.
fn run(options: &Options, job: &Job) -> Result<ExitCode> {
    host::install(X86_64.boot_tools)?;
    let guest = cargo::build_one(Programs::Guest, &X86_64)?;
    let choice = options.choice.as_ref().context("no kernel")?;
    let kernel = get(choice)?;
    let streams =
        Streams { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()), results: Box::new(io::sink()) };
    let timeout = match (options.timeout, job.session) {
        (None, Session::Terminal) => None,
        (timeout, _) => Some(timeout.unwrap_or(TIMEOUT)),
    };
    let run = boot(&kernel, &guest, job, timeout, streams, &Signals::catch()?)?;
    match run.ending {
        Ending::Exit(status) => Ok(exit_code(status)),
        Ending::Interrupted(signal) => bail!(Interrupted(signal)),
        // The status of a program that was killed by SIGPIPE.
        Ending::OutputClosed => Ok(exit_code(128 + 13)),
        _ => bail!("{}: {}", kernel.release, failure(&run, timeout)),
    }
}

/// Gets a kernel ready to boot.
pub(crate) fn get(choice: &Choice) -> Result<Kernel> {
    let wanted = match choice {
        Choice::Own { image, modules } => return Kernel::from_files(image, modules),
        Choice::Debian(wanted) => *wanted,
    };
    let cache = Cache::open()?;
    tools::fetch(&cache, wanted.arch)?;
    for release in wanted.choose(cache.releases()) {
        match cache.load(&release, wanted.arch) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => {
                step(format_args!("the kept kernel {release} is damaged ({error:#}): getting it anew"));
                cache.remove(&release)?;
            }
        }
    }
    let release = debian::fetch(&cache, wanted)?;
    cache.load(&release, wanted.arch)
}

/// Boots a kernel for a job.
pub(crate) fn boot(
    kernel: &Kernel,
    guest: &Path,
    job: &Job,
    timeout: Option<Duration>,
    streams: Streams<'_>,
    signals: &Signals,
) -> Result<Run> {
    let initramfs = initramfs::build(kernel, guest, job)?;
    let hint = if job.session == Session::Terminal { " (Ctrl-] stops it)" } else { "" };
    step(format_args!("booting {}{hint}", kernel.release));
    let machine = Machine {
        arch: kernel.arch,
        image: &kernel.image,
        initramfs: &initramfs,
        session: job.session,
        clock: job.clock,
        timeout,
    };
    let _raw = (job.session == Session::Terminal).then(terminal::Raw::enter).transpose()?;
    qemu::run(&machine, streams, signals)
}

/// Prints the end of a machine's console output. Returns the reason why it gave no exit status.
pub(crate) fn failure(run: &Run, timeout: Option<Duration>) -> String {
    let console = String::from_utf8_lossy(&run.console).replace('\r', "");
    let lines: Vec<&str> = console.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.get(lines.len().saturating_sub(CONSOLE_LINES_SHOWN)..).unwrap_or_default();
    let mut errors = io::stderr().lock();
    let _ = writeln!(
        errors,
        "xtask: {}",
        if shown.is_empty() { "the console of the machine is empty" } else { "the end of the machine's console:" }
    );
    for line in shown {
        let _ = writeln!(errors, "    {line}");
    }
    match &run.ending {
        Ending::TimedOut => format!("stopped after {} seconds", timeout.unwrap_or_default().as_secs()),
        Ending::Refused(reason) => reason.clone(),
        _ if console.contains("Kernel panic") => "the kernel panicked".to_owned(),
        _ => "the machine stopped before the command had ended".to_owned(),
    }
}

/// `SRC[:DST]`, where a DST that ends in a slash, or none, keeps the name.
fn parse_file(text: &str) -> Result<(PathBuf, String)> {
    let (source, target) = text.split_once(':').unwrap_or((text, "/root/"));
    let source = PathBuf::from(source);
    let full = source.canonicalize().map_err(|error| Usage(format!("--file {}: {error}", source.display())))?;
    let name = full.file_name().unwrap_or_default().to_string_lossy();
    let target = if target.ends_with('/') { format!("{target}{name}") } else { target.to_owned() };
    Ok((full, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_name_unless_they_get_one() {
        let target = |text| parse_file(text).unwrap().1;
        assert_eq!(target("/etc/passwd"), "/root/passwd");
        assert_eq!(target("/etc/passwd:/x/"), "/x/passwd");
        assert_eq!(target("/etc/passwd:/x/y"), "/x/y");
        assert!(parse_file("/no/such/file").unwrap_err().is::<Usage>());
    }
}
