//! Compares the library with the kernel's own cost and with the usual programs, in virtual machines.
//!
//! The time of the first machine is a count of instructions, the time of the second is real.
mod bars;
mod figures;
mod plots;

use crate::cargo::{self, Programs};
use crate::test::say;
use crate::vm::arch::X86_64;
use crate::vm::carrier::{Ending, Signals, Streams};
use crate::vm::debian::Wanted;
use crate::vm::initramfs::{Clock, Job, RESULTS, Session, example_path};
use crate::vm::kernel::Kernel;
use crate::vm::{self, Choice};
use crate::{Interrupted, host, step};
use anyhow::{Context, Result, bail};
use bars::Standing;
use figures::Figures;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Where the program is in the guest.
const PROGRAM: &str = "/vm/bench";
/// How often each thing is measured, after a round that does not count.
const ROUNDS: &str = "3";

const METHOD: &str = "Everybody does the same work by turns, in one machine, after a round that does not count. A figure is \
the median of 3 rounds. Instructions: of the kernel and of the program together, counted by the emulator; spread is how far \
the rounds are apart. They repeat on any machine, but know nothing of caches. Time: of an emulated processor, which other work \
on this machine disturbs: good for the order of magnitude.";

/// Works of the program that `claims` stands for.
const CLAIMS: [&str; 4] = ["short connections", "nftables", "kube-proxy", "refreshes"];

/// The measurements to make.
pub(crate) struct Wish {
    pub(crate) quick: bool,
    /// Names of works; all if empty.
    pub(crate) works: Vec<String>,
    pub(crate) timeout: Duration,
}

impl Wish {
    /// Returns whether only the claims of `docs/claims.md` are wanted.
    fn claims(&self) -> bool {
        self.works == ["claims"]
    }

    /// Returns the kind of figures that are kept, which is part of their file's name.
    fn kept(&self) -> Option<&'static str> {
        if self.claims() { Some("claims") } else { self.works.is_empty().then_some("bench") }
    }
}

/// Measures on each of the kernels.
pub(crate) fn run(lines: &[Wanted], wish: &Wish) -> Result<ExitCode> {
    host::install(X86_64.boot_tools)?;
    step("building the measurements and the examples");
    let guest = cargo::build_one(Programs::Guest, &X86_64)?;
    let mut programs = vec![(cargo::build_one(Programs::Bench, &X86_64)?, PROGRAM.to_owned())];
    if wish.claims() {
        host::install(&[("nft", "nftables")])?;
    } else {
        let examples = cargo::build_released()?;
        programs.extend(examples.into_iter().map(|example| (example.file, example_path(&example.name))));
        programs.push((cargo::build_nothing()?, example_path("nothing")));
    }
    let size = if wish.quick { "quick" } else { "full" };
    let fixed = [PROGRAM, "measure", RESULTS, size, ROUNDS].map(String::from);
    // The works of the claims have a machine each: an interrupted run keeps the figures of the others.
    let parts: Vec<Vec<String>> =
        if wish.claims() { CLAIMS.map(|work| vec![work.to_owned()]).to_vec() } else { vec![wish.works.clone()] };
    let signals = Signals::catch()?;
    let mut good = true;
    for line in lines {
        let kernel = vm::get(&Choice::Debian(*line))?;
        let measured = |works: &[String], clock| {
            let job = Job {
                command: fixed.iter().chain(works).cloned().collect(),
                session: Session::Results,
                clock,
                programs: programs.clone(),
                files: Vec::new(),
            };
            measure(&kernel, &guest, &job, wish.timeout, &signals)
        };
        let mut figures = Figures(Vec::new());
        for works in &parts {
            // Each keeps one processor busy.
            let (instructions, time) =
                rayon::join(|| measured(works, Clock::Instructions), || measured(works, Clock::Real));
            figures.0.extend(Figures::join(&instructions?, &time?)?.0);
            if let Some(kind) = wish.kept() {
                keep(kind, wish.quick, &kernel.release, *line, &figures)?;
            }
        }
        say(&format!("\nkernel {}\n\n{}\n{METHOD}\n", kernel.release, figures.table()))?;
        // Bars are for the tables of the other works.
        let standings = if wish.claims() { Vec::new() } else { bars::check(&figures) };
        good &= !standings.iter().any(Standing::fails);
        for bar in &standings {
            say(&bar.to_string())?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the program in a machine and gives what it wrote.
fn measure(kernel: &Kernel, guest: &Path, job: &Job, timeout: Duration, signals: &Signals) -> Result<String> {
    let started = Instant::now();
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    let streams =
        Streams { stdout: Box::new(std::io::sink()), stderr: Box::new(&mut errors), results: Box::new(&mut results) };
    let run = vm::boot(kernel, guest, job, Some(timeout), streams, signals)?;
    let clock = if job.clock == Clock::Instructions { "instructions" } else { "time" };
    match run.ending {
        Ending::Exit(0) => {}
        Ending::Interrupted(signal) => bail!(Interrupted(signal)),
        Ending::Exit(status) => {
            let errors = String::from_utf8_lossy(&errors);
            let last: Vec<_> = errors.lines().rev().take(10).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            bail!("the measurements ended with status {status}:\n{}", last.join("\n"));
        }
        _ => bail!("{}: {}", kernel.release, vm::failure(&run, Some(timeout))),
    }
    step(format_args!("{}: {clock} measured ({} s)", kernel.release, started.elapsed().as_secs()));
    String::from_utf8(results).context("the results are no text")
}

/// Writes the figures and their plots where the README shows them; those of small tables elsewhere.
fn keep(kind: &str, quick: bool, release: &str, line: Wanted, figures: &Figures) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(if quick { "../target/bench" } else { "../docs" });
    fs::create_dir_all(&folder)?;
    step(format_args!("figures and pictures are in {}", folder.display()));
    let name = line.line();
    let json = folder.join(format!("{kind}-{name}.json"));
    let text = serde_json::to_string_pretty(&figures.json(release, METHOD))?;
    fs::write(&json, text + "\n").with_context(|| format!("writing {}", json.display()))?;
    plots::draw(kind, &folder, name, release, figures).context("drawing")
}
