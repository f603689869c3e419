//! The base of every test: a namespace of its own, and the reason if the kernel lacks something.

use std::fmt::Debug;
use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Completion, Trial};
use lvs::Family;
use lvs::conntrack::Conntrack;
use lvs::ipset::{Ipset, Kind};
use lvs::ipvs::{Ipvs, Scheduler, settings};
use lvs::netns::Namespace;
use lvs::ready::Part;
use lvs::vip::{Binder, Vips};

/// A requirement of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Ipvs,
    /// A set type.
    Ipset(Kind),
    Dummy,
    /// A program on the path.
    Program(&'static str),
    /// A name of a host.
    Host(&'static str),
    /// A module, loaded if it is not.
    Module(&'static str),
    /// A machine that exists for these tests only.
    OwnMachine,
}

/// A network namespace for one test.
pub(crate) struct Lab(Namespace);

/// Makes a test of each function: `tests!(&[Need::Ipvs]; first, second,)`.
macro_rules! tests {
    ($needs:expr; $($test:ident,)+) => {
        vec![$($crate::lab::test(concat!(module_path!(), "::", stringify!($test)), $needs, $test)),+]
    };
}
pub(crate) use tests;

pub(crate) fn test(path: &'static str, needs: &'static [Need], body: fn(&Lab)) -> Trial {
    let name = path.trim_start_matches("kernel::");
    Trial::ignorable_test(name, move || match Lab::new(needs) {
        Ok(lab) => {
            body(&lab);
            Ok(Completion::Completed)
        }
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

impl Lab {
    fn new(needs: &[Need]) -> Result<Self, String> {
        let lab = Self(Namespace::create().map_err(|error| error.to_string())?);
        for need in needs {
            lab.check(*need)?;
        }
        let up = lab.run(|| Command::new("ip").args(["link", "set", "lo", "up"]).status());
        match up {
            Ok(status) if status.success() => Ok(lab),
            other => Err(format!("cannot run ip: {other:?}")),
        }
    }

    fn check(&self, need: Need) -> Result<(), String> {
        match need {
            Need::Ipvs => {
                let info = self.run(|| Ipvs::connect().and_then(|mut ipvs| ipvs.version()));
                info.map(drop).map_err(|error| error.to_string())
            }
            Need::Ipset(kind) => {
                let revisions = self.run(|| Ipset::connect().and_then(|mut ipset| ipset.revisions(kind)));
                revisions.map(drop).map_err(|error| error.to_string())
            }
            Need::Dummy => {
                let probe = Binder::dummy("probe").unwrap();
                let bound = self.run(|| {
                    let mut vips = Vips::connect()?;
                    vips.bind(&probe, "10.96.0.1".parse::<std::net::IpAddr>().unwrap())?;
                    vips.clear(&probe)
                });
                bound.map(drop).map_err(|error| error.to_string())
            }
            // Programs without this option change at most the namespace.
            Need::Program(program) => match self.run(|| Command::new(program).arg("--version").output()) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("cannot run {program}: {error}")),
            },
            Need::Host(name) => {
                (name, 0).to_socket_addrs().map(drop).map_err(|error| format!("no host {name}: {error}"))
            }
            Need::Module(module) => match Command::new("modprobe").arg(module).output() {
                Ok(output) if output.status.success() => Ok(()),
                other => Err(format!("cannot load the module {module}: {other:?}")),
            },
            Need::OwnMachine => match std::env::var_os("LVS_OWN_MACHINE") {
                Some(_) => Ok(()),
                None => Err("changes the machine: only where LVS_OWN_MACHINE is set".into()),
            },
        }
    }

    /// Runs something inside the namespace.
    pub(crate) fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.0.run(inside).unwrap()
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.0
    }

    pub(crate) fn ipvs(&self) -> Ipvs {
        self.run(Ipvs::connect).unwrap()
    }

    pub(crate) fn ipset(&self) -> Ipset {
        self.run(Ipset::connect).unwrap()
    }

    pub(crate) fn vips(&self) -> Vips {
        self.run(Vips::connect).unwrap()
    }

    /// Adds `near`, an interface with an address to multicast from.
    pub(crate) fn add_interface(&self) {
        self.tool("ip link add near type veth peer name far");
        self.tool("ip address add 10.9.9.1/24 dev near");
        self.tool("ip link set near up");
    }

    /// Runs a program inside the namespace, its words separated by blanks; returns what it prints.
    pub(crate) fn tool(&self, command: &str) -> String {
        self.tool_with_input(command, "")
    }

    pub(crate) fn tool_with_input(&self, command: &str, input: &str) -> String {
        tool(&self.0, command, input)
    }
}

/// Runs a program inside a namespace, its words separated by blanks; returns what it prints.
pub(crate) fn tool(namespace: &Namespace, command: &str, input: &str) -> String {
    let words: Vec<_> = command.split_whitespace().collect();
    let piped = || Stdio::piped();
    let run = namespace.run(|| {
        let mut program = Command::new(words[0]);
        let mut child = program.args(&words[1..]).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
        // Dropped at once: the program sees the end of its input. One that does not read may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = run.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {}{text}{input}", String::from_utf8_lossy(&output.stderr));
    text
}

impl Drop for Lab {
    /// The kernel ends a namespace some time later, and until then its services are in the table that lists of other
    /// namespaces walk through (up to Linux 6.12).
    fn drop(&mut self) {
        let _ = self.0.run(|| Ipvs::connect().and_then(|mut ipvs| ipvs.clear()));
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A number that the user may choose by an environment variable.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Major and minor number of a kernel's version.
pub(crate) fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Those of the kernel that runs.
pub(crate) fn release() -> (u32, u32) {
    version(&std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap())
}

/// Environment variable with the job of a test's child process. [`child`] starts it.
const CHILD: &str = "LVS_KERNEL_TEST_CHILD";

/// Does what the parent asked for, if this process is a child of a test.
pub(crate) fn run_as_child() -> Option<ExitCode> {
    let job = std::env::var(CHILD).ok()?;
    fn outcome<T: Debug>(result: Result<T, lvs::Error>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(error) if error.is_permission_denied() => format!("permission denied: {error}"),
            Err(error) => format!("other error: {error}"),
        }
    }
    if job == "report" {
        crate::ready::print();
        return Some(ExitCode::SUCCESS);
    }
    if job == "load" {
        println!("{}", outcome(lvs::ready::load(Part::Scheduler(Scheduler::RR))));
        return Some(ExitCode::SUCCESS);
    }
    if job == "settings" {
        println!("{}", outcome(settings::CONNTRACK.get()));
        println!("{}", outcome(settings::CONNTRACK.set(true)));
        println!("{}", outcome(settings::RUN_ESTIMATION.set(false)));
        return Some(ExitCode::SUCCESS);
    }
    if job == "conntrack" {
        println!("{}", outcome(Conntrack::connect().and_then(|mut conntrack| conntrack.flows(Family::Inet))));
        return Some(ExitCode::SUCCESS);
    }
    if job == "ipset" {
        println!("{}", outcome(Ipset::connect().and_then(|mut ipset| ipset.names())));
        println!("{}", outcome(Ipset::connect().and_then(|mut ipset| ipset.destroy_all())));
        return Some(ExitCode::SUCCESS);
    }
    if let Some(what) = job.strip_prefix("memory of ") {
        return Some(crate::memory::run(what));
    }
    if let Some(job) = job.strip_prefix("concurrency ") {
        crate::concurrency::child(job);
        return Some(ExitCode::SUCCESS);
    }
    if let Some(job) = job.strip_prefix("privilege ") {
        crate::privilege::child(job);
        return Some(ExitCode::SUCCESS);
    }
    if job == "descriptors" {
        crate::privilege::print_descriptors();
        return Some(ExitCode::SUCCESS);
    }
    if let Some(job) = job.strip_prefix("director ") {
        crate::director::child(job);
        return Some(ExitCode::SUCCESS);
    }
    if let Some(job) = job.strip_prefix("kill ") {
        crate::kill::child(job);
        return Some(ExitCode::SUCCESS);
    }
    if let Some(binder) = job.strip_prefix("sync ") {
        let binder = crate::vip::BINDERS[binder.parse::<usize>().unwrap()]();
        let tally = Vips::connect().unwrap().sync(&binder, crate::vip::desired()).unwrap();
        println!("{tally:?}");
        return Some(ExitCode::SUCCESS);
    }
    println!("{}", outcome(Ipvs::connect().and_then(|mut ipvs| ipvs.version())));
    println!("{}", outcome(Ipvs::connect().and_then(|mut ipvs| ipvs.clear())));
    let (dummy, vip) = (Binder::dummy("unprivileged").unwrap(), "10.96.0.1".parse::<std::net::IpAddr>().unwrap());
    println!("{}", outcome(Vips::connect().and_then(|mut vips| vips.bind(&dummy, vip))));
    Some(ExitCode::SUCCESS)
}

/// Starts this program again as a user without privileges, to do a job of [`run_as_child`]; returns its output lines.
pub(crate) fn unprivileged_child(lab: &Lab, job: &str) -> Vec<String> {
    child(lab, job, Command::new("/proc/self/exe").uid(1000).gid(1000))
}

/// The same as root of a user namespace of its own, with a network namespace of its own.
pub(crate) fn child_in_its_own_namespaces(lab: &Lab, job: &str) -> Vec<String> {
    let own = std::env::current_exe().unwrap();
    child(lab, job, Command::new("unshare").args(["-U", "-r", "-n"]).arg(own))
}

/// Runs this program again to do a job of [`run_as_child`]; returns its output lines.
pub(crate) fn successful_child(lab: &Lab, job: &str) -> Vec<String> {
    child(lab, job, &mut Command::new("/proc/self/exe"))
}

/// Starts this program again, to do a job of [`run_as_child`].
pub(crate) fn start_child(lab: &Lab, job: &str) -> std::process::Child {
    let start = || Command::new("/proc/self/exe").env(CHILD, job).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    lab.run(start).unwrap()
}

fn child(lab: &Lab, job: &str, program: &mut Command) -> Vec<String> {
    let output = lab.run(|| program.env(CHILD, job).output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
