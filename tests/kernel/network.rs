//! A small network: a client, a director and two real servers on one link, in both families.

use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use lvs::Family;
use lvs::netns::Namespace;
use lvs::vip::{Binder, Vips};

use crate::lab::tool;

/// The last part of a host's addresses.
pub(crate) const DIRECTOR: u8 = 1;
pub(crate) const CLIENT: u8 = 2;
pub(crate) const SERVERS: [u8; 2] = [11, 12];

/// Path of the servers' answers.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Answers {
    /// As masquerading needs.
    ThroughDirector,
    /// Straight to the client, from the virtual address, which they hold, too: for direct routing and tunnels.
    Directly,
}

/// The link and its hosts. Their addresses are [`host`], and the client reaches [`vip`] through the director.
pub(crate) struct Network {
    switch: Namespace,
    pub(crate) client: Namespace,
    pub(crate) servers: [Namespace; 2],
    pub(crate) answers: Answers,
}

/// Settings of every host. They are written before its interfaces are created, which copy `default`.
const SETTINGS: &[(&str, &str)] = &[
    // Packets to the same host come by different ways.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // All are on one link, and yet answers are to go through the director.
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    // IPv6 neighbours are asked from the link-local address, which would first be held back for a second or two.
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
];

const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/forwarding", "1"),
];

/// Not telling anybody that it holds the virtual address. For IPv6 that needs no setting: the kernel answers only for
/// addresses of the interface on which it is asked.
const SILENCE: &[(&str, &str)] = &[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")];

impl Network {
    /// With a director that holds the virtual address.
    pub(crate) fn new(director: &Namespace, answers: Answers) -> Self {
        let [switch, client, one, two] = [(); 4].map(|()| Namespace::create().unwrap());
        let network = Self { switch, client, servers: [one, two], answers };
        tool(&network.switch, "ip link add br0 up type bridge mcast_snooping 0", "");
        network.plug(&network.client, CLIENT);
        for (server, number) in network.servers.iter().zip(SERVERS) {
            set(server, SILENCE);
            network.plug(server, number);
            if answers == Answers::Directly {
                hold_vip(server);
            }
        }
        network.add_director(director, DIRECTOR);
        network.take_over(director, DIRECTOR);
        network
    }

    /// Connects a host that forwards.
    pub(crate) fn add_director(&self, director: &Namespace, number: u8) {
        set(director, FORWARDING);
        self.plug(director, number);
    }

    /// Gives a director the virtual address, and all ways lead through it.
    pub(crate) fn take_over(&self, director: &Namespace, number: u8) {
        hold_vip(director);
        let way = |to: fn(Family) -> IpAddr| {
            FAMILIES.map(|family| format!("route replace {} via {}\n", to(family), host(family, number))).concat()
        };
        tool(&self.client, "ip -batch -", &way(vip));
        if self.answers == Answers::ThroughDirector {
            for server in &self.servers {
                tool(server, "ip -batch -", &way(|family| host(family, CLIENT)));
            }
        }
    }

    /// Connects a host by its interface `eth0`.
    fn plug(&self, namespace: &Namespace, number: u8) {
        set(namespace, SETTINGS);
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_fd().as_raw_fd());
        let cable = format!("ip link add port{number} up master br0 type veth peer name eth0 netns {path}");
        tool(&self.switch, &cable, "");
        let addresses = FAMILIES.map(|family| adding(host(family, number))).concat();
        tool(namespace, "ip -batch -", &format!("link set lo up\n{addresses}link set eth0 up\n"));
    }
}

fn hold_vip(namespace: &Namespace) {
    let mut vips = namespace.run(Vips::connect).unwrap().unwrap();
    vips.bind_all(&Binder::dummy("vip0").unwrap(), FAMILIES.map(vip)).unwrap();
}

/// Writes sysctls, by their paths below `net`.
fn set(namespace: &Namespace, settings: &[(&str, &str)]) {
    let write = || {
        for (path, value) in settings {
            fs::write(format!("/proc/sys/net/{path}"), value).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    };
    namespace.run(write).unwrap();
}

pub(crate) const FAMILIES: [Family; 2] = [Family::Inet, Family::Inet6];

/// A line for `ip -batch` that gives a host an address on the link.
pub(crate) fn adding(address: IpAddr) -> String {
    let rest = if address.is_ipv4() { "/24" } else { "/64 nodad" };
    format!("address add {address}{rest} dev eth0\n")
}

/// A host's address on the link.
pub(crate) fn host(family: Family, number: u8) -> IpAddr {
    let prefix = if family == Family::Inet { "10.0.0." } else { "2001:db8::" };
    format!("{prefix}{number}").parse().unwrap()
}

/// The virtual address.
pub(crate) fn vip(family: Family) -> IpAddr {
    if family == Family::Inet { [10, 96, 0, 10].into() } else { "2001:db8:96::a".parse().unwrap() }
}
