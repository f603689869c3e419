//! The command `run`.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use service_proxy::objects::Objects;
use service_proxy::options::NodeOptions;
use service_proxy::run::Proxy;
use service_proxy::run::io::Io;
use service_proxy::run::pace::Pace;
use service_proxy::run::status::Status;
#[cfg(feature = "api-server")]
use service_proxy::source::cluster::{self, Cluster};
use service_proxy::source::{Known, Updates, follow};

use super::{Failed, connect, has_services};

/// The options of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// File with objects, read again whenever it changes, or `-` for lists and events on standard input, such as those of
    /// `kubectl get -A -o json --watch --output-watch-events`.
    #[cfg_attr(feature = "api-server", arg(long, value_name = "FILE", conflicts_with_all = ["cluster", "kubeconfig"]))]
    #[cfg_attr(not(feature = "api-server"), arg(long, value_name = "FILE", required = true))]
    file: Option<PathBuf>,
    #[cfg(feature = "api-server")]
    #[command(flatten)]
    server: Server,
    /// Shortest time between two applies, such as 100ms or 2s: changes in between are one apply.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    min_sync: Duration,
    /// Time after which a part of the kernel's state is compared without a change.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    sync_period: Duration,
    /// Accept lists without any object, and files without Services or EndpointSlices, which end all services or endpoints.
    #[arg(long)]
    allow_empty: bool,
    /// Take over, at the first apply, services that are wanted and belong to another program.
    #[arg(long)]
    adopt: bool,
    /// Address and port at which /metrics, /healthz and /livez are served.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    node: NodeOptions,
}

/// The API server.
#[cfg(feature = "api-server")]
#[derive(Args)]
struct Server {
    /// Watch the API server of $KUBECONFIG, of ~/.kube/config or of the service account of the pod; the default.
    #[arg(long)]
    cluster: bool,
    /// Watch the API server of this file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let start = |what: &str| {
            let what = what.to_owned();
            move |error| Failed::Start(what, error)
        };
        let node = self.node.node(&Objects::default()).map_err(Failed::Node)?;
        let mut director = connect(&node)?;
        let known = Known::new(has_services(&mut director)?, self.allow_empty);
        let (updates, received) = mpsc::channel();
        let io = Io::new(updates.clone()).map_err(start("start"))?;
        if let Some(watched) = director.watched() {
            let watched = watched.try_clone_to_owned().map_err(start("watch virtual IPs"))?;
            io.watch_vips(watched).map_err(start("watch virtual IPs"))?;
        }
        let status = Arc::new(Status::new(self.sync_period));
        if let Some(address) = self.metrics {
            io.serve(address, status.clone()).map_err(start(&format!("listen at {address}")))?;
        }
        io.health_checks(status.clone());
        let pace = Pace::new(self.min_sync, self.sync_period);
        let mut proxy = Proxy::new(director, self.node.clone(), pace, status, io::stderr());
        if self.adopt {
            proxy = proxy.adopting();
        }
        match &self.file {
            Some(file) => {
                follow_file(file, known, updates).map_err(start(&file.display().to_string()))?;
                proxy = proxy.settling();
            }
            #[cfg(feature = "api-server")]
            None => {
                let client = io.runtime().block_on(cluster::connect(self.server.kubeconfig.as_deref()))?;
                let node = self.node.need_object().then_some(node.name);
                if node.is_some() {
                    proxy = proxy.awaiting_node();
                }
                io.watch(Cluster { node, known, retry: cluster::RETRY }, client);
            }
            #[cfg(not(feature = "api-server"))]
            None => {}
        }
        io.start();
        proxy.run(&received);
        Ok(ExitCode::SUCCESS)
    }
}

fn follow_file(file: &Path, known: Known, updates: Updates) -> io::Result<()> {
    if file == Path::new("-") {
        thread::spawn(move || follow::stream(io::stdin().lock(), known, &updates));
        return Ok(());
    }
    follow::file(file.to_owned(), known, updates)
}

/// Reads `100ms` or `2s`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()));
    let number = number.parse().map_err(|_| format!("{text:?} is not a number with the unit ms or s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        _ => Err(format!("{text:?}: the unit is ms or s")),
    }
}
