//! Carries the streams of a machine until it has given its verdict.
use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Longer output of the console is cut at its start.
const CONSOLE_KEPT: usize = 64 << 10;

/// How often a machine's carrier looks up from it: another one's may have caught a signal.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Ctrl-] stops a machine whose terminal no longer answers: all other keys are the guest's.
const ESCAPE: u8 = 0x1d;

/// How a machine ended.
pub(crate) enum Ending {
    /// The command ran; its exit status.
    Exit(i32),
    /// The machine came up, but could not run the command.
    Refused(String),
    /// It stopped without a verdict.
    Died,
    TimedOut,
    Interrupted(i32),
    /// No process reads the output any more.
    OutputClosed,
}

/// Where the streams of a machine go.
pub(crate) struct Streams<'a> {
    pub(crate) stdout: Box<dyn Write + 'a>,
    pub(crate) stderr: Box<dyn Write + 'a>,
    pub(crate) results: Box<dyn Write + 'a>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Role {
    Console,
    Control,
    Output,
    Errors,
    Results,
}

/// A stream that comes from the machine.
pub(crate) struct Port {
    role: Role,
    file: File,
    /// A zero byte was the last so far: either data or the mark of the end.
    mark_held: bool,
    open: bool,
}

impl Port {
    pub(crate) fn new(role: Role, file: impl Into<OwnedFd>) -> Self {
        Self { role, file: File::from(file.into()), mark_held: false, open: true }
    }

    /// Takes off the zero byte that ends a stream; within the stream it stays.
    fn without_mark(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 1);
        if self.mark_held && !data.is_empty() {
            out.push(0);
            self.mark_held = false;
        }
        out.extend_from_slice(data);
        if out.last() == Some(&0) {
            out.pop();
            self.mark_held = true;
        }
        out
    }
}

/// Carries data from the ports to the streams.
pub(crate) struct Carrier<'a> {
    ports: Vec<Port>,
    streams: Streams<'a>,
    control: Vec<u8>,
    console: Vec<u8>,
    output_closed: bool,
}

impl<'a> Carrier<'a> {
    pub(crate) fn new(ports: Vec<Port>, streams: Streams<'a>) -> Self {
        Self { ports, streams, control: Vec::new(), console: Vec::new(), output_closed: false }
    }

    /// Carries until the machine has given its verdict or has to be stopped.
    pub(crate) fn carry(&mut self, signals: &Signals, timeout: Option<Duration>) -> Result<Ending> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Ending::TimedOut);
            }
            self.turn(Some(signals), left)?;
            if let Some(signal) = signals.caught() {
                return Ok(Ending::Interrupted(signal));
            }
            if let Some(verdict) = verdict(&self.control) {
                return Ok(verdict);
            }
            if self.output_closed {
                return Ok(Ending::OutputClosed);
            }
            if !self.ports.iter().any(|port| port.role == Role::Control && port.open) {
                return Ok(Ending::Died);
            }
        }
    }

    /// Copies the data in flight after the machine has ended.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while self.ports.iter().any(|port| port.open) {
            self.turn(None, None)?;
        }
        Ok(())
    }

    /// Returns the output of the console and the emulator.
    pub(crate) fn into_console(self) -> Vec<u8> {
        self.console
    }

    /// Waits for data once and carries it.
    fn turn(&mut self, signals: Option<&Signals>, left: Option<Duration>) -> Result<()> {
        let open = || self.ports.iter().filter(|port| port.open);
        let mut polled: Vec<PollFd<'_>> =
            open().map(|port| PollFd::new(port.file.as_fd(), PollFlags::POLLIN)).collect();
        polled.extend(signals.map(|signals| PollFd::new(signals.file.as_fd(), PollFlags::POLLIN)));
        let wait = left.unwrap_or(LOOK_UP).min(LOOK_UP);
        poll(&mut polled, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX))
            .context("waiting for the machine")?;
        let ready: Vec<bool> = polled.iter().map(|polled| polled.any().unwrap_or(true)).collect();
        for (port, ready) in self.ports.iter_mut().filter(|port| port.open).zip(ready) {
            if !ready {
                continue;
            }
            let mut buffer = vec![0; 64 << 10];
            let length = port.file.read(&mut buffer).unwrap_or(0);
            port.open = length != 0;
            buffer.truncate(length);
            let sink: &mut dyn Write = match port.role {
                Role::Control => &mut self.control,
                Role::Console => &mut self.console,
                Role::Output => &mut self.streams.stdout,
                Role::Errors => &mut self.streams.stderr,
                Role::Results => &mut self.streams.results,
            };
            if matches!(port.role, Role::Output | Role::Errors) {
                buffer = port.without_mark(&buffer);
            }
            if sink.write_all(&buffer).and_then(|()| sink.flush()).is_err() {
                self.output_closed = true;
            }
        }
        let excess = self.console.len().saturating_sub(CONSOLE_KEPT);
        self.console.drain(..excess);
        Ok(())
    }
}

