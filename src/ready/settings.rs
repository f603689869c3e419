//! The settings (sysctls) that load balancers depend on.

use std::fs;

use super::{Finding, Level};
use crate::error::{Cause, Error};
use crate::ipvs::settings::{
    CONN_REUSE_MODE, CONNTRACK, ConnReuse, EXPIRE_NODEST_CONN, EXPIRE_QUIESCENT_TEMPLATE, Setting,
};

const FORWARDING: &str = "a masquerading director is the router between clients and real servers; direct routing and tunnels \
                          do not need it";
const ARP_IGNORE: &str = "a real server of direct routing (or a tunnel) has the virtual IP on dummy or lo, and must not \
                          answer ARP for it; a director that holds it there must";
const ARP_ANNOUNCE: &str = "a real server of direct routing must not name the virtual IP as the sender when it asks for \
                            others, or they learn a wrong way to it";

const CONNTRACK_WHY: &str = "without it rules that masquerade or look at states never match; it costs an entry for each \
                             connection";
const NODEST_WHY: &str = "with 0, packets of a connection whose server was deleted are dropped in silence: clients hang \
                          until they time out";
const QUIESCENT_WHY: &str = "with 0, persistent clients stay with a server of weight 0, which is never drained";

/// In the calling thread's network namespace, on a kernel of this version.
pub(super) fn check(version: (u32, u32)) -> Vec<Finding> {
    let conntrack = |on: &bool| if *on { Level::Good } else { Level::Depends };
    vec![
        role("net.ipv4.ip_forward", "1 for masquerading", FORWARDING, "1"),
        role("net.ipv6.conf.all.forwarding", "1 for masquerading", FORWARDING, "1"),
        of_ipvs(&CONNTRACK, "1 if netfilter rules are to see the packets of services", CONNTRACK_WHY, conntrack),
        conn_reuse_mode(version),
        of_ipvs(&EXPIRE_NODEST_CONN, "1", NODEST_WHY, |on| advice(*on)),
        of_ipvs(&EXPIRE_QUIESCENT_TEMPLATE, "1", QUIESCENT_WHY, |on| advice(*on)),
        role("net.ipv4.conf.all.arp_ignore", "1 on a real server, 0 on a director", ARP_IGNORE, ""),
        role("net.ipv4.conf.all.arp_announce", "2 on a real server", ARP_ANNOUNCE, "2"),
    ]
}

/// What a new connection from a remembered port meets, which changed with Linux 5.9.
fn conn_reuse_mode(version: (u32, u32)) -> Finding {
    if version < (5, 9) {
        let why = "before Linux 5.9, 1 with conntrack drops the first packet from a port that is used again (a second lost); 0 \
                   keeps such clients at drained servers";
        let right = |mode: &ConnReuse| mode.is_empty() == CONNTRACK.get().unwrap_or_default();
        return of_ipvs(&CONN_REUSE_MODE, "0 with conntrack, 1 without", why, |mode| advice(right(mode)));
    }
    let off = CONN_REUSE_MODE.get().is_ok_and(|mode| mode.is_empty());
    let why = match (off, EXPIRE_NODEST_CONN.get()) {
        (true, Ok(false)) => {
            "with 0, and expire_nodest_conn at 0, clients that use their ports again go to drained and deleted servers for \
             ever; since Linux 5.9 nothing speaks for 0 any more"
        }
        _ => {
            "since Linux 5.9, 1 schedules a connection from a port that is used again afresh, and loses nothing; with 0 it \
             follows the old one"
        }
    };
    of_ipvs(&CONN_REUSE_MODE, "1", why, |mode| advice(!mode.is_empty()))
}

fn advice(good: bool) -> Level {
    if good { Level::Good } else { Level::Advice }
}

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
        Cause::FamilyNotFound { .. } => "not there without IPVS".to_owned(),
        cause => format!("not there: {cause}"),
    }
}

/// A setting that is good as `good` whatever the machine is for, and otherwise depends on that.
fn role(what: &'static str, advised: &'static str, why: &'static str, good: &str) -> Finding {
    let (found, level) = match fs::read_to_string(format!("/proc/sys/{}", what.replace('.', "/"))) {
        Ok(text) => {
            let level = if text.trim_end() == good { Level::Good } else { Level::Depends };
            (text.trim_end().to_owned(), level)
        }
        Err(error) => (format!("not there: {error}"), Level::Depends),
    };
    Finding { what: what.into(), found, advised: advised.into(), why: why.into(), level }
}
