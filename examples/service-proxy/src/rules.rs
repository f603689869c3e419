//! The rules of the packet filter: constant in number, since they name sets.

use std::fmt::{self, Write};

use lvs::Family;
use lvs::ipset::Network;

/// Mark of packets that are masqueraded.
const MARK: &str = "0x4000";

/// The tables, and in each the chains of the packet filter from which chains of this program are reached.
const JUMPS: [(&str, &[(&str, &str)]); 2] = [
    ("nat", &[("PREROUTING", "LVS-SERVICES"), ("OUTPUT", "LVS-SERVICES"), ("POSTROUTING", "LVS-POSTROUTING")]),
    ("filter", &[("INPUT", "LVS-INPUT"), ("FORWARD", "LVS-FORWARD")]),
];

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
    let [nat, filter] = JUMPS;
    begin(out, nat, "-A")?;
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
    begin(out, filter, "-A")?;
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

/// Text for `iptables-restore --noflush` or `ip6tables-restore --noflush` that deletes the rules of [`iptables`].
///
/// # Errors
/// None: the text is written to memory.
pub fn delete_iptables() -> Result<String, fmt::Error> {
    let mut text = String::new();
    for table in JUMPS {
        begin(&mut text, table, "-D")?;
        for chain in chains(table.1) {
            writeln!(text, "-X {chain}")?;
        }
        writeln!(text, "COMMIT")?;
    }
    Ok(text)
}

/// Begins a table with the program's chains, empty, and with their jumps added or deleted.
fn begin(out: &mut String, (table, jumps): (&str, &[(&str, &str)]), command: &str) -> fmt::Result {
    writeln!(out, "*{table}")?;
    for chain in chains(jumps) {
        writeln!(out, ":{chain} - [0:0]")?;
    }
    jumps.iter().try_for_each(|(from, chain)| writeln!(out, "{command} {from} -j {chain}"))
}

fn chains<'a>(jumps: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let mut chains: Vec<_> = jumps.iter().map(|(_, chain)| *chain).collect();
    chains.dedup();
    chains
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

/// Text for `nft -f` that deletes the rules of [`nft`], also if none are loaded.
pub const DELETE_NFT: &str = "table inet lvs\ndelete table inet lvs\n";

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
         # - external and load balancer addresses: packets to them keep their source.\n",
    );
    text.push_str(DELETE_NFT);
    text.push_str("table inet lvs {\n\tchain services {\n");
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
