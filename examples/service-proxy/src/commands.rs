//! The commands.

mod run;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use lvs::Family;
use lvs::director::{BatchError, Connections, Desired, Director, Drain, End, Report};
use lvs::ipset::Ipset;
use lvs::ready::{self, Level};
use lvs::vip::Vips;
use service_proxy::node::{self, Node};
use service_proxy::objects::Objects;
use service_proxy::options::NodeOptions;
use service_proxy::report::{Applied, Planned};
use service_proxy::rules;
use service_proxy::run::adopt;
use service_proxy::source::file::{self, InvalidFile};
use service_proxy::source::{Empty, Known};
use service_proxy::translate::{Translation, translate};
use thiserror::Error;

/// Text at the end of the help.
pub(crate) const EXIT_STATUS: &str = "Exit status: 0 on success, 1 on failure; of `plan` 2 if something would change.";

/// A command.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the changes that `apply` would make, with health checks, conflicts and ignored objects.
    Plan(Plan),
    /// Make the kernel's state equal to the objects of a file, once.
    Apply(Apply),
    /// Keep the kernel's state equal to the objects of a cluster or a file, until SIGTERM, which leaves everything in place.
    Run(run::Run),
    /// List the endpoints that take no new connections and wait to be deleted.
    Drains(NodeOptions),
    /// Print the constant rules of the packet filter, for `iptables-restore --noflush`.
    Rules(Rules),
    /// Report missing features and unsuitable settings of the kernel.
    Doctor,
    /// Delete the services, virtual IPs and sets of this program. With --vip-cidr these are all services in that network.
    Cleanup(NodeOptions),
}

