//! The sysctls that load balancers depend on.

use std::fs;

use super::report::{Finding, Level};
use crate::error::{Cause, Error};
use crate::ipvs::settings::{
    CONN_REUSE_MODE, CONNTRACK, ConnReuse, EXPIRE_NODEST_CONN, EXPIRE_QUIESCENT_TEMPLATE, Setting,
};

const FORWARDING: &str = "a masquerading load balancer routes between clients and real servers; direct routing and tunnels do not \
                          need it";
const ARP_IGNORE: &str = "a real server of direct routing or of a tunnel has the virtual IP on dummy or lo and must not answer \
                          ARP for it; a load balancer with the virtual IP there must";
const ARP_ANNOUNCE: &str = "a real server of direct routing must not use the virtual IP as the sender of its ARP requests: its \
                            neighbours would learn a wrong link-layer address";

const CONNTRACK_WHY: &str = "with 0, netfilter rules for masquerading or connection states never match; 1 costs an entry per \
                             connection";
const NODEST_WHY: &str = "with 0, packets of a connection to a deleted server are dropped silently: clients hang until they \
                          time out";
const QUIESCENT_WHY: &str = "with 0, persistent clients stay at a server of weight 0, which never becomes idle";

/// Reads the sysctls in the calling thread's network namespace, on a kernel of this version.
pub(super) fn check(version: (u32, u32)) -> Vec<Finding> {
    let conntrack = |on: &bool| if *on { Level::Good } else { Level::Depends };
    vec![
        role("net.ipv4.ip_forward", "1 for masquerading", FORWARDING, "1"),
        role("net.ipv6.conf.all.forwarding", "1 for masquerading", FORWARDING, "1"),
        of_ipvs(&CONNTRACK, "1 if netfilter rules match packets of services", CONNTRACK_WHY, conntrack),
        conn_reuse_mode(version),
        of_ipvs(&EXPIRE_NODEST_CONN, "1", NODEST_WHY, |on| advice(*on)),
        of_ipvs(&EXPIRE_QUIESCENT_TEMPLATE, "1", QUIESCENT_WHY, |on| advice(*on)),
        role("net.ipv4.conf.all.arp_ignore", "1 on a real server, 0 on a load balancer", ARP_IGNORE, ""),
        role("net.ipv4.conf.all.arp_announce", "2 on a real server", ARP_ANNOUNCE, "2"),
    ]
}

/// Judges `conn_reuse_mode`, whose effect on new connections from a remembered port changed in Linux 5.9.
fn conn_reuse_mode(version: (u32, u32)) -> Finding {
    if version < (5, 9) {
        let why = "before Linux 5.9, 1 with conntrack drops the first packet from a reused port, a delay of one second; 0 \
                   keeps such clients at quiesced servers";
        let right = |mode: &ConnReuse| mode.is_empty() == CONNTRACK.get().unwrap_or_default();
        return of_ipvs(&CONN_REUSE_MODE, "0 with conntrack, 1 without", why, |mode| advice(right(mode)));
    }
    let off = CONN_REUSE_MODE.get().is_ok_and(|mode| mode.is_empty());
    let why = match (off, EXPIRE_NODEST_CONN.get()) {
        (true, Ok(false)) => {
            "with 0, and expire_nodest_conn at 0, clients that reuse their ports go to quiesced and deleted servers for \
             ever; 0 has no advantage since Linux 5.9"
        }
        _ => {
            "since Linux 5.9, 1 schedules a connection from a reused port anew without loss; with 0 it follows the previous \
             connection"
        }
    };
    of_ipvs(&CONN_REUSE_MODE, "1", why, |mode| advice(!mode.is_empty()))
}

fn advice(good: bool) -> Level {
    if good { Level::Good } else { Level::Advice }
}

/// Judges a setting of IPVS by its value.
fn of_ipvs<T>(
    setting: &Setting<T>,
    advised: &'static str,
    why: &'static str,
    judge: impl FnOnce(&T) -> Level,
) -> Finding {
    let (found, level) = match setting.get().and_then(|value| Ok((setting.entry().text()?, judge(&value)))) {
        Ok(found) => found,
        Err(error) => (missing(&error), Level::Depends),
    };
    Finding { what: setting.entry().to_string().into(), found, advised: advised.into(), why: why.into(), level }
}

fn missing(error: &Error) -> String {
    match error.cause() {
        Cause::FamilyNotFound { .. } => "absent without IPVS".to_owned(),
        cause => format!("absent: {cause}"),
    }
}

/// Judges a sysctl that is right for every role of the machine as `good`, and otherwise depends on the role.
fn role(what: &'static str, advised: &'static str, why: &'static str, good: &str) -> Finding {
    let (found, level) = match fs::read_to_string(format!("/proc/sys/{}", what.replace('.', "/"))) {
        Ok(text) => {
            let level = if text.trim_end() == good { Level::Good } else { Level::Depends };
            (text.trim_end().to_owned(), level)
        }
        Err(error) => (format!("absent: {error}"), Level::Depends),
    };
    Finding { what: what.into(), found, advised: advised.into(), why: why.into(), level }
}
