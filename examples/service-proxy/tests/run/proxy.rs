//! A proxy on a kernel in memory, driven by the test.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use clap::Parser;
use lvs::director::Director;
use lvs::testing::Kernel;
use service_proxy::objects::Objects;
use service_proxy::options::NodeOptions;
use service_proxy::run::pace::Pace;
use service_proxy::run::status::Status;
use service_proxy::run::{Next, Proxy};
use service_proxy::source::cluster::{self, Cluster};
use service_proxy::source::{Known, Update};

use crate::server::{PATIENCE, Server};

pub(crate) const MIN_SYNC: Duration = Duration::from_millis(100);
pub(crate) const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// Output of a proxy.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Lab {
    pub(crate) kernel: Kernel,
    pub(crate) proxy: Proxy<Lines>,
    pub(crate) status: Arc<Status>,
    lines: Lines,
    /// The time of the test.
    pub(crate) now: Instant,
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    node: NodeOptions,
}

/// The node of all tests, with these options besides.
pub(crate) fn options(more: &[&str]) -> NodeOptions {
    let common = ["test", "--node-name", "node-a", "--vip-cidr", "10.96.0.0/16"];
    Options::try_parse_from(common.iter().chain(more)).unwrap_or_else(|error| panic!("{error}")).node
}

/// A node that is described by options, and deletes endpoints immediately.
pub(crate) const NODE: [&str; 6] = ["--zone", "zone-1", "--node-ip", "192.0.2.11", "--drain", "0"];

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(&NODE)
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        Self::on(Kernel::new(), more, SYNC_PERIOD)
    }

    /// The node of this lab after a restart of the proxy.
    pub(crate) fn restarted(self) -> Self {
        Self::on(self.kernel, &NODE, SYNC_PERIOD)
    }

    pub(crate) fn on(kernel: Kernel, more: &[&str], sync_period: Duration) -> Self {
        let options = options(more);
        let node = options.node(&Objects::default()).unwrap();
        let (ipvs, owner, binder) = (kernel.ipvs().unwrap(), node.owner().unwrap(), node.binder().unwrap());
        let director = Director::over(ipvs, kernel.ipset(), kernel.vips(), owner, binder);
        let (status, lines) = (Arc::new(Status::new(sync_period)), Lines::default());
        let pace = Pace::new(MIN_SYNC, sync_period);
        let proxy = Proxy::new(director, options, pace, status.clone(), lines.clone());
        Self { kernel, proxy, status, lines, now: Instant::now() }
    }

    /// Takes updates up to one that is no line.
    pub(crate) fn take(&mut self, updates: &Receiver<Update>) {
        while self.take_one(updates) {}
    }

    /// Takes an update; whether it is a line.
    fn take_one(&mut self, updates: &Receiver<Update>) -> bool {
        let update = updates.recv_timeout(PATIENCE).unwrap();
        let is_line = matches!(update, Update::Line(_));
        assert_eq!(self.proxy.take(update, self.now), Next::Continue);
        is_line
    }

    /// Takes updates until this line was written.
    pub(crate) fn take_until(&mut self, updates: &Receiver<Update>, text: &str) {
        while !self.text().contains(text) {
            self.take_one(updates);
        }
    }

    /// Applies changes that are due after the shortest time; returns whether any was due.
    pub(crate) fn apply(&mut self) -> bool {
        self.now += MIN_SYNC;
        let due = self.proxy.due().is_some_and(|due| due <= self.now);
        if due {
            self.proxy.sync(self.now);
        }
        due
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Number of lines with this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    /// The services of the kernel, with their destinations.
    pub(crate) fn table(&self) -> Vec<String> {
        let table = self.kernel.ipvs().unwrap().table().unwrap();
        let line = |(service, to): (lvs::ipvs::ServiceInfo, Vec<lvs::ipvs::DestinationInfo>)| {
            let to: Vec<_> = to.iter().map(|to| format!(" {}={}", to.address(), to.destination.weight)).collect();
            format!("{}{}", service.key(), to.concat())
        };
        table.into_iter().map(line).collect()
    }
}

/// Watches the cluster of this server.
pub(crate) fn watch(server: &Server, node: Option<&str>, known: Known) -> Receiver<Update> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("service-proxy-{}-{number}.kubeconfig", process::id()));
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{}", server.address)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    });
    fs::write(&path, config.to_string()).unwrap();
    let (updates, received) = mpsc::channel();
    let node = node.map(str::to_owned);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = cluster::connect(Some(&path)).await.unwrap();
            fs::remove_file(&path).unwrap();
            let retry = (Duration::from_millis(1), Duration::from_millis(2));
            Cluster { node, known, retry }.watch(&client, &updates).await;
        });
    });
    received
}
