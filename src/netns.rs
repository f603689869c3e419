//! Network namespaces: open one, create one, and run a function inside one without moving the calling thread.
//!
//! A socket stays in the namespace in which it was opened. So a client, or any other socket, works in another namespace
//! if it is opened there:
//!
//! ```no_run
//! use lvs::{ipvs::Ipvs, netns::Namespace};
//!
//! let pod = Namespace::of_process(4711)?;
//! let mut ipvs = pod.run(Ipvs::connect)??;
//! println!("{} services", ipvs.services()?.len());
//! # Ok::<(), lvs::Error>(())
//! ```

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Cause, Error, Result};

/// The calling thread's namespace. `/proc/self` is that of the process's first thread.
const OWN: &str = "/proc/thread-self/ns/net";

const ENTER: &str = "enter a network namespace";

/// An open network namespace, which exists at least as long as this value.
///
/// Entering it (`setns(2)`) and creating one (`unshare(2)`) need `CAP_SYS_ADMIN`.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// Creates an empty network namespace without a name.
    ///
    /// Its loopback interface is down, and IPVS accepts no IPv4 destinations until it is up. The namespace ends when
    /// this value, and all sockets and processes inside, are gone, also if this process is killed.
    ///
    /// # Errors
    /// [`is_permission_denied`](Error::is_permission_denied) without `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self> {
        let operation = "create a network namespace";
        let made = on_its_own_thread(operation, || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open(OWN)
        })?;
        made.map(|file| Self(file.into())).map_err(|error| Error::new(operation, Cause::Io(error)))
    }

    /// Returns the namespace of the calling thread.
    ///
    /// ```no_run
    /// # use lvs::netns::Namespace;
    /// let own = Namespace::current()?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Self::open(OWN)
    }

    /// Opens the namespace at a path, such as `/run/netns/NAME` of `ip netns add`.
    ///
    /// # Errors
    /// If the file cannot be opened. A file that is no network namespace is an error of [`Namespace::run`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|error| Error::new(format_args!("open network namespace {}", path.display()), Cause::Io(error)))?;
        Ok(Self(file.into()))
    }

    /// Opens the namespace of a process.
    ///
    /// # Errors
    /// If no such process exists, or the caller may not inspect it (`ptrace(2)`).
    pub fn of_process(pid: u32) -> Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Runs `inside` in this namespace, on a new thread that ends afterwards, and returns its value. The calling
    /// thread stays in its own namespace. Processes that `inside` starts are in this namespace, too.
    ///
    /// The outer `Result` is that of entering the namespace. The value of `inside` may be another one:
    /// `namespace.run(Ipvs::connect)??`.
    ///
    /// # Errors
    /// [`is_permission_denied`](Error::is_permission_denied) without `CAP_SYS_ADMIN`. It also fails if this is no
    /// network namespace, or no thread can be started. After an error, `inside` was not run.
    ///
    /// # Panics
    /// If `inside` panics, the panic continues in the caller.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        on_its_own_thread(ENTER, || self.enter().map(|()| inside()))?
    }

    /// Moves the calling thread into this namespace.
    pub(crate) fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::new(ENTER, Cause::Io(errno.into())))
    }

    /// Duplicates the descriptor.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        self.0.try_clone().map(Self).map_err(|error| Error::new("hold a network namespace", Cause::Io(error)))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Namespace {
    /// Converts any descriptor of a namespace.
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

fn on_its_own_thread<T: Send>(operation: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work);
        match thread.map(|thread| thread.join()) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::new(operation, Cause::Io(error))),
        }
    })
}
