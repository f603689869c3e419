//! Objects of the Kubernetes API, with the fields that are read.
//!
//! Unknown fields are ignored, null counts as absent, and unknown values of enumerations are kept as text: the API grows.

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

/// A namespace and a name in it.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName {
    /// The namespace; empty for objects of the whole cluster.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

impl ObjectName {
    /// The name of an object in a namespace.
    pub fn new(namespace: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        if namespace.is_empty() { f.write_str(name) } else { write!(f, "{namespace}/{name}") }
    }
}

impl Serialize for ObjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Defines an enumeration of the API with the values that this program knows.
macro_rules! api_enum {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
        #[serde(from = "Box<str>")]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A value that this program does not know.
            Unknown(Box<str>),
        }

        impl From<Box<str>> for $name {
            fn from(text: Box<str>) -> Self {
                match &*text {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown(text),
                }
            }
        }
    };
}

api_enum! {
    /// `spec.type` of a Service.
    ServiceType {
        /// Reachable inside of the cluster.
        ClusterIp = "ClusterIP",
        /// Also at a port of every node.
        NodePort = "NodePort",
        /// Also through a load balancer outside of the cluster.
        LoadBalancer = "LoadBalancer",
        /// A name in the DNS, without addresses.
        ExternalName = "ExternalName",
    }
}

api_enum! {
    /// Transport protocol of a port.
    Protocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    }
}

api_enum! {
    /// `externalTrafficPolicy` and `internalTrafficPolicy`.
    TrafficPolicy {
        /// All endpoints.
        Cluster = "Cluster",
        /// The endpoints of the node.
        Local = "Local",
    }
}

api_enum! {
    /// `sessionAffinity`.
    SessionAffinity {
        /// None.
        None = "None",
        /// By the address of the client.
        ClientIp = "ClientIP",
    }
}

api_enum! {
    /// `ipMode` of an ingress address.
    IpMode {
        /// Packets arrive at the node with the address as their destination.
        Vip = "VIP",
        /// Packets arrive with the address of the node as their destination.
        Proxy = "Proxy",
    }
}

api_enum! {
    /// `addressType` of a slice.
    AddressType {
        /// IPv4 addresses.
        Ipv4 = "IPv4",
        /// IPv6 addresses.
        Ipv6 = "IPv6",
        /// Domain names.
        Fqdn = "FQDN",
    }
}

/// The metadata that every object has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    #[serde(deserialize_with = "or_default")]
    namespace: Box<str>,
    #[serde(deserialize_with = "or_default")]
    name: Box<str>,
    /// Time of creation; none also for one that is not in RFC 3339.
    #[serde(deserialize_with = "time")]
    pub creation_timestamp: Option<Timestamp>,
    /// Time of a deletion that has begun.
    pub deletion_timestamp: Option<Box<str>>,
    /// The labels that are read.
    #[serde(deserialize_with = "or_default")]
    pub labels: Labels,
    /// The annotations that are read.
    #[serde(deserialize_with = "or_default")]
    pub annotations: Annotations,
}

impl Metadata {
    /// Namespace and name.
    pub fn object_name(&self) -> ObjectName {
        ObjectName::new(self.namespace.clone(), self.name.clone())
    }
}

/// The labels that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// The Service that a slice belongs to.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service_name: Option<Box<str>>,
    /// Present if another proxy is responsible, whatever the value.
    #[serde(rename = "service.kubernetes.io/service-proxy-name", deserialize_with = "is_present")]
    pub other_proxy: bool,
    /// Present on the objects of headless Services.
    #[serde(rename = "service.kubernetes.io/headless", deserialize_with = "is_present")]
    pub headless: bool,
    /// The zone of a Node.
    #[serde(rename = "topology.kubernetes.io/zone")]
    pub zone: Option<Box<str>>,
}

/// The annotations that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// Scheduler of a Service, as kube-router reads it.
    #[serde(rename = "kube-router.io/service.scheduler")]
    pub scheduler: Option<Box<str>>,
    /// Time of the change that a slice was last written for.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub last_change: Option<Box<str>>,
}

/// A Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its metadata.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// The desired state.
    #[serde(deserialize_with = "or_default")]
    pub spec: ServiceSpec,
    /// The observed state.
    #[serde(deserialize_with = "or_default")]
    pub status: ServiceStatus,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `type`; absent means `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: Option<ServiceType>,
    /// `clusterIP`: `None` and absent both mean that the Service has none.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<Box<str>>,
    /// `clusterIPs`: one for each family.
    #[serde(rename = "clusterIPs", deserialize_with = "or_default")]
    pub cluster_ips: Vec<Box<str>>,
    /// `externalIPs`.
    #[serde(rename = "externalIPs", deserialize_with = "or_default")]
    pub external_ips: Vec<Box<str>>,
    /// The ports.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<ServicePort>,
    /// `sessionAffinity`.
    pub session_affinity: Option<SessionAffinity>,
    /// `sessionAffinityConfig`.
    #[serde(deserialize_with = "or_default")]
    pub session_affinity_config: SessionAffinityConfig,
    /// `externalTrafficPolicy`.
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// `internalTrafficPolicy`.
    pub internal_traffic_policy: Option<TrafficPolicy>,
    /// `healthCheckNodePort`.
    pub health_check_node_port: Option<u16>,
    /// `loadBalancerSourceRanges`.
    #[serde(deserialize_with = "or_default")]
    pub load_balancer_source_ranges: Vec<Box<str>>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// The name; absent is equal to empty.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
    /// The protocol; absent means TCP.
    pub protocol: Option<Protocol>,
    /// The port at the addresses of the Service.
    #[serde(deserialize_with = "or_default")]
    pub port: u16,
    /// The port at the addresses of the nodes; absent or 0 if it has none.
    pub node_port: Option<u16>,
}

/// `sessionAffinityConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAffinityConfig {
    /// For [`SessionAffinity::ClientIp`].
    #[serde(rename = "clientIP", deserialize_with = "or_default")]
    pub client_ip: ClientIpConfig,
}