/// Reads the last line of a machine's control channel: `exit STATUS` or `error TEXT`.
fn verdict(control: &[u8]) -> Option<Ending> {
    let text = String::from_utf8_lossy(control);
    let (line, _) = text.split_once('\n')?;
    match line.split_once(' ') {
        Some(("exit", status)) => status.parse().ok().map(Ending::Exit),
        Some(("error", reason)) => Some(Ending::Refused(reason.to_owned())),
        _ => Some(Ending::Refused(format!("an unknown verdict: {line}"))),
    }
}

/// Signals that would end this process, held back while machines run so that they can be put away first.
///
/// Threads that are to heed them must begin after they are caught.
pub(crate) struct Signals {
    set: SigSet,
    file: SignalFd,
    /// The signal that came, for all who carry: only one of them can read it. Zero if none did.
    caught: AtomicI32,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        set.thread_block().context("blocking signals")?;
        let file =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("catching signals")?;
        Ok(Self { set, file, caught: AtomicI32::new(0) })
    }

    fn caught(&self) -> Option<i32> {
        if let Ok(Some(signal)) = self.file.read_signal() {
            self.caught.store(i32::try_from(signal.ssi_signo).unwrap_or_default(), Ordering::Relaxed);
        }
        Some(self.caught.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.set.thread_unblock();
    }
}

/// Gives the guest what this process reads; ends with the machine.
pub(crate) fn forward_input(mut channel: UnixStream, escape: bool) {
    let mut buffer = [0; 4096];
    loop {
        let length = io::stdin().read(&mut buffer).unwrap_or(0);
        let data = buffer.get(..length).unwrap_or_default();
        if escape && data.contains(&ESCAPE) {
            let _ = kill(Pid::this(), Signal::SIGTERM);
        }
        if data.is_empty() || channel.write_all(data).is_err() {
            break;
        }
    }
    let _ = channel.shutdown(Shutdown::Write);
    // Closing it now would lose what QEMU has not read yet.
    let _ = io::copy(&mut channel, &mut io::sink());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_zero_byte_is_the_mark() {
        let mut port = Port::new(Role::Output, File::open("/dev/null").unwrap());
        assert_eq!(port.without_mark(b"ab\0"), b"ab");
        assert_eq!(port.without_mark(b"c\0d"), b"\0c\0d");
        assert_eq!(port.without_mark(b"\0"), b"");
        assert_eq!(port.without_mark(b"\0"), b"\0");
        assert_eq!(port.without_mark(b""), b"");
        assert!(port.mark_held);
    }

    #[test]
    fn a_verdict_is_a_whole_line() {
        assert!(verdict(b"").is_none());
        assert!(verdict(b"exit 3").is_none());
        assert!(matches!(verdict(b"exit 3\n"), Some(Ending::Exit(3))));
        assert!(matches!(verdict(b"error no module\n"), Some(Ending::Refused(reason)) if reason == "no module"));
        assert!(matches!(verdict(b"nonsense\n"), Some(Ending::Refused(_))));
    }
}
