//! The input and output of a running proxy, on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::status::Status;
use crate::serve;
use crate::source::{Update, Updates};

/// The tasks beside the loop.
pub struct Io {
    runtime: Runtime,
    updates: Updates,
}

impl Io {
    /// Prepares the tasks; SIGTERM and SIGINT end the program by [`Update::Stop`] from here on.
    ///
    /// # Errors
    /// When the kernel lacks resources.
    pub fn new(updates: Updates) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let (mut signal, updates) = (
                {
                    let _guard = runtime.enter();
                    signal(kind)?
                },
                updates.clone(),
            );
            runtime.spawn(async move {
                signal.recv().await;
                let _ = updates.send(Update::Stop);
            });
        }
        Ok(Self { runtime, updates })
    }

    /// The runtime of the tasks.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Serves metrics and health at this address.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn serve(&self, address: SocketAddr, status: Arc<Status>) -> io::Result<SocketAddr> {
        let listener = self.runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        self.runtime.spawn(serve::metrics(listener, status));
        Ok(address)
    }

    /// Serves the health checks of load balancers.
    pub fn health_checks(&self, status: Arc<Status>) {
        self.runtime.spawn(serve::health_checks(status, self.updates.clone()));
    }

    /// Watches the objects of a cluster.
    #[cfg(feature = "api-server")]
    pub fn watch(&self, cluster: crate::source::cluster::Cluster, client: kube::Client) {
        let updates = self.updates.clone();
        self.runtime.spawn(async move { cluster.watch(&client, &updates).await });
    }

    /// Sends [`Update::Lost`] whenever this descriptor becomes readable.
    ///
    /// # Errors
    /// When the kernel lacks resources.
    pub fn watch_vips(&self, descriptor: OwnedFd) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Edges, since the loop reads the notifications.
        epoll.add(&descriptor, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        let updates = self.updates.clone();
        thread::spawn(move || {
            let _held = descriptor;
            loop {
                match epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE) {
                    Err(Errno::EINTR) => {}
                    Ok(_) if updates.send(Update::Lost).is_ok() => {}
                    _ => return,
                }
            }
        });
        Ok(())
    }

    /// Runs the tasks until the program ends.
    pub fn start(self) {
        thread::spawn(move || self.runtime.block_on(std::future::pending::<()>()));
    }
}
