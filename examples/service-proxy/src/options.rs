//! The options that describe the node.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use lvs::director::Drain;
use lvs::ipset::Network;
use lvs::ipvs::Scheduler;
use nix::ifaddrs::getifaddrs;

use crate::node::Node;
use crate::objects::Objects;

/// The options that describe the node.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Node")]
pub struct NodeOptions {
    /// Name of the Node object; by default the host name.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Zone of the node, for topology hints; by default that of the Node object.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Address at which node ports are served, repeatable; by default the internal addresses of the Node object.
    #[arg(long = "node-ip", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// Network of cluster IPs, repeatable: every IPVS service in it belongs to this program, also one of another program.
    #[arg(long = "vip-cidr", value_name = "NETWORK")]
    vip_networks: Vec<Network>,
    /// Network of the pods of this node, repeatable; by default those of the Node object. `rules` reads no Node object, and for
    /// iptables uses the first network of its family.
    #[arg(long = "pod-cidr", value_name = "NETWORK")]
    pod_networks: Vec<Network>,
    /// Dummy interface to which virtual IPs are bound.
    #[arg(long, value_name = "NAME", default_value = "lvs-proxy0")]
    device: String,
    /// Scheduler of Services without the annotation kube-router.io/service.scheduler.
    #[arg(long, value_name = "NAME", default_value = "rr")]
    scheduler: Scheduler,
    /// Seconds after which a draining endpoint is deleted, also with connections; 0 deletes immediately.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    drain: u64,
    /// Ignore spec.externalIPs, which Kubernetes deprecates.
    #[arg(long)]
    no_external_ips: bool,
    /// Serve a traffic policy Local without local endpoints by all endpoints, as kube-proxy does in IPVS mode.
    #[arg(long)]
    local_fallback: bool,
}

impl NodeOptions {
    /// The name of the Node object.
    ///
    /// # Errors
    /// When the host name cannot be read.
    pub fn name(&self) -> io::Result<String> {
        match &self.node_name {
            Some(name) => Ok(name.clone()),
            None => Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase()),
        }
    }

    /// Whether zone or addresses are those of the Node object.
    pub fn need_object(&self) -> bool {
        self.zone.is_none() || self.addresses.is_empty()
    }

    /// The node, with the properties of its Node object where no option has them, and the addresses of its interfaces.
    ///
    /// # Errors
    /// When the host name or the addresses of the interfaces cannot be read.
    pub fn node(&self, objects: &Objects) -> io::Result<Node> {
        let mut node = Node::new(self.name()?);
        node.zone.clone_from(&self.zone);
        node.addresses.clone_from(&self.addresses);
        node.vip_networks.clone_from(&self.vip_networks);
        node.pod_networks.clone_from(&self.pod_networks);
        node.device.clone_from(&self.device);
        node.scheduler = self.scheduler;
        node.drain = Drain::within(Duration::from_secs(self.drain));
        node.external_ips = !self.no_external_ips;
        node.local_fallback = self.local_fallback;
        if let Some(object) = objects.node(&node.name) {
            node.fill(object);
        }
        node.local = interface_addresses(&node.device)?.collect();
        Ok(node)
    }
}

/// The addresses of all interfaces but one.
fn interface_addresses(except: &str) -> io::Result<impl Iterator<Item = IpAddr>> {
    let others = getifaddrs()?.filter(move |interface| interface.interface_name != except);
    Ok(others.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    }))
}
