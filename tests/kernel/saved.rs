//! Services and destinations as `ipvsadm -Sn` writes them.

use lvs::ipvs::{
    Destination, Forwarding, Persistence, Scheduler, Service, ServiceFlags, ServiceKey, Tunnel, TunnelFlags,
};
use lvs::{Family, Protocol};

/// The option that names a service; `None` for a protocol without one.
fn option(key: ServiceKey) -> Option<String> {
    Some(match key {
        ServiceKey::Address { protocol, address } => {
            let option = match protocol {
                Protocol::TCP => "-t",
                Protocol::UDP => "-u",
                Protocol::SCTP => "--sctp-service",
                _ => return None,
            };
            format!("{option} {address}")
        }
        ServiceKey::FirewallMark { mark, family } => {
            // `ipvsadm` writes large marks as negative numbers.
            let mark = i32::from_ne_bytes(mark.get().to_ne_bytes());
            format!("-f {mark}{}", if family == Family::Inet6 { " -6" } else { "" })
        }
    })
}

/// Everything behind the command `-A`; `None` for a protocol or flags without an option.
pub(crate) fn service(service: &Service) -> Option<String> {
    let flags = [ServiceFlags::SCHEDULER_1, ServiceFlags::SCHEDULER_2, ServiceFlags::SCHEDULER_3];
    // `ipvsadm` leaves out the third flag of the first two.
    let names: &[_] = match service.scheduler {
        Scheduler::SH => &["sh-fallback", "sh-port"],
        Scheduler::MH => &["mh-fallback", "mh-port"],
        _ => &["flag-1", "flag-2", "flag-3"],
    };
    let mut rest = service.flags - ServiceFlags::ONE_PACKET;
    let mut set = Vec::new();
    for (flag, name) in flags.into_iter().zip(names) {
        if rest.contains(flag) {
            set.push(*name);
            rest -= flag;
        }
    }
    if !rest.is_empty() {
        return None;
    }
    let mut line = format!("{} -s {}", option(service.key)?, service.scheduler);
    if let Some(Persistence { timeout, netmask, .. }) = service.persistence {
        line += &format!(" -p {}", timeout.as_secs());
        if let Some(mask) = netmask.as_inet().filter(|mask| !mask.is_broadcast()) {
            line += &format!(" -M {mask}");
        }
        if let Some(prefix) = netmask.as_inet6().filter(|prefix| *prefix != 128) {
            line += &format!(" -M {prefix}");
        }
    }
    if let Some(engine) = service.engine {
        line += &format!(" --pe {engine}");
    }
    if service.flags.contains(ServiceFlags::ONE_PACKET) {
        line += " -o";
    }
    if !set.is_empty() {
        line += &format!(" -b {}", set.join(","));
    }
    Some(line)
}

/// Everything behind the command `-a`, without the thresholds; `None` for a forwarding method without an option.
pub(crate) fn destination(key: ServiceKey, destination: &Destination) -> Option<String> {
    let checksum = |flags| match flags {
        TunnelFlags::CHECKSUM => Some("--tun-csum"),
        TunnelFlags::REMOTE_CHECKSUM => Some("--tun-remcsum"),
        _ => flags.is_empty().then_some("--tun-nocsum"),
    };
    let (way, tunnel) = match destination.forwarding {
        Forwarding::Masquerade => ("-m", String::new()),
        Forwarding::DirectRoute => ("-g", String::new()),
        Forwarding::Tunnel(Tunnel::Ipip) => ("-i", " --tun-type ipip".into()),
        Forwarding::Tunnel(Tunnel::Gue { port, flags }) => {
            ("-i", format!(" --tun-type gue --tun-port {port} {}", checksum(flags)?))
        }
        Forwarding::Tunnel(Tunnel::Gre { flags }) => ("-i", format!(" --tun-type gre {}", checksum(flags)?)),
        _ => return None,
    };
    Some(format!("{} -r {} {way} -w {}{tunnel}", option(key)?, destination.address, destination.weight))
}
