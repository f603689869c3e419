//! Rules of kube-proxy's iptables and nftables modes, and the constant rules of its IPVS mode, as text.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::services::vip;

/// Network of the pods. Connections from it keep their source address.
const PODS: &str = "10.244.0.0/16";

/// Endpoints of the service with this number.
pub(super) type Endpoints<'a> = &'a dyn Fn(u32) -> Vec<SocketAddr>;

/// Returns text for `iptables-restore`: three rules and a chain for each endpoint.
pub(super) fn iptables(count: u32, endpoints: Endpoints<'_>) -> String {
    let (mut chains, mut rules) = (String::new(), String::new());
    for i in 0..count {
        let to = format!("-d {}/32 -p tcp -m tcp --dport 80", vip(i));
        let service = format!("KUBE-SVC-{i:016X}");
        let comment = format!("-m comment --comment \"default/service-{i}:http");
        writeln!(chains, ":{service} - [0:0]").unwrap();
        writeln!(
            rules,
            "-A KUBE-SERVICES {comment} cluster IP\" {to} -j {service}\n\
             -A {service} {comment} cluster IP\" {to} ! -s {PODS} -j KUBE-MARK-MASQ"
        )
        .unwrap();
        let endpoints = endpoints(i);
        for (j, endpoint) in endpoints.iter().enumerate() {
            let chain = format!("KUBE-SEP-{i:012X}{j:04X}");
            let chance = match endpoints.len() - j {
                1 => String::new(),
                left => format!(
                    "-m statistic --mode random --probability {:.11} ",
                    1.0 / f64::from(u16::try_from(left).unwrap())
                ),
            };
            writeln!(chains, ":{chain} - [0:0]").unwrap();
            writeln!(
                rules,
                "-A {service} {comment} -> {endpoint}\" {chance}-j {chain}\n\
                 -A {chain} {comment}\" -s {}/32 -j KUBE-MARK-MASQ\n\
                 -A {chain} {comment}\" -p tcp -m tcp -j DNAT --to-destination {endpoint}",
                endpoint.ip()
            )
            .unwrap();
        }
    }
    format!(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n{chains}\
         -A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n\
         -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n{rules}COMMIT\n"
    )
}

/// Chains of services and endpoints, and the elements of the map, of one table of nftables.
struct Nftables {
    chains: String,
    elements: String,
}

/// Returns chains and elements of the services from `first` on.
fn nftables_of(first: u32, count: u32, endpoints: Endpoints<'_>) -> Nftables {
    let (mut chains, mut elements) = (String::new(), String::new());
    for i in first..first + count {
        let (vip, name) = (vip(i), format!("{i:08X}-default/service-{i}/tcp/http"));
        let chain = |j: usize, endpoint: &SocketAddr| {
            format!("endpoint-{i:08X}{j:04X}-service-{i}/tcp/http__{}/{}", endpoint.ip(), endpoint.port())
        };
        let endpoints = endpoints(i);
        let mut choices = Vec::new();
        for (j, endpoint) in endpoints.iter().enumerate() {
            let chain = chain(j, endpoint);
            choices.push(format!("{j} : goto {chain}"));
            writeln!(
                chains,
                " chain {chain} {{\n  ip saddr {} jump mark-for-masquerade\n  meta l4proto tcp dnat to {endpoint}\n }}",
                endpoint.ip()
            )
            .unwrap();
        }
        writeln!(
            chains,
            " chain service-{name} {{\n  ip daddr {vip} tcp dport 80 ip saddr != {PODS} jump mark-for-masquerade\n  \
             numgen random mod {} vmap {{ {} }}\n }}",
            endpoints.len(),
            choices.join(", ")
        )
        .unwrap();
        writeln!(elements, "{vip} . tcp . 80 : goto service-{name},").unwrap();
    }
    Nftables { chains, elements }
}

/// Returns text for `nft -f`: one map from addresses and ports to a chain for each service, which chooses the chain of an endpoint.
pub(super) fn nftables(count: u32, endpoints: Endpoints<'_>) -> String {
    let Nftables { chains, elements } = nftables_of(0, count, endpoints);
    format!(
        "table ip kube-proxy {{\n map service-ips {{\n  type ipv4_addr . inet_proto . inet_service : verdict\n  \
         elements = {{\n{elements}  }}\n }}\n chain mark-for-masquerade {{\n  mark set mark or 0x4000\n }}\n{chains} \
         chain services {{\n  ip daddr . meta l4proto . th dport vmap @service-ips\n }}\n \
         chain nat-prerouting {{\n  type nat hook prerouting priority dstnat; jump services\n }}\n \
         chain nat-output {{\n  type nat hook output priority -100; jump services\n }}\n \
         chain masquerading {{\n  mark and 0x4000 == 0 return\n  mark set mark xor 0x4000\n  masquerade fully-random\n }}\n \
         chain nat-postrouting {{\n  type nat hook postrouting priority srcnat; jump masquerading\n }}\n}}\n"
    )
}

/// Returns text for `nft -f` that adds one service to a table.
pub(super) fn nftables_addition(number: u32, endpoints: Endpoints<'_>) -> String {
    let Nftables { chains, elements } = nftables_of(number, 1, endpoints);
    let element = elements.trim_end().trim_end_matches(',');
    format!("table ip kube-proxy {{\n{chains}}}\nadd element ip kube-proxy service-ips {{ {element} }}\n")
}

/// Sets of the constant rules: name and type.
pub(super) const SETS: [(&str, &str); 7] = [
    ("lvs4-cluster", "hash:ip,port"),
    ("lvs4-external", "hash:ip,port"),
    ("lvs4-local", "hash:ip,port"),
    ("lvs4-loopback", "hash:ip,port,ip"),
    ("lvs4-firewall", "hash:ip,port"),
    ("lvs4-source", "hash:ip,port,net"),
    ("lvs4-vips", "hash:ip"),
];

/// Text for `iptables-restore`: the output of `service-proxy rules --pod-cidr 10.244.0.0/16`.
pub(super) const CONSTANT: &str = include_str!("constant.rules");