/// `sessionAffinityConfig.clientIP`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// Seconds for which a client keeps its endpoint; the API's default is 10800.
    pub timeout_seconds: Option<u32>,
}

/// `status` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `loadBalancer`.
    #[serde(deserialize_with = "or_default")]
    pub load_balancer: LoadBalancerStatus,
}

/// `status.loadBalancer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// The addresses of the load balancer.
    #[serde(deserialize_with = "or_default")]
    pub ingress: Vec<Ingress>,
}

/// An address of a load balancer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ingress {
    /// The address; absent for one that only has a host name.
    pub ip: Option<Box<str>>,
    /// `ipMode`; absent means `VIP`.
    pub ip_mode: Option<IpMode>,
}

/// An EndpointSlice of `discovery.k8s.io/v1`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Its metadata.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// The type of the addresses.
    pub address_type: Option<AddressType>,
    /// The endpoints.
    #[serde(deserialize_with = "or_default")]
    pub endpoints: Vec<Endpoint>,
    /// The ports of every endpoint.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<EndpointPort>,
}

/// A port of every endpoint of a slice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name; a port whose name is absent belongs to no port of a Service.
    pub name: Option<Box<str>>,
    /// The protocol; absent means TCP.
    pub protocol: Option<Protocol>,
    /// The number; absent means all ports, which no proxy can serve.
    pub port: Option<u16>,
}

/// An endpoint: usually a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// The first of `addresses`; none if it is not an IP address.
    #[serde(rename = "addresses", deserialize_with = "first_address")]
    pub address: Option<IpAddr>,
    /// The conditions.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Conditions,
    /// The node that it runs on.
    pub node_name: Option<Box<str>>,
    /// Nodes and zones that should use it; absent if all should.
    pub hints: Option<Box<Hints>>,
}

impl Endpoint {
    /// Whether it takes new connections; true if unset.
    pub fn is_ready(&self) -> bool {
        self.conditions.ready != Some(false)
    }

    /// Whether it answers; true if unset.
    pub fn is_serving(&self) -> bool {
        self.conditions.serving != Some(false)
    }

    /// Whether it is about to end; false if unset.
    pub fn is_terminating(&self) -> bool {
        self.conditions.terminating == Some(true)
    }
}

/// `conditions` of an endpoint.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Takes new connections.
    pub ready: Option<bool>,
    /// Answers.
    pub serving: Option<bool>,
    /// Is about to end.
    pub terminating: Option<bool>,
}

/// `hints` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hints {
    /// The zones whose nodes should use it.
    #[serde(deserialize_with = "or_default")]
    pub for_zones: Vec<Hint>,
    /// The nodes that should use it.
    #[serde(deserialize_with = "or_default")]
    pub for_nodes: Vec<Hint>,
}

/// A zone or node of [`Hints`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hint {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: Box<str>,
}

/// A Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its metadata.
    #[serde(deserialize_with = "or_default")]
    pub metadata: Metadata,
    /// The desired state.
    #[serde(deserialize_with = "or_default")]
    pub spec: NodeSpec,
    /// The observed state.
    #[serde(deserialize_with = "or_default")]
    pub status: NodeStatus,
}

impl Node {
    /// Whether the Node is about to be deleted, by the API or by the cluster autoscaler.
    pub fn leaves(&self) -> bool {
        let tainted = self.spec.taints.iter().any(|taint| &*taint.key == "ToBeDeletedByClusterAutoscaler");
        tainted || self.metadata.deletion_timestamp.is_some()
    }
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// `podCIDRs`: the networks of its pods.
    #[serde(rename = "podCIDRs", deserialize_with = "or_default")]
    pub pod_cidrs: Vec<Box<str>>,
    /// Its taints.
    #[serde(deserialize_with = "or_default")]
    pub taints: Vec<Taint>,
}

/// A taint of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Its key.
    #[serde(deserialize_with = "or_default")]
    pub key: Box<str>,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses.
    #[serde(deserialize_with = "or_default")]
    pub addresses: Vec<NodeAddress>,
}

/// An address of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, …
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: Box<str>,
    /// The address.
    #[serde(deserialize_with = "or_default")]
    pub address: Box<str>,
}

/// Reads null as the default: the API server writes null for an empty list.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<Box<str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The second and later addresses have no meaning.
fn first_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let addresses: Vec<Box<str>> = or_default(deserializer)?;
    Ok(addresses.first().and_then(|address| address.parse().ok()))
}
