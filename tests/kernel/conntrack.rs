//! The connection tracker, and the UDP flows that a service cannot reach.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::conntrack::{Conntrack, Flow};
use lvs::director::{Desired, Director, Owner};
use lvs::ipvs::{Destination, Ipvs, Scheduler, Service, settings};
use lvs::vip::Binder;
use lvs::{Family, Outcome, ipvs};

use crate::lab::{Lab, Need, tests, unprivileged_child};
use crate::network::{Answers, CLIENT, DIRECTOR, FAMILIES, Network, SERVERS, host, vip};
use crate::peers::{Client, Connection, Server, Transport};

pub(crate) fn tests() -> Vec<Trial> {
    use Need::{Dummy, Ipvs, Module, OwnMachine, Program};
    let mut all = tests!(&[Ipvs, Dummy, Module("nf_conntrack_netlink"), Program("iptables"), Program("ip6tables")];
        only_udp_flows_of_the_family_are_listed,
        a_later_flow_of_the_same_client_is_not_deleted,
        a_flow_from_before_its_address_was_bound_is_mended_by_deleting_it,
        a_flow_from_before_its_service_existed_is_mended_by_deleting_it,
        a_masqueraded_flow_is_not_stale,
        a_director_mends_flows_from_before,
    );
    all.extend(tests!(&[Module("nf_conntrack_netlink"), Module("xt_CT"), Program("iptables")];
        a_flow_of_any_zone_is_deleted,
    ));
    all.extend(tests!(&[Module("nf_conntrack_netlink")];
        an_untracked_namespace_has_no_flows,
        without_privilege_the_capability_is_named,
    ));
    all.extend(tests!(&[OwnMachine, Module("nf_conntrack_netlink")];
        without_the_module_the_tracker_is_unavailable,
    ));
    all
}

/// Datagrams of a flow.
const DATAGRAMS: usize = 10;

/// A director whose servers answer through it only if it masquerades, a client and a UDP service of one server.
struct Balanced<'a> {
    lab: &'a Lab,
    network: Network,
    ipvs: Ipvs,
    conntrack: Conntrack,
    service: Service,
    endpoint: SocketAddr,
    _server: Server,
}

impl<'a> Balanced<'a> {
    /// Neither the virtual address nor the service exists.
    fn new(lab: &'a Lab, family: Family) -> Self {
        let network = Network::new(lab.namespace(), Answers::Directly);
        lab.vips().clear(&Binder::dummy("vip0").unwrap()).unwrap();
        lab.run(|| settings::CONNTRACK.set(true)).unwrap();
        lab.run(|| settings::EXPIRE_NODEST_CONN.set(true)).unwrap();
        // A default route away, as every director has one.
        lab.tool("ip link add away up type dummy");
        let service = Service::udp(SocketAddr::new(vip(family), 5353), Scheduler::RR);
        let endpoint = SocketAddr::new(host(family, SERVERS[0]), 1053);
        for (family, iptables) in [(Family::Inet, "iptables"), (Family::Inet6, "ip6tables")] {
            let bits = if family == Family::Inet { "-4" } else { "-6" };
            lab.tool(&format!("ip {bits} route add default dev away"));
            let server = host(family, SERVERS[0]);
            lab.tool(&format!("{iptables} -t nat -A POSTROUTING -d {server} -p udp -j MASQUERADE"));
        }
        let server = Server::start(&network.servers[0], Transport::Udp, endpoint, "served");
        let conntrack = lab.run(Conntrack::connect).unwrap();
        Self { lab, network, ipvs: lab.ipvs(), conntrack, service, endpoint, _server: server }
    }

    fn address(&self) -> SocketAddr {
        let ipvs::ServiceKey::Address { address, .. } = self.service.key else { panic!("{:?}", self.service) };
        address
    }

    fn bind(&self) {
        self.lab.vips().bind(&Binder::dummy("vip0").unwrap(), self.address().ip()).unwrap();
    }

    fn add_service(&mut self) {
        self.ipvs.add_service(self.service).unwrap();
        self.ipvs.add_destination(self.service.key, Destination::new(self.endpoint)).unwrap();
    }

    /// A client that keeps its port.
    fn connect(&self) -> Connection {
        Client::new(&self.network.client, Transport::Udp).connect(self.address()).unwrap()
    }

    fn flows(&mut self) -> Vec<Flow> {
        let service = self.address();
        let flows = self.conntrack.flows(Family::of(service.ip())).unwrap();
        flows.into_iter().filter(|flow| flow.original.destination == service).collect()
    }

    fn stale(&mut self) -> Vec<Flow> {
        let (service, endpoint) = (self.address(), self.endpoint);
        self.flows().into_iter().filter(|flow| flow.is_stale(service, [endpoint])).collect()
    }

