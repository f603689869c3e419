//! The guest's first process: sets the machine up, runs one command, reports its end, powers off.
use crate::complain;
use crate::modules::Modules;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, sethostname};
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Command that the host wrote for this run.
const COMMAND: &str = "/vm/command";
const ENVIRONMENT: &str = "/vm/environment";
const SESSION: &str = "/vm/session";

/// Loaded before the channels to the host can be opened.
const CHANNEL_MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
/// Modules that are loaded before the command, so that it never races with the kernel's loading on demand.
///
/// Two schedulers have state in each namespace. IPVS loads a scheduler under a lock that a namespace needs to end, and
/// these modules wait for namespaces that end: Linux 6.1 deadlocks. All other modules are loaded on demand.
const EARLY_MODULES: [&str; 6] = ["nf_conntrack", "ip_vs", "ip_vs_lblc", "ip_vs_lblcr", "dummy", "veth"];

const PORTS: &str = "/dev/virtio-ports";

/// Runs the machine. When it cannot be set up, the reason is on the console and the host sees no verdict.
pub(crate) fn run() -> ExitCode {
    if let Err(error) = live() {
        complain(format_args!("init: {error}"));
    }
    match power_off() {
        Ok(never) => match never {},
        Err(error) => {
            complain(format_args!("init: power off: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn live() -> io::Result<()> {
    mount_all()?;
    let modules = Modules::of_this_kernel()?;
    for name in CHANNEL_MODULES {
        modules.load(name, "")?;
    }
    let mut control = open_port("control")?;
    sethostname("vm")?;
    let status = prepare(&modules).and_then(|()| session());
    let verdict = match status {
        Ok(code) => format!("exit {code}\n"),
        Err(error) => format!("error {error}\n"),
    };
    control.write_all(verdict.as_bytes())
}

fn mount_all() -> io::Result<()> {
    let none = MsFlags::empty();
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (kind, target, flags, data) in [
        ("proc", "/proc", none, ""),
        ("sysfs", "/sys", none, ""),
        ("devtmpfs", "/dev", none, ""),
        ("devpts", "/dev/pts", none, "mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", quiet, "mode=1777"),
        ("tmpfs", "/run", quiet, "mode=755"),
        ("tmpfs", "/tmp", quiet, "mode=1777"),
    ] {
        std::fs::create_dir_all(target)?;
        match mount(Some(kind), target, Some(kind), flags, Some(data)) {
            // Some kernels mount devtmpfs before they start init.
            Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
            Err(error) => return Err(io::Error::other(format!("mount {target}: {error}"))),
        }
    }
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        let link = Path::new("/dev").join(link);
        if !link.exists() {
            symlink(target, link)?;
        }
    }
    Ok(())
}

/// Waits for a channel of the host by its name, and gives it a fixed path.
fn port(name: &str) -> io::Result<PathBuf> {
    let link = Path::new(PORTS).join(name);
    std::fs::create_dir_all(PORTS)?;
    for _ in 0..5000 {
        for entry in std::fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
            let label = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if label.trim() == name {
                if !link.exists() {
                    symlink(Path::new("/dev").join(entry.file_name()), &link)?;
                }
                return Ok(link);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(io::Error::other(format!("the channel `{name}` never appeared")))
}

fn open_port(name: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(port(name)?)
}

fn prepare(modules: &Modules) -> io::Result<()> {
    for name in EARLY_MODULES {
        // Unknown means built in, or not in this kernel: what needs it will say so.
        modules.load(name, "")?;
    }
    let up = Command::new("/bin/busybox").args(["ip", "link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err(io::Error::other("the loopback interface does not come up")) }
}

fn session() -> io::Result<i32> {
    let command = words(COMMAND)?;
    let mode = std::fs::read_to_string(SESSION)?;
    if mode.trim() == "terminal" { terminal(&command) } else { streams(&command, mode.trim()) }
}

/// Runs the command on channels of its own for its output and its errors.
fn streams(command: &[String], mode: &str) -> io::Result<i32> {
    let mut output = open_port("stdout")?;
    let mut errors = open_port("stderr")?;
    if mode == "results" {
        port("results")?;
    }
    let input = if mode == "input" { Stdio::from(open_port("stdin")?) } else { Stdio::null() };
    let code =
        execute(command, [input, Stdio::from(output.try_clone()?), Stdio::from(errors.try_clone()?)], &mut errors)?;
    // A channel keeps its order, so this byte arrives when all before it has: the host takes it off.
    output.write_all(&[0])?;
    errors.write_all(&[0])?;
    Ok(code)
}

/// Runs the command on the machine's terminal, as the leader of its session, so that job control works.
fn terminal(command: &[String]) -> io::Result<i32> {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/hvc0");
    let mut screen = open()?;
    let words: Vec<String> =
        ["/bin/busybox", "setsid", "-c"].map(String::from).into_iter().chain(command.iter().cloned()).collect();
    let code = execute(&words, [Stdio::from(open()?), Stdio::from(open()?), Stdio::from(open()?)], &mut screen)?;
    screen.flush()?;
    Ok(code)
}

/// Runs a command to its end, reaps whatever else ends meanwhile, and leaves no process behind.
fn execute(command: &[String], [input, output, errors]: [Stdio; 3], complaints: &mut File) -> io::Result<i32> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let environment = words(ENVIRONMENT)?;
    let variables = environment.iter().filter_map(|variable| variable.split_once('='));
    let path = variables.clone().find(|(name, _)| *name == "PATH").map_or("", |(_, value)| value);
    let child = Command::new(find(program, path))
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir("/root")
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            writeln!(complaints, "{program}: {error}")?;
            return Ok(127);
        }
    };
    let child = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let code = loop {
        match wait()? {
            WaitStatus::Exited(pid, code) if pid == child => break code,
            WaitStatus::Signaled(pid, signal, _) if pid == child => break 128 + signal as i32,
            _ => {}
        }
    };
    // A process that still runs would write into the channels after their end.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    Ok(code)
}

/// The program's file: `Command` would search the PATH of this process, which has none.
fn find(program: &str, path: &str) -> PathBuf {
    if program.contains('/') {
        return PathBuf::from(program);
    }
    let candidates = path.split(':').map(|folder| Path::new(folder).join(program));
    candidates.into_iter().find(|candidate| candidate.exists()).unwrap_or_else(|| PathBuf::from(program))
}

/// The texts of a file, each ended by a zero byte.
fn words(file: &str) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.split_terminator('\0').map(String::from).collect())
}

fn power_off() -> nix::Result<Infallible> {
    reboot(RebootMode::RB_POWER_OFF)
}
