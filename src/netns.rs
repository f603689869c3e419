//! Network namespaces: hold one, make one, and do something inside one without moving the calling thread.
//!
//! A socket belongs for life to the namespace in which it was opened. So a client of this crate, or any other socket,
//! works in another namespace by being opened there:
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

/// The calling thread's namespace. Not `/proc/self`, which is the process's first thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, held open: it exists as long as this value does.
///
/// Needs `CAP_SYS_ADMIN` to be entered (`setns(2)`) or made (`unshare(2)`).
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// Makes a new, empty network namespace without a name. Even its loopback interface is down, without which IPVS takes
    /// no IPv4 destinations. It ends with the last that holds it: this value, sockets
    /// and processes inside, whatever happens to this process.
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

    /// The namespace that the calling thread is in.
    ///
    /// ```no_run
    /// # use lvs::netns::Namespace;
    /// let own = Namespace::current()?;
    /// # Ok::<(), lvs::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Self::open(OWN)
    }

    /// The namespace at a path, such as `/run/netns/NAME` as `ip netns add` makes it.
    ///
    /// # Errors
    /// When it cannot be opened. That the file is a network namespace is found out on entering it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path)
            .map_err(|error| Error::new(format_args!("open network namespace {}", path.display()), Cause::Io(error)))?;
        Ok(Self(file.into()))
    }

    /// The namespace that a process is in.
    ///
    /// # Errors
    /// When no such process exists, or the caller may not look at it.
    pub fn of_process(pid: u32) -> Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Runs `inside` in this namespace, on a thread of its own that ends with it, and returns its value. The calling
    /// thread stays where it is. Processes that `inside` starts are in the namespace, too.
    ///
    /// # Errors
    /// [`is_permission_denied`](Error::is_permission_denied) without `CAP_SYS_ADMIN`; when this is no network
    /// namespace; when no thread can be started. Then `inside` was not run.
    ///
    /// # Panics
    /// If `inside` panics, so does this.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        let operation = "enter a network namespace";
        on_its_own_thread(operation, || {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            Ok(inside())
        })?
        .map_err(|error: std::io::Error| Error::new(operation, Cause::Io(error)))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Namespace {
    /// Takes a descriptor of a namespace, however it was got.
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