    /// The flow gets no replies until its one entry is deleted, and all replies after that.
    fn is_mended(&mut self, client: &mut Connection, what: &str) {
        is_lost(client, what);
        let stale = self.stale();
        let [flow] = stale[..] else { panic!("{what}: {stale:?}") };
        assert_eq!(flow.reply.source, self.address(), "{what}: {flow:#}");
        assert!(flow.timeout.is_some_and(|left| left <= Duration::from_secs(120)), "{flow:?}");
        assert_eq!(self.conntrack.remove(&flow).unwrap(), Outcome::Deleted);
        assert_eq!(self.conntrack.remove(&flow).unwrap(), Outcome::Unchanged);
        is_served(client, what);
        assert_eq!(self.stale(), [], "{what}");
        let [flow] = self.flows()[..] else { panic!("{what}") };
        assert_eq!(flow.reply.source, self.endpoint);
        assert_eq!(flow.reply.destination.ip(), host(flow.family(), DIRECTOR), "masqueraded: {flow:#}");
        assert_eq!(flow.original.source.ip(), host(flow.family(), CLIENT));
    }
}

/// No datagram of the flow gets a reply.
fn is_lost(client: &mut Connection, what: &str) {
    client.set_patience(Duration::from_millis(100));
    let replies = (0..DATAGRAMS).filter(|_| client.ask().is_ok()).count();
    assert_eq!(replies, 0, "{what}");
}

/// All datagrams of the flow get a reply, but for the first: it reports that an earlier one was refused.
fn is_served(client: &mut Connection, what: &str) {
    client.set_patience(Duration::from_secs(5));
    let replies = (0..DATAGRAMS).filter(|_| client.ask().is_ok_and(|name| name == "served")).count();
    assert!(replies + 1 >= DATAGRAMS, "{what}: {replies} replies");
}

fn a_flow_from_before_its_address_was_bound_is_mended_by_deleting_it(lab: &Lab) {
    for family in FAMILIES {
        let mut balanced = Balanced::new(lab, family);
        balanced.add_service();
        let mut client = balanced.connect();
        is_lost(&mut client, "routed away");
        balanced.bind();
        balanced.is_mended(&mut client, &format!("{family}, bound late"));
        clean(lab, balanced);
    }
}

fn a_flow_from_before_its_service_existed_is_mended_by_deleting_it(lab: &Lab) {
    for family in FAMILIES {
        let mut balanced = Balanced::new(lab, family);
        balanced.bind();
        balanced.add_service();
        let mut client = balanced.connect();
        is_served(&mut client, "from the start");
        balanced.ipvs.delete_service(balanced.service.key).unwrap();
        is_lost(&mut client, "without a service");
        balanced.add_service();
        balanced.is_mended(&mut client, &format!("{family}, deleted and added"));
        clean(lab, balanced);
    }
}

fn a_masqueraded_flow_is_not_stale(lab: &Lab) {
    for family in FAMILIES {
        let mut balanced = Balanced::new(lab, family);
        balanced.bind();
        balanced.add_service();
        let mut client = balanced.connect();
        is_served(&mut client, "from the start");
        assert_eq!((balanced.flows().len(), balanced.stale().len()), (1, 0));
        let (service, other) = (balanced.address(), SocketAddr::new(host(family, SERVERS[1]), 1053));
        assert!(balanced.flows()[0].is_stale(service, [other]), "its endpoint is gone");
        clean(lab, balanced);
    }
}

/// A flow that began before its service and its address is served as soon as the director has created both.
///
/// It is served again after the service was deleted and created again.
fn a_director_mends_flows_from_before(lab: &Lab) {
    for family in FAMILIES {
        let mut balanced = Balanced::new(lab, family);
        let owner = Owner::registered("mend").unwrap();
        let director = Director::over(lab.ipvs(), lab.ipset(), lab.vips(), owner, Binder::dummy("vip0").unwrap());
        let mut director = director.conntrack(lab.run(Conntrack::connect).unwrap());
        let mut desired = Desired::default();
        desired.service(balanced.service, [Destination::new(balanced.endpoint)]).unwrap();
        let mut client = balanced.connect();
        is_lost(&mut client, "without a service");
        director.sync(&desired).unwrap();
        is_served(&mut client, &format!("{family}, made by the director"));
        balanced.ipvs.delete_service(balanced.service.key).unwrap();
        is_lost(&mut client, "deleted by another program");
        director.sync(&desired).unwrap();
        is_served(&mut client, &format!("{family}, mended by the director"));
        director.sync(&Desired::default()).unwrap();
        clean(lab, balanced);
    }
}

/// Makes room for the other family.
fn clean(lab: &Lab, mut balanced: Balanced<'_>) {
    balanced.ipvs.clear().unwrap();
    lab.vips().clear(&Binder::dummy("vip0").unwrap()).unwrap();
    lab.tool("ip link delete away");
    lab.tool("ip link delete eth0");
    lab.tool("iptables -t nat -F");
    lab.tool("ip6tables -t nat -F");
}

/// Tracks everything in the lab.
fn track(lab: &Lab) {
    for iptables in ["iptables", "ip6tables"] {
        lab.tool(&format!("{iptables} -A INPUT -m conntrack --ctstate INVALID -j DROP"));
    }
}

/// A UDP flow over the loopback interface.
fn flow_to(lab: &Lab, address: &str) -> Connection {
    Client::new(lab.namespace(), Transport::Udp).connect(address.parse().unwrap()).unwrap()
}

