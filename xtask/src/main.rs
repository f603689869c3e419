//! `cargo xtask`: how this project is checked, tested and tried.
mod api;
mod arrows;
mod bench;
mod cargo;
mod check;
mod fuzz;
mod host;
mod prose;
mod test;
mod verdict;
mod vm;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vm::arch::Arch;
use vm::debian::Wanted;
use vm::{Choice, Options};

/// How this project is checked, tested and tried.
///
/// Kernels are stock Debian ones, booted in QEMU with a small system made of this machine's own programs. They are
/// downloaded through the machine's apt once and kept in $LVS_CACHE, $XDG_CACHE_HOME/lvs or ~/.cache/lvs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks format, lints, documentation, prose, the lowest Rust, the public interface and dependencies.
    ///
    /// Needs the lowest Rust and cargo-deny. Advisories are left out where their database cannot be fetched.
    Check,
    /// Writes the list of the crate's public interface, docs/api.txt; needs the lowest Rust that is promised.
    Api {
        /// Compares instead.
        #[arg(long)]
        check: bool,
    },
    /// Runs all tests: on this machine, then those of `tests/kernel` on each supported kernel.
    Test {
        /// Architecture of the kernels: x86_64 or s390x, which is big-endian and always emulated. For s390x only
        /// kernel tests run; the slow groups are left out unless the filter names them.
        #[arg(long, value_name = "ARCH", value_parser = Arch::parse, default_value = "x86_64", conflicts_with = "kernel_image")]
        arch: &'static Arch,
        /// The kernel lines to test on: 6.1, 6.12, 7.x or a certain 7.N; all if not given.
        #[arg(long, value_name = "LINE", value_parser = Wanted::parse, conflicts_with = "kernel_image")]
        kernel: Vec<Wanted>,
        #[command(flatten)]
        own: OwnKernel,
        /// Seconds that one kernel's tests may take.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        timeout: u64,
        /// Only tests whose names contain this.
        filter: Option<String>,
    },
    /// Fuzzes every parser of the crate and its programs (`fuzz/`). Needs cargo-fuzz.
    ///
    /// Runs each target, or one. Inputs that reached new code are kept in the cache, and the next run begins with them.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        seconds: u64,
        /// Only this target.
        target: Option<String>,
    },
    /// Compares the library with the kernel's own cost and with the usual programs, in a virtual machine.
    ///
    /// Fails if a figure misses its bar. A full run on all kernels takes half an hour on two free processors, and
    /// writes the figures and plots to `docs`.
    Bench {
        /// The kernel lines to measure on; all if not given.
        #[arg(long, value_name = "LINE", value_parser = Wanted::parse)]
        kernel: Vec<Wanted>,
        /// Small tables only: some minutes.
        #[arg(long)]
        quick: bool,
        /// Seconds that one machine may take.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        timeout: u64,
        /// Works to measure; all if not given. `claims` measures the figures of `docs/claims.md`, at most 15 minutes a
        /// kernel.
        works: Vec<String>,
    },
    /// Runs the example `quickstart` in a virtual machine, or a rolling update through the service proxy.
    Demo {
        /// `proxy`: replaces a pod under live connections. Prints the pod that served, and the number of failures.
        #[arg(value_parser = ["quickstart", "proxy"], default_value = "quickstart")]
        name: String,
        #[command(flatten)]
        machine: OneMachine,
    },
    /// Runs a command, or a shell, in a virtual machine.
    ///
    /// The command runs as root, with its output, errors and exit status passed on, and input unless that is a
    /// terminal. On its PATH are ipvsadm, ipset, ip, iptables, busybox and then the examples of this crate (in
    /// /examples).
    Vm {
        #[command(flatten)]
        machine: OneMachine,
        /// A file or folder to copy into the machine (to /root if no DST is given).
        #[arg(long, value_name = "SRC[:DST]")]
        file: Vec<String>,
        /// The command to run, or a shell if none is given. One argument with spaces is run by `sh -c`.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct OneMachine {
    /// The kernel line to boot: 6.1, 6.12, 7.x or a certain 7.N; the newest if not given.
    #[arg(long, value_name = "LINE", value_parser = Wanted::parse, conflicts_with = "kernel_image")]
    kernel: Option<Wanted>,
    #[command(flatten)]
    own: OwnKernel,
    /// Seconds after which the machine is stopped; an interactive shell has no limit, others 300.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

#[derive(Args)]
struct OwnKernel {
    /// A kernel of your own: a bzImage or a vmlinux.
    #[arg(long, value_name = "PATH", requires = "modules")]
    kernel_image: Option<PathBuf>,
    /// The modules of your own kernel: its folder in /lib/modules.
    #[arg(long, value_name = "DIR", requires = "kernel_image")]
    modules: Option<PathBuf>,
}

impl OwnKernel {
    fn choice(self) -> Option<Choice> {
        Some(Choice::Own { image: self.kernel_image?, modules: self.modules? })
    }
}

impl OneMachine {
    fn options(self) -> Options {
        let newest = || self.kernel.or_else(|| Wanted::all().next_back()).map(Choice::Debian);
        Options { choice: self.own.choice().or_else(newest), timeout: self.timeout.map(Duration::from_secs) }
    }
}

/// An error in the command line or in a value on it.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user stopped the work, by this signal.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) i32);

impl Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Prints the slow step that begins.
pub(crate) fn step(what: impl Display) {
    // The task continues if standard error is closed.
    let _ = writeln!(std::io::stderr(), "xtask: {what}");
}

fn main() -> ExitCode {
    let task = match Arguments::try_parse() {
        Ok(arguments) => arguments.task,
        // A bad value is reported in one line, without a hint at the help.
        Err(error) if error.kind() == ErrorKind::ValueValidation => {
            let text = error.to_string();
            let _ = writeln!(std::io::stderr(), "{}", text.lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        // Help, which goes to standard output, or a mistake.
        Err(error) => return if error.print().is_ok() { exit_code(error.exit_code()) } else { ExitCode::FAILURE },
    };
    let status = match task {
        Task::Check => check::run(),
        Task::Api { check } => api::run(check),
        Task::Test { arch, kernel, own, timeout, filter } => {
            let lines = if kernel.is_empty() { Wanted::all().collect() } else { kernel };
            let lines = lines.into_iter().map(|line| Choice::Debian(line.on(arch)));
            let choices = own.choice().map_or_else(|| lines.collect(), |own| vec![own]);
            test::run(&choices, arch, Duration::from_secs(timeout), filter.as_deref())
        }
        Task::Fuzz { seconds, target } => fuzz::run(target.as_deref(), Duration::from_secs(seconds)),
        Task::Bench { kernel, quick, timeout, works } => {
            let lines = if kernel.is_empty() { Wanted::all().collect() } else { kernel };
            bench::run(&lines, &bench::Wish { quick, works, timeout: Duration::from_secs(timeout) })
        }
        Task::Demo { name, machine } if name == "proxy" => vm::demo_of_proxy(&machine.options()),
        Task::Demo { machine, .. } => vm::demo(&machine.options()),
        Task::Vm { machine, file, command } => vm::command(&machine.options(), &file, command),
    };
    status.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        match error.downcast_ref() {
            Some(Interrupted(signal)) => exit_code(128 + signal),
            None if error.is::<Usage>() => ExitCode::from(2),
            None => ExitCode::FAILURE,
        }
    })
}

/// A status as a shell would pass it on.
pub(crate) fn exit_code(status: i32) -> ExitCode {
    u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from)
}
