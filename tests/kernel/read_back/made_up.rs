//! Random objects of every kind, valid and invalid.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::time::Duration;

use lvs::ipvs::{
    Destination, Forwarding, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags, ServiceKey,
    SyncDaemon, SyncState, Thresholds, Timeouts, Tunnel, TunnelFlags,
};
use lvs::{Family, Interface, Protocol};

use crate::random::Random;

const I32_MAX: u32 = u32::MAX >> 1;

/// Any number, small ones and the limits more often.
fn number(random: &mut Random) -> u32 {
    let any = u32::try_from(random.below(1 << 32)).unwrap();
    *random.one(&[1, 2, 255, 256, 65535, 65536, I32_MAX, I32_MAX + 1, u32::MAX, any, any >> 8, any >> 16, any >> 24])
}

fn positive(random: &mut Random) -> NonZeroU32 {
    NonZeroU32::new(number(random).max(1)).unwrap()
}

fn short(random: &mut Random) -> u16 {
    u16::try_from(random.below(1 << 16)).unwrap()
}

const SPECIAL_V4: [&str; 9] = [
    "0.0.0.0",
    "0.0.0.1",
    "127.0.0.1",
    "224.0.0.1",
    "239.1.2.3",
    "240.0.0.1",
    "255.255.255.255",
    "169.254.1.1",
    "10.9.9.255",
];
const SPECIAL_V6: [&str; 9] =
    ["::", "::1", "fe80::1", "ff02::1", "ff0e::1234", "fc00::1", "::ffff:10.0.0.1", "100::1", "2002::1"];

fn ip(random: &mut Random, family: Family) -> IpAddr {
    let special = random.percent(20);
    match family {
        Family::Inet if special => random.one(&SPECIAL_V4).parse().unwrap(),
        Family::Inet6 if special => random.one(&SPECIAL_V6).parse().unwrap(),
        Family::Inet => Ipv4Addr::from_bits(10 << 24 | u32::try_from(random.below(1 << 24)).unwrap()).into(),
        Family::Inet6 => {
            let host = u128::try_from(random.below(1 << 40)).unwrap();
            Ipv6Addr::from_bits(0x2001_0db8 << 96 | host).into()
        }
    }
}

fn family(random: &mut Random) -> Family {
    *random.one(&[Family::Inet, Family::Inet6])
}

/// Some have a scope or a flow label.
fn socket_address(random: &mut Random, family: Family, port: u16) -> SocketAddr {
    match ip(random, family) {
        IpAddr::V6(ip) if random.percent(4) => SocketAddrV6::new(ip, port, 0, 1).into(),
        IpAddr::V6(ip) if random.percent(4) => SocketAddrV6::new(ip, port, 7, 0).into(),
        ip => SocketAddr::new(ip, port),
    }
}

pub(super) fn key(random: &mut Random) -> ServiceKey {
    let family = family(random);
    if random.percent(25) {
        return ServiceKey::FirewallMark { mark: positive(random), family };
    }
    let usual = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    let unusual = [0, 1, 33, 47, 136, 255, 256, 262, 65535].map(Protocol);
    let protocol = if random.percent(85) { *random.one(&usual) } else { *random.one(&unusual) };
    let port = if random.percent(12) { 0 } else { short(random) };
    ServiceKey::Address { protocol, address: socket_address(random, family, port) }
}

fn persistence(random: &mut Random, family: Family) -> Persistence {
    let seconds = Duration::from_secs;
    let timeout = match random.below(10) {
        0 => Duration::ZERO,
        1 => Persistence::LONGEST,
        2 => Persistence::LONGEST + seconds(1),
        3 => *random.one(&[seconds(u32::MAX.into()), seconds(1 << 32), Duration::MAX, seconds((1 << 32) + 300)]),
        4 => *random.one(&[Duration::from_millis(1500), Duration::from_nanos(1), Duration::from_millis(999)]),
        _ => seconds((number(random) >> 10).into()),
    };
    let any = u32::try_from(random.below(1 << 32)).unwrap();
    let v4 = Netmask::inet(*random.one(&[
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(255, 255, 240, 0),
        Ipv4Addr::from_bits(any),
    ]));
    let v6 = Netmask::inet6(1 + u8::try_from(random.below(128)).unwrap()).unwrap();
    let same = random.percent(90) == (family == Family::Inet);
    let netmask = if random.percent(50) {
        Netmask::HOST
    } else if same {
        v4
    } else {
        v6
    };
    Persistence::new(timeout).netmask(netmask)
}

/// A service with this key.
pub(super) fn service(random: &mut Random, key: ServiceKey) -> Service {
    let mut service = Service::new(key, *random.one(Scheduler::ALL));
    match random.below(100) {
        0..=4 => service.scheduler = Scheduler::NONE,
        5 => service.scheduler = Scheduler::new("nosuch").unwrap(),
        _ => {}
    }
    if random.percent(50) {
        service.persistence = Some(persistence(random, key.family()));
    }
    match random.below(100) {
        0..=14 => service.engine = Some(PersistenceEngine::SIP),
        15 => service.engine = Some(PersistenceEngine::new("nosuch").unwrap()),
        _ => {}
    }
    service.flags = match random.below(10) {
        0..=4 => ServiceFlags::empty(),
        5..=7 => ServiceFlags::from_bits_retain(u32::try_from(random.below(16)).unwrap() << 2),
        8 => ServiceFlags::from_bits_retain(number(random)),
        _ => ServiceFlags::from_bits_retain(number(random) & !7),
    };
    service
}