fn only_udp_flows_of_the_family_are_listed(lab: &Lab) {
    track(lab);
    let mut conntrack = lab.run(Conntrack::connect).unwrap();
    let addresses = ["127.0.0.1:1053", "[::1]:1053"];
    let mut servers = Vec::new();
    for address in addresses {
        let server: SocketAddr = address.parse().unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            servers.push(Server::start(lab.namespace(), transport, server, "served"));
            assert_eq!(Client::new(lab.namespace(), transport).ask(server).unwrap(), "served");
        }
    }
    lab.tool("ping -c 1 127.0.0.1");
    for (family, address) in FAMILIES.into_iter().zip(addresses) {
        let address: SocketAddr = address.parse().unwrap();
        let flows = conntrack.flows(family).unwrap();
        let [flow] = flows[..] else { panic!("{flows:?}") };
        assert_eq!((flow.family(), flow.original.zone, flow.mark), (family, 0, Some(0)));
        assert_eq!((flow.original.destination, flow.reply.source), (address, address));
        assert_eq!((flow.original.source, flow.reply.destination), (flow.reply.destination, flow.original.source));
        // A stream that is dropped early does not disturb the next request.
        assert_eq!(conntrack.stream_flows(family).unwrap().next().unwrap().unwrap().id, flow.id);
        drop(conntrack.stream_flows(family).unwrap());
        conntrack.delete(&flow).unwrap();
        assert_eq!(conntrack.flows(family).unwrap(), []);
    }
}

/// Its number may be the same, since the kernel computes that of the original tuple and the place in memory.
fn a_later_flow_of_the_same_client_is_not_deleted(lab: &Lab) {
    for family in FAMILIES {
        let mut balanced = Balanced::new(lab, family);
        balanced.add_service();
        let mut client = balanced.connect();
        is_lost(&mut client, "routed away");
        balanced.bind();
        for _ in 0..3 {
            let [stale] = balanced.stale()[..] else { panic!("{family}") };
            balanced.conntrack.delete(&stale).unwrap();
            is_served(&mut client, "mended");
            let [served] = balanced.flows()[..] else { panic!("{family}") };
            assert_eq!(served.original, stale.original);
            let error = balanced.conntrack.delete(&stale).unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert_eq!(error.reason(), Some(lvs::Reason::FlowNotFound));
            assert_eq!(balanced.flows()[0].reply, served.reply);
            // And back into the hole.
            lab.vips().clear(&Binder::dummy("vip0").unwrap()).unwrap();
            balanced.conntrack.delete(&served).unwrap();
            is_lost(&mut client, "routed away again");
            balanced.bind();
        }
        clean(lab, balanced);
    }
}

fn a_flow_of_any_zone_is_deleted(lab: &Lab) {
    track(lab);
    let mut conntrack = lab.run(Conntrack::connect).unwrap();
    for (port, option, zones) in
        [(1001, "zone", (258, 258)), (1002, "zone-orig", (258, 0)), (1003, "zone-reply", (0, 258))]
    {
        lab.tool(&format!("iptables -t raw -A OUTPUT -p udp --dport {port} -j CT --{option} 258"));
        let mut client = flow_to(lab, &format!("127.0.0.1:{port}"));
        let _ = client.ask();
        let flows = conntrack.flows(Family::Inet).unwrap();
        let [flow] = flows[..] else { panic!("{option}: {flows:?}") };
        assert_eq!((flow.original.zone, flow.reply.zone), zones, "{option}");
        let mut elsewhere = flow;
        elsewhere.reply.zone = 7;
        assert_eq!(conntrack.remove(&elsewhere).unwrap(), Outcome::Unchanged);
        assert_eq!(conntrack.remove(&flow).unwrap(), Outcome::Deleted, "{option}");
        assert_eq!(conntrack.flows(Family::Inet).unwrap(), []);
    }
}

fn an_untracked_namespace_has_no_flows(lab: &Lab) {
    let mut conntrack = lab.run(Conntrack::connect).unwrap();
    for family in FAMILIES {
        assert_eq!(conntrack.flows(family).unwrap(), []);
    }
}

fn without_privilege_the_capability_is_named(lab: &Lab) {
    for line in unprivileged_child(lab, "conntrack") {
        assert!(line.starts_with("permission denied: ") && line.contains("CAP_NET_ADMIN"), "{line}");
    }
}

fn without_the_module_the_tracker_is_unavailable(lab: &Lab) {
    const HELPER: &str = "/proc/sys/kernel/modprobe";
    let mut conntrack = lab.run(Conntrack::connect).unwrap();
    let helper = std::fs::read_to_string(HELPER).unwrap();
    crate::module::unload(&["nf_conntrack_netlink"]);
    std::fs::write(HELPER, "/bin/false").unwrap();
    let without = conntrack.flows(Family::Inet);
    std::fs::write(HELPER, helper.trim_end()).unwrap();
    let error = without.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("`modprobe nf_conntrack_netlink`"), "{error}");
    // The same client works when the kernel can load it.
    assert_eq!(conntrack.flows(Family::Inet).unwrap(), []);
}
