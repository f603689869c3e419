//! The rules of the packet filter: constant in number, since they name sets.

use std::fmt::{self, Write};

use lvs::Family;
use lvs::ipset::Network;

/// Mark of packets that are masqueraded.
const MARK: &str = "0x4000";

/// Text for `iptables-restore --noflush` or `ip6tables-restore --noflush`.
///
/// Packets from `pods` to a cluster IP keep their source; without `pods`, all but those of an endpoint to its own Service are
/// masqueraded.
///
/// # Errors
/// None: the text is written to memory.
pub fn iptables(family: Family, pods: &[Network]) -> Result<String, fmt::Error> {
    let (sets, loopback) = if family == Family::Inet { ("lvs4", "127.0.0.0/8") } else { ("lvs6", "::1/128") };
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "*nat")?;
    writeln!(out, ":LVS-SERVICES - [0:0]\n:LVS-POSTROUTING - [0:0]")?;
    writeln!(out, "-A PREROUTING -j LVS-SERVICES\n-A OUTPUT -j LVS-SERVICES\n-A POSTROUTING -j LVS-POSTROUTING")?;
    writeln!(out, "-A LVS-SERVICES -s {loopback} -j RETURN")?;
    let mark = format!("-j MARK --or-mark {MARK}");
    writeln!(out, "-A LVS-SERVICES -m set --match-set {sets}-external dst,dst {mark}")?;
    writeln!(out, "{}", from_elsewhere(family, pods, sets, &mark))?;
    for set in ["external", "local", "cluster"] {
        writeln!(out, "-A LVS-SERVICES -m set --match-set {sets}-{set} dst,dst -j ACCEPT")?;
    }
    writeln!(out, "-A LVS-POSTROUTING -m set --match-set {sets}-loopback dst,dst,src -j MASQUERADE")?;
    writeln!(out, "-A LVS-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN")?;
    writeln!(out, "-A LVS-POSTROUTING -j MARK --xor-mark {MARK}")?;
    writeln!(out, "-A LVS-POSTROUTING -j MASQUERADE --random-fully\nCOMMIT")?;
    writeln!(out, "*filter")?;
    writeln!(out, ":LVS-INPUT - [0:0]\n:LVS-FORWARD - [0:0]")?;
    writeln!(out, "-A INPUT -j LVS-INPUT\n-A FORWARD -j LVS-FORWARD")?;
    let source = format!("-m set ! --match-set {sets}-source dst,dst,src");
    writeln!(out, "-A LVS-INPUT -m set --match-set {sets}-firewall dst,dst {source} -j DROP")?;
    for set in ["cluster", "external", "local"] {
        writeln!(out, "-A LVS-INPUT -m set --match-set {sets}-{set} dst,dst -j RETURN")?;
    }
    writeln!(out, "-A LVS-INPUT -m conntrack --ctstate NEW -m set --match-set {sets}-vips dst -j REJECT")?;
    writeln!(out, "-A LVS-FORWARD -m mark --mark {MARK}/{MARK} -j ACCEPT")?;
    writeln!(out, "-A LVS-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT")?;
    Ok(text)
}

/// The rule that masquerades packets to cluster IPs. A rule can except one network only.
fn from_elsewhere(family: Family, pods: &[Network], sets: &str, mark: &str) -> String {
    let pods = pods.iter().find(|network| Family::of(network.address()) == family);
    let (source, match_on) = match pods {
        Some(network) => (format!("! -s {network} "), "dst,dst"),
        None => (String::new(), "src,dst"),
    };
    format!("-A LVS-SERVICES {source}-m set --match-set {sets}-cluster {match_on} {mark}")
}

/// Text for `nft -f`, for nodes without iptables. Its comments state its limits.
///
/// # Errors
/// None: the text is written to memory.
pub fn nft(vips: &[Network], pods: &[Network]) -> Result<String, fmt::Error> {
    let mut text = String::from(
        "# Rules for nodes without iptables. nftables cannot look into an ipset; therefore these rules lack:\n\
         # - masquerading of an endpoint that reaches itself through its Service,\n\
         # - loadBalancerSourceRanges: the addresses of load balancers are open to all,\n\
         # - the rejection of ports of virtual IPs that no Service has,\n\
         # - external and load balancer addresses: packets to them keep their source.\n\
         table inet lvs\ndelete table inet lvs\ntable inet lvs {\n\
         \tchain services {\n",
    );
    let out = &mut text;
    for (family, word, loopback) in [(Family::Inet, "ip", "127.0.0.0/8"), (Family::Inet6, "ip6", "::1")] {
        let of_family = |networks: &[Network]| {
            let of = networks.iter().filter(|network| Family::of(network.address()) == family);
            of.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        writeln!(out, "\t\t{word} saddr {loopback} return")?;
        let (vips, pods) = (of_family(vips), of_family(pods));
        if !vips.is_empty() {
            let source = if pods.is_empty() { String::new() } else { format!("{word} saddr != {{ {pods} }} ") };
            writeln!(out, "\t\t{word} daddr {{ {vips} }} {source}meta mark set meta mark or {MARK}")?;
        }
    }
    for protocol in ["tcp", "udp", "sctp"] {
        writeln!(out, "\t\tfib daddr type local {protocol} dport 30000-32767 meta mark set meta mark or {MARK}")?;
    }
    text.push_str(
        "\t}\n\
         \tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\tjump services\n\t}\n\
         \tchain output {\n\t\ttype nat hook output priority -100; policy accept;\n\t\tjump services\n\t}\n\
         \tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n",
    );
    let out = &mut text;
    writeln!(out, "\t\tmeta mark & {MARK} != {MARK} return\n\t\tmeta mark set meta mark xor {MARK}")?;
    text.push_str("\t\tmasquerade fully-random\n\t}\n}\n");
    Ok(text)
}