fn tunnel(random: &mut Random) -> Tunnel {
    let flags = match random.below(5) {
        0 => TunnelFlags::from_bits_retain(short(random)),
        other => TunnelFlags::from_bits_retain([0, 0, 1, 2, 3][other]),
    };
    let any = short(random);
    let port = *random.one(&[1, 6080, u16::MAX, any]);
    match random.below(8) {
        0..=1 => Tunnel::Ipip,
        2..=3 => Tunnel::Gue { port: NonZeroU16::new(port.max(1)).unwrap(), flags },
        4..=5 => Tunnel::Gre { flags },
        6 => Tunnel::Other { kind: *random.one(&[0, 1, 2]), port: *random.one(&[0, port]), flags },
        _ => Tunnel::Other { kind: *random.one(&[3, 4, 255]), port: *random.one(&[0, port]), flags },
    }
}

pub(super) fn destination_address(random: &mut Random, key: ServiceKey) -> SocketAddr {
    let other = match key.family() {
        Family::Inet => Family::Inet6,
        Family::Inet6 => Family::Inet,
    };
    let family = if random.percent(85) { key.family() } else { other };
    let own_port = match key {
        ServiceKey::Address { address, .. } => address.port(),
        ServiceKey::FirewallMark { .. } => 0,
    };
    let port = match random.below(10) {
        0..=5 => own_port,
        6 => 0,
        _ => short(random),
    };
    socket_address(random, family, port)
}

/// A destination with this address.
pub(super) fn destination(random: &mut Random, address: SocketAddr) -> Destination {
    let mut destination = Destination::new(address);
    let any = number(random);
    destination.weight = *random.one(&[0, 1, 100, any]);
    destination.forwarding = match random.below(12) {
        0..=3 => Forwarding::Masquerade,
        4..=5 => Forwarding::DirectRoute,
        6 => Forwarding::Local,
        7 => Forwarding::Bypass,
        8 => Forwarding::Other(*random.one(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 0x1001, u32::MAX])),
        _ => Forwarding::Tunnel(tunnel(random)),
    };
    if random.percent(40) {
        let (upper, any) = (positive(random), positive(random));
        let lower = *random.one(&[None, Some(upper), Some(any), NonZeroU32::new(upper.get() / 2)]);
        destination.thresholds = Some(Thresholds { upper, lower });
    }
    destination
}

pub(super) fn daemon(random: &mut Random) -> SyncDaemon {
    let interface = if random.percent(90) { "near" } else { *random.one(&["lo", "nowhere"]) };
    let state = *random.one(&[SyncState::Master, SyncState::Backup]);
    let any = short(random);
    let sync_id = *random.one(&[0, 1, 77, 255, any.to_ne_bytes()[0]]);
    let mut daemon = SyncDaemon::new(state, Interface::new(interface).unwrap(), sync_id);
    let lengths = [0, 1, 1023, 1024, 1472, 1500, 9000, 65487, 65488, 65507, 65508, u16::MAX, any, any];
    daemon.max_length = NonZeroU16::new(*random.one(&lengths));
    let right = ["224.0.0.81", "224.0.1.99", "239.255.255.255", "ff02::81", "ff05::258", "ff0e::1", "ff01::1"];
    let wrong = ["10.0.0.1", "0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "::ffff:224.0.0.81"];
    daemon.group = match random.below(10) {
        0..=1 => None,
        2 => random.one(&wrong).parse().ok(),
        _ => random.one(&right).parse().ok(),
    };
    daemon.port = NonZeroU16::new(*random.one(&[0, 1, 258, 8848, u16::MAX, any]));
    daemon.ttl = NonZeroU8::new(*random.one(&[0, 1, 7, 255]));
    daemon
}

pub(super) fn timeouts(random: &mut Random) -> Timeouts {
    let seconds = [
        1,
        2,
        258,
        2_147_483,
        2_147_484,
        8_589_934,
        8_589_935,
        21_474_836,
        21_474_837,
        i32::MAX as u64,
        1 << 31,
        u32::MAX.into(),
        1 << 32,
        (1 << 32) + 60,
        u64::MAX,
    ];
    let mut one = || match random.below(10) {
        0..=3 => None,
        4 => Some(*random.one(&[Duration::ZERO, Duration::from_millis(1), Duration::from_millis(1500)])),
        5..=6 => Some(Duration::from_secs(*random.one(&seconds))),
        _ => Some(Duration::from_secs(1 + random.below(2_147_483) as u64)),
    };
    Timeouts { tcp: one(), tcp_fin: one(), udp: one() }
}
