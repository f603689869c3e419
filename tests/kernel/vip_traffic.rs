//! Connections to virtual IPs, from a client in another namespace.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use libtest_mimic::Trial;
use lvs::Outcome;
use lvs::ipvs::{Destination, Forwarding, Scheduler, Service};
use lvs::netns::Namespace;
use lvs::vip::{Binder, Vip, Vips};

use crate::lab::{Lab, Need, tests};
use crate::peers::{Client, Server, Transport};
use crate::vip::BINDERS;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        a_client_is_served_while_the_address_is_bound_and_refused_after,
        real_servers_hold_the_address_of_direct_routing_in_silence,
    )
}

fn tool(namespace: &Namespace, command: &str) -> String {
    let mut words = command.split(' ');
    let output = namespace.run(|| Command::new(words.next().unwrap()).args(words).output()).unwrap().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Joins the lab's interface `name` to the interface `eth0` of a new namespace, whose addresses end in `host`.
fn neighbour(lab: &Lab, name: &str, host: u8) -> Namespace {
    let other = Namespace::create().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
    lab.tool(&format!("ip link add {name} type veth peer name eth0 netns {path}"));
    lab.tool(&format!("ip link set {name} up"));
    tool(&other, "ip link set lo up");
    tool(&other, "ip link set eth0 up");
    tool(&other, &format!("ip address add 192.0.2.{host}/24 dev eth0"));
    tool(&other, &format!("ip address add 2001:db8:1::{host}/64 dev eth0 nodad"));
    other
}

fn set(namespace: &Namespace, setting: &str, value: &str) {
    namespace.run(|| std::fs::write(format!("/proc/sys/net/{setting}"), value)).unwrap().unwrap();
}

fn own_addresses(lab: &Lab, interface: &str) {
    lab.tool(&format!("ip address add 192.0.2.1/24 dev {interface}"));
    lab.tool(&format!("ip address add 2001:db8:1::1/64 dev {interface} nodad"));
}

fn a_client_is_served_while_the_address_is_bound_and_refused_after(lab: &Lab) {
    let client = neighbour(lab, "eth0", 2);
    own_addresses(lab, "eth0");
    // A router says at once that it knows no way.
    set(lab.namespace(), "ipv4/ip_forward", "1");
    set(lab.namespace(), "ipv6/conf/all/forwarding", "1");
    tool(&client, "ip route add default via 192.0.2.1");
    tool(&client, "ip route add default via 2001:db8:1::1");
    let (mut ipvs, mut vips) = (lab.ipvs(), lab.vips());
    let mut servers = Vec::new();
    for (service, server) in [("10.96.0.10:80", "192.0.2.1:8080"), ("[2001:db8:2::a]:80", "[2001:db8:1::1]:8080")] {
        let (service, server): (SocketAddr, SocketAddr) = (service.parse().unwrap(), server.parse().unwrap());
        let web = Service::tcp(service, Scheduler::RR);
        ipvs.add_service(web).unwrap();
        ipvs.add_destination(web.key, Destination::new(server)).unwrap();
        servers.push(Server::start(lab.namespace(), Transport::Tcp, server, "served"));
        let ask = || Client::new(&client, Transport::Tcp).ask(service);
        let refused = |when: &str| {
            let error = ask().unwrap_err();
            let kinds = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable, ErrorKind::ConnectionRefused];
            assert!(kinds.contains(&error.kind()), "{service} {when}: {error}");
        };
        for binder in BINDERS.map(|binder| binder()) {
            refused("before");
            assert_eq!(vips.bind(&binder, service.ip()).unwrap(), Outcome::Added);
            assert_eq!(ask().unwrap(), "served", "{service} {binder}");
            assert_eq!(vips.unbind(&binder, service.ip()).unwrap(), Outcome::Deleted);
            refused("after");
            vips.clear(&binder).unwrap();
        }
        // One route serves every address of a prefix.
        let routes = Binder::local_routes(77);
        let prefix = if service.is_ipv4() { "10.96.0.0/12" } else { "2001:db8:2::/48" };
        vips.bind(&routes, prefix.parse::<Vip>().unwrap()).unwrap();
        assert_eq!(ask().unwrap(), "served", "{service} {prefix}");
        vips.clear(&routes).unwrap();
        refused("after the prefix");
    }
}

/// The client, the director (the lab) and the server are on one Ethernet.
fn real_servers_hold_the_address_of_direct_routing_in_silence(lab: &Lab) {
    let (client, server) = (neighbour(lab, "client", 2), neighbour(lab, "server", 3));
    lab.tool("ip link add br0 type bridge");
    lab.tool("ip link set client master br0");
    lab.tool("ip link set server master br0");
    lab.tool("ip link set br0 up");
    own_addresses(lab, "br0");
    let mac = |namespace: &Namespace, interface: &str| {
        let shown = tool(namespace, &format!("ip -o link show {interface}"));
        shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let (director_mac, server_mac) = (mac(lab.namespace(), "br0"), mac(&server, "eth0"));

    // A real server of direct routing has the virtual IP, and must not answer ARP for it.
    set(&server, "ipv4/conf/all/arp_ignore", "1");
    set(&server, "ipv4/conf/all/arp_announce", "2");
    let (vip0, label) = (Binder::dummy("vip0").unwrap(), Binder::label("br0:1", 77).unwrap());
    let (mut of_director, mut of_server) = (lab.vips(), server.run(Vips::connect).unwrap().unwrap());
    let mut ipvs = lab.ipvs();
    let mut servers = Vec::new();
    for (service, real) in [("192.0.2.10:80", "192.0.2.3:80"), ("[2001:db8:1::10]:80", "[2001:db8:1::3]:80")] {
        let (service, real): (SocketAddr, SocketAddr) = (service.parse().unwrap(), real.parse().unwrap());
        let vip: IpAddr = service.ip();
        of_server.bind(&vip0, vip).unwrap();
        servers.push(Server::start(&server, Transport::Tcp, service, "real server"));
        let ask = || Client::new(&client, Transport::Tcp).ask(service);
        let unreachable = |when: &str| {
            tool(&client, "ip neigh flush dev eth0");
            let error = ask().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{service} {when}: {error}");
        };
        unreachable("without a director");

        of_director.bind(&label, vip).unwrap();
        let web = Service::tcp(service, Scheduler::RR);
        ipvs.add_service(web).unwrap();
        let mut destination = Destination::new(real);
        destination.forwarding = Forwarding::DirectRoute;
        ipvs.add_destination(web.key, destination).unwrap();
        tool(&client, "ip neigh flush dev eth0");
        assert_eq!(ask().unwrap(), "real server");
        let learnt = tool(&client, &format!("ip neigh show to {vip} dev eth0"));
        assert!(learnt.contains(&director_mac), "{learnt}");

        of_director.unbind(&label, vip).unwrap();
        unreachable("when the director has let go of it");
        // Whoever knows the server's card is served by it: it does hold the address.
        tool(&client, &format!("ip neigh replace {vip} lladdr {server_mac} dev eth0"));
        assert_eq!(ask().unwrap(), "real server");
        tool(&client, &format!("ip neigh del {vip} dev eth0"));
    }
    // Without the setting the server answers for it.
    set(&server, "ipv4/conf/all/arp_ignore", "0");
    tool(&client, "ip neigh flush dev eth0");
    assert_eq!(Client::new(&client, Transport::Tcp).ask("192.0.2.10:80".parse().unwrap()).unwrap(), "real server");
}