/// The objects, and the node that serves them.
#[derive(Args)]
pub(crate) struct Input {
    /// File with the output of `kubectl get services,endpointslices -A -o json`, or `-` for standard input.
    file: PathBuf,
    /// Accept a file without Services or without EndpointSlices, which ends all services or all endpoints.
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    input: Input,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    input: Input,
    /// Take over services that are wanted and belong to another program.
    #[arg(long)]
    adopt: bool,
    /// Form of the report.
    #[arg(long, value_name = "FORM", default_value = "text")]
    report: Form,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Form {
    Text,
    Json,
}

#[derive(Args)]
pub(crate) struct Rules {
    /// Address family: 4 or 6.
    #[arg(long, value_name = "FAMILY", default_value = "4", value_parser = ["4", "6"])]
    family: String,
    /// Print rules for `nft -f` instead, for nodes without iptables. They have limits, which their comments state.
    #[arg(long)]
    nft: bool,
    /// Print the text that deletes these rules.
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// The failure of a command.
#[derive(Debug, Error)]
pub(crate) enum Failed {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Read(String, io::Error),
    /// The file is invalid.
    #[error("{0}: {1}")]
    Invalid(String, InvalidFile),
    /// The file lacks objects.
    #[error("{0}: {1}")]
    Empty(String, Empty),
    /// The node's properties cannot be read.
    #[error("read the properties of the node: {0}")]
    Node(io::Error),
    /// The API server cannot be used.
    #[cfg(feature = "api-server")]
    #[error(transparent)]
    Cluster(#[from] service_proxy::source::cluster::InvalidConfig),
    /// The source or the servers cannot be started.
    #[error("{0}: {1}")]
    Start(String, io::Error),
    /// A change or a query failed.
    #[error(transparent)]
    Kernel(#[from] lvs::Error),
    /// Some changes failed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] lvs::InvalidName),
    /// The output cannot be written.
    #[error("write the output: {0}")]
    Output(#[from] io::Error),
    /// The output cannot be formed.
    #[error("write the output: {0}")]
    Form(#[from] serde_json::Error),
    /// The rules cannot be formed.
    #[error("write the rules: {0}")]
    Rules(#[from] std::fmt::Error),
}

impl Command {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<ExitCode, Failed> {
        match self {
            Self::Plan(plan) => plan.run(out),
            Self::Apply(apply) => apply.run(out),
            Self::Run(run) => run.run(),
            Self::Drains(node) => drains(&node, out),
            Self::Rules(rules) => rules.run(out),
            Self::Doctor => doctor(out),
            Self::Cleanup(node) => cleanup(&node, out),
        }
    }
}

impl Input {
    /// Reads, translates, and opens the kernel's interfaces.
    fn open(&self) -> Result<(Translation, Director), Failed> {
        let objects = self.objects()?;
        let node = self.node.node(&objects).map_err(Failed::Node)?;
        let translation = translate(&objects, &node);
        let mut director = connect(&node)?;
        let exist = objects.is_empty() && has_services(&mut director)?;
        Known::new(exist, self.allow_empty).file(&objects).map_err(|empty| Failed::Empty(self.name(), empty))?;
        Ok((translation, director))
    }

    fn objects(&self) -> Result<Objects, Failed> {
        let read = if self.file == Path::new("-") {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text).map(|_| text)
        } else {
            fs::read(&self.file)
        };
        let text = read.map_err(|error| Failed::Read(self.name(), error))?;
        file::parse(&text).map_err(|error| Failed::Invalid(self.name(), error))
    }

    fn name(&self) -> String {
        if self.file == Path::new("-") { "standard input".to_owned() } else { self.file.display().to_string() }
    }
}

fn connect(node: &Node) -> Result<Director, Failed> {
    Ok(Director::connect(node.owner()?, node.binder()?)?)
}

/// Whether an earlier run left services in the kernel.
fn has_services(director: &mut Director) -> Result<bool, Failed> {
    let snapshot = director.snapshot()?;
    Ok(snapshot.services().any(|found| snapshot.owns(found.service.key)))
}

impl Plan {
    fn run(self, out: &mut impl Write) -> Result<ExitCode, Failed> {
        let (translation, mut director) = self.input.open()?;
        let plan = director.plan(&translation.desired)?;
        let planned = Planned::new(&plan, &translation);
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &planned)?;
            writeln!(out)?;
        } else {
            write!(out, "{planned}")?;
        }
        Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

impl Apply {
    fn run(self, out: &mut impl Write) -> Result<ExitCode, Failed> {
        let began = Instant::now();
        let (translation, mut director) = self.input.open()?;
        if self.adopt {
            adopt(&mut director, &translation.desired)?;
        }
        let (report, failed) = parts(director.sync(&translation.desired));
        let applied = Applied::new(&report, &translation, began.elapsed());
        if self.report == Form::Json {
            serde_json::to_writer_pretty(&mut *out, &applied)?;
            writeln!(out)?;
        } else {
            write!(out, "{applied}")?;
        }
        failed.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
    }
}

/// The report of a call, and its failure.
fn parts(result: Result<Report, BatchError>) -> (Report, Option<BatchError>) {
    match result {
        Ok(report) => (report, None),
        Err(error) => (*error.done.clone(), Some(error)),
    }
}

impl Rules {
    fn run(self, out: &mut impl Write) -> Result<ExitCode, Failed> {
        let node = self.node.node(&Objects::default()).map_err(Failed::Node)?;
        let family = if self.family == "4" { Family::Inet } else { Family::Inet6 };
        let text = match (self.nft, self.delete) {
            (true, true) => rules::DELETE_NFT.to_owned(),
            (true, false) => rules::nft(&node.vip_networks, &node.pod_networks)?,
            (false, true) => rules::delete_iptables()?,
            (false, false) => rules::iptables(family, &node.pod_networks)?,
        };
        write!(out, "{text}")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn drains(options: &NodeOptions, out: &mut impl Write) -> Result<ExitCode, Failed> {
    let node = options.node(&Objects::default()).map_err(Failed::Node)?;
    let snapshot = connect(&node)?.snapshot()?;
    for found in snapshot.services().filter(|found| snapshot.owns(found.service.key)) {
        for info in found.destinations.iter().filter(|info| info.destination.weight == 0) {
            writeln!(out, "{} of {}: {}", info.address(), found.service.key, Connections::from(info))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn doctor(out: &mut impl Write) -> Result<ExitCode, Failed> {
    let report = ready::check()?;
    writeln!(out, "Linux {}", report.release)?;
    for finding in report.findings() {
        let level = match finding.level {
            Level::Good => "ok",
            Level::Depends => "-",
            Level::Advice => "!",
            Level::Missing => "MISSING",
        };
        writeln!(out, "{level:<8}{}: {}", finding.what, finding.found)?;
        if finding.level != Level::Good {
            writeln!(out, "{:<8}advised: {}; {}", "", finding.advised, finding.why)?;
        }
    }
    Ok(if report.is_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cleanup(options: &NodeOptions, out: &mut impl Write) -> Result<ExitCode, Failed> {
    let node = options.node(&Objects::default()).map_err(Failed::Node)?;
    let mut nothing = Desired::default();
    nothing.drain = Drain::NONE;
    let (report, failed) = parts(connect(&node)?.sync(&nothing));
    for (step, _) in report.steps().filter(|(_, end)| *end == End::Done) {
        writeln!(out, "{step}")?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    // No service is left that they could register.
    let mut ipset = Ipset::connect()?;
    for name in node::registry_sets() {
        ipset.remove_set(name?)?;
    }
    Vips::connect()?.clear(&node.binder()?)?;
    writeln!(out, "{report}")?;
    Ok(ExitCode::SUCCESS)
}
