//! Boots a machine: QEMU, its settings, and its channels.
use super::arch::Arch;
use super::carrier::{Carrier, Ending, Port, Role, Signals, Streams, forward_input};
use super::initramfs::{Clock, Session};
use crate::host::{program, which};
use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An oops is a failure, and a machine that fails must end.
const STRICT: &str = "loglevel=4 panic=-1 oops=panic";

/// Held while a machine starts: what one QEMU inherits, another one that starts meanwhile must not keep open.
static STARTING: Mutex<()> = Mutex::new(());

/// A virtual machine to boot.
pub(crate) struct Machine<'a> {
    pub(crate) arch: &'static Arch,
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a [u8],
    pub(crate) session: Session,
    pub(crate) clock: Clock,
    pub(crate) timeout: Option<Duration>,
}

/// How a machine ended, and what its console and the emulator said meanwhile.
pub(crate) struct Run {
    pub(crate) ending: Ending,
    pub(crate) console: Vec<u8>,
}

/// Boots a machine and waits for its end. It never outlives this call, nor this process.
pub(crate) fn run(machine: &Machine<'_>, streams: Streams<'_>, signals: &Signals) -> Result<Run> {
    let initramfs = in_memory(machine.initramfs).context("memory for the initramfs")?;
    let mut wiring = Wiring::new(command(machine, &initramfs)?);
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let input = connect(&mut wiring, machine).context("the channels to the machine")?;
    let (emulator, ports) = wiring.start()?;
    drop(starting);
    if let Some(input) = input {
        let escape = machine.session == Session::Terminal;
        std::thread::spawn(move || forward_input(input, escape));
    }
    let mut carrier = Carrier::new(ports, streams);
    let ending = carrier.carry(signals, machine.timeout)?;
    drop(emulator);
    carrier.drain()?;
    Ok(Run { ending, console: carrier.into_console() })
}

/// A file that no folder has, and that is gone with this process.
fn in_memory(data: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("initramfs", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(data)?;
    Ok(file)
}

/// Makes the channels of a session; what goes to the guest is given back.
fn connect(wiring: &mut Wiring, machine: &Machine<'_>) -> io::Result<Option<UnixStream>> {
    wiring.serial_port(Role::Console, machine.arch.serial)?;
    wiring.port(Role::Control, "control")?;
    if machine.session == Session::Terminal {
        return wiring.terminal().map(Some);
    }
    wiring.port(Role::Output, "stdout")?;
    wiring.port(Role::Errors, "stderr")?;
    match machine.session {
        Session::Input => wiring.channel("stdin", "virtserialport").map(Some),
        Session::Results => wiring.port(Role::Results, "results").map(|()| None),
        Session::Plain | Session::Terminal => Ok(None),
    }
}

/// A QEMU that is about to be started, and the channels to it.
struct Wiring {
    command: Command,
    ports: Vec<Port>,
    /// QEMU's ends: it inherits them.
    theirs: Vec<UnixStream>,
}

impl Wiring {
    fn new(command: Command) -> Self {
        Self { command, ports: Vec::new(), theirs: Vec::new() }
    }

    /// A stream of the guest, by the name that it finds it by.
    fn port(&mut self, role: Role, name: &str) -> io::Result<()> {
        let ours = self.channel(name, "virtserialport")?;
        self.ports.push(Port::new(role, ours));
        Ok(())
    }

    fn serial_port(&mut self, role: Role, options: [&str; 2]) -> io::Result<()> {
        let ours = self.socket("serial")?;
        self.command.args(options);
        self.ports.push(Port::new(role, ours));
        Ok(())
    }

    /// A terminal of the guest, for output and input.
    fn terminal(&mut self) -> io::Result<UnixStream> {
        let ours = self.channel("screen", "virtconsole")?;
        self.ports.push(Port::new(Role::Output, ours.try_clone()?));
        Ok(ours)
    }

    fn channel(&mut self, name: &str, device: &str) -> io::Result<UnixStream> {
        let ours = self.socket(name)?;
        self.command.arg("-device").arg(format!("{device},chardev={name},name={name}"));
        Ok(ours)
    }

    fn socket(&mut self, name: &str) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
        self.command.arg("-chardev").arg(format!("socket,id={name},fd={}", theirs.as_raw_fd()));
        self.theirs.push(theirs);
        Ok(ours)
    }

    fn start(mut self) -> Result<(Emulator, Vec<Port>)> {
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut emulator = Emulator(command.spawn().context("starting QEMU")?);
        if let Some(complaints) = emulator.0.stderr.take() {
            self.ports.push(Port::new(Role::Console, complaints));
        }
        Ok((emulator, self.ports))
    }
}

/// The command line, without the channels.
fn command(machine: &Machine<'_>, initramfs: &File) -> Result<Command> {
    let arch = machine.arch;
    let mut command = emulator(arch)?;
    command.args(processor(arch, machine.clock));
    if machine.clock == Clock::Instructions {
        command.args(["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "clock=vm"]);
    }
    command.arg("-kernel").arg(machine.image);
    command.arg("-initrd").arg(format!("/proc/{}/fd/{}", std::process::id(), initramfs.as_raw_fd()));
    command.arg("-append").arg(format!("console={} {STRICT} {}", arch.console, arch.quick));
    Ok(command)
}

/// QEMU with everything that does not depend on the run. The kernel ends it when this process ends, where that can be asked for.
fn emulator(arch: &Arch) -> Result<Command> {
    let qemu = program(arch.emulator)?;
    let mut command = if let Some(setpriv) = which("setpriv") {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL"]).arg(qemu);
        command
    } else {
        Command::new(qemu)
    };
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-nic",
        "none",
        "-m",
        "2G",
        "-machine",
        arch.machine,
    ]);
    if let Some(firmware) = arch.firmware.filter(|name| Path::new("/usr/share/qemu").join(name).exists()) {
        command.args(["-bios", firmware]);
    }
    command.arg("-device").arg(format!("{},max_ports=8", arch.channels));
    Ok(command)
}

fn processor(arch: &Arch, clock: Clock) -> [&'static str; 4] {
    // Instructions are counted by the emulator.
    if clock == Clock::Real && arch.native && kvm_works() {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=single", "-cpu", arch.processor]
    }
}

/// Some machines have the device file without the processor's support for it.
fn kvm_works() -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let supported = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    supported && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// A running QEMU; killed when dropped.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
