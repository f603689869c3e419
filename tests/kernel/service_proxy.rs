//! The service proxy, run as a user runs it: its worked examples, compared line by line with `ipvsadm -Sn` and `ipset save`.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use libtest_mimic::Trial;
use lvs::ipset::Kind;
use nix::libc::{SYS_sendmsg, SYS_sendto};
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::lab::{Lab, Need, address, number, tests};
use crate::peers::until;

pub(crate) fn tests() -> Vec<Trial> {
    let needs = &[
        Need::Ipvs,
        Need::Ipset(Kind::HashIpPortNet),
        Need::Ipset(Kind::HashIpPortIp),
        Need::Program("service-proxy"),
        Need::Program("ipvsadm"),
        Need::Program("ipset"),
    ];
    let mut all = tests!(needs;
        proxy_serves_source_ranges_of_a_load_balancer,
        proxy_does_not_bind_an_address_of_the_node,
        proxy_follows_a_rolling_update_state_by_state,
        proxy_applies_nothing_of_a_damaged_or_empty_file,
        a_proxy_killed_after_any_datagram_is_made_up_for,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Ipset(Kind::HashIpPortNet), Need::Program("rolling_update")];
        proxy_fails_no_connection_of_a_rolling_update,
        killed_proxies_fail_no_connection_of_a_rolling_update,
        a_rolling_update_without_drains_fails_connections,
    ));
    all
}

const NODE: &str = "--node-name node-a --zone zone-1 --node-ip 192.0.2.11 --node-ip 2001:db8:1::11 \
                    --vip-cidr 10.96.0.0/16 --vip-cidr fd00:10:96::/112 --pod-cidr 10.244.0.0/16";

/// Applies objects.
fn apply(lab: &Lab, objects: &str) {
    proxy(lab, &format!("apply - {NODE}"), objects);
}

fn proxy(lab: &Lab, command: &str, objects: &str) -> String {
    lab.tool_with_input(&format!("service-proxy {command}"), objects)
}

/// The same, also where the program fails.
fn attempt(lab: &Lab, command: &str, objects: &str) -> Output {
    lab.run(|| {
        let mut program = Command::new("service-proxy");
        program.args(command.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        child.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    })
}

fn service(name: &str, cluster_ip: &str, spec: &str, status: &str) -> String {
    format!(
        r#"{{"kind": "Service", "apiVersion": "v1",
            "metadata": {{"name": "{name}", "namespace": "shop", "creationTimestamp": "2026-11-28T03:52:27Z"}},
            "spec": {{"clusterIP": "{cluster_ip}", "clusterIPs": ["{cluster_ip}"], "ipFamilies": ["IPv4"], {spec}}},
            "status": {{"loadBalancer": {{{status}}}}}}}"#
    )
}

fn slice(service: &str, ports: &str, endpoints: &[String]) -> String {
    format!(
        r#"{{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
            "metadata": {{"name": "{service}-x", "namespace": "shop", "labels": {{"kubernetes.io/service-name": "{service}"}}}},
            "endpoints": [{}], "ports": [{ports}]}}"#,
        endpoints.join(", ")
    )
}

/// An endpoint that is ready, serving and terminating or not.
fn endpoint(address: &str, node: &str, [ready, serving, terminating]: [bool; 3]) -> String {
    format!(
        r#"{{"addresses": ["{address}"], "nodeName": "{node}",
            "conditions": {{"ready": {ready}, "serving": {serving}, "terminating": {terminating}}}}}"#
    )
}

const READY: [bool; 3] = [true, true, false];

/// The table, in the order of its text.
fn table(lab: &Lab) -> Vec<String> {
    sorted(&lab.tool("ipvsadm -Sn"))
}

/// The members of the sets of the packet filter.
fn members(lab: &Lab) -> Vec<String> {
    let saved = lab.tool("ipset save");
    let of_filter = |line: &&str| line.starts_with("add lvs4-") || line.starts_with("add lvs6-");
    sorted(&saved.lines().filter(of_filter).collect::<Vec<_>>().join("\n"))
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

fn bound(lab: &Lab) -> Vec<String> {
    let shown = lab.tool("ip -o addr show dev lvs-proxy0");
    let mut vips: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split_whitespace().skip_while(|word| !word.starts_with("inet")).nth(1))
        .map(str::to_owned)
        .collect();
    vips.sort();
    vips
}

fn proxy_serves_source_ranges_of_a_load_balancer(lab: &Lab) {
    let spec = r#""type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000,
        "loadBalancerSourceRanges": ["192.0.2.0/24", "198.51.100.64/26", "2001:db8:1::/48"],
        "ports": [{"name": "http", "nodePort": 30080, "port": 80, "protocol": "TCP", "targetPort": 8080}]"#;
    let balanced = service("lb-local", "10.96.7.7", spec, r#""ingress": [{"ip": "203.0.113.10", "ipMode": "VIP"}]"#);
    let pods =
        [("10.244.1.11", "node-a"), ("10.244.1.12", "node-a"), ("10.244.2.13", "node-b"), ("10.244.3.14", "node-c")];
    let pods = pods.map(|(address, node)| endpoint(address, node, READY));
    let objects = balanced + &slice("lb-local", r#"{"name": "http", "port": 8080, "protocol": "TCP"}"#, &pods);

    let planned = attempt(lab, &format!("plan - {NODE}"), &objects);
    assert_eq!(planned.status.code(), Some(2));
    assert!(String::from_utf8(planned.stdout).unwrap().contains("\n  health 32000 shop/lb-local: 2 local\n"));
    assert_eq!(table(lab), [""; 0]);

    apply(lab, &objects);
    let expected = "-A -t 203.0.113.10:80 -s rr
-a -t 203.0.113.10:80 -r 10.244.1.11:8080 -m -w 1
-a -t 203.0.113.10:80 -r 10.244.1.12:8080 -m -w 1
-A -t 192.0.2.11:30080 -s rr
-a -t 192.0.2.11:30080 -r 10.244.1.11:8080 -m -w 1
-a -t 192.0.2.11:30080 -r 10.244.1.12:8080 -m -w 1
-A -t 10.96.7.7:80 -s rr
-a -t 10.96.7.7:80 -r 10.244.1.11:8080 -m -w 1
-a -t 10.96.7.7:80 -r 10.244.1.12:8080 -m -w 1
-a -t 10.96.7.7:80 -r 10.244.2.13:8080 -m -w 1
-a -t 10.96.7.7:80 -r 10.244.3.14:8080 -m -w 1";
    assert_eq!(table(lab), sorted(expected));
    let expected = "add lvs4-cluster 10.96.7.7,tcp:80
add lvs4-local 203.0.113.10,tcp:80
add lvs4-local 192.0.2.11,tcp:30080
add lvs4-firewall 203.0.113.10,tcp:80
add lvs4-source 203.0.113.10,tcp:80,192.0.2.0/24
add lvs4-source 203.0.113.10,tcp:80,198.51.100.64/26
add lvs4-source 203.0.113.10,tcp:80,203.0.113.10
add lvs4-loopback 10.244.1.11,tcp:8080,10.244.1.11
add lvs4-loopback 10.244.1.12,tcp:8080,10.244.1.12
add lvs4-vips 10.96.7.7
add lvs4-vips 203.0.113.10";
    assert_eq!(members(lab), sorted(expected));
    assert_eq!(bound(lab), ["10.96.7.7/32", "203.0.113.10/32"]);
    assert_eq!(proxy(lab, &format!("plan - {NODE}"), &objects), "  health 32000 shop/lb-local: 2 local\n");
}

fn proxy_does_not_bind_an_address_of_the_node(lab: &Lab) {
    lab.tool("ip link add node0 type dummy");
    lab.tool("ip addr add 10.0.0.11/24 dev node0");
    let spec = r#""type": "LoadBalancer", "ports": [
        {"name": "web", "nodePort": 31564, "port": 80, "protocol": "TCP", "targetPort": "web"},
        {"name": "websecure", "nodePort": 32312, "port": 443, "protocol": "TCP", "targetPort": "websecure"}]"#;
    let traefik = service("traefik", "10.43.153.251", spec, r#""ingress": [{"ip": "10.0.0.11"}]"#);
    let ports = r#"{"name": "websecure", "port": 8443}, {"name": "web", "port": 8000}"#;
    let objects = traefik + &slice("traefik", ports, &[endpoint("10.42.0.12", "node-a", READY)]);
    let node = "--node-name node-a --node-ip 10.0.0.11 --vip-cidr 10.43.0.0/16";
    let text = proxy(lab, &format!("apply - {node}"), &objects);
    let note = "! conflict shop/traefik: 10.0.0.11 is an address of another interface: it is not bound\n";
    assert!(text.contains(note), "{text}");
    let mut expected = Vec::new();
    for (key, to) in [
        ("10.0.0.11:80", 8000),
        ("10.0.0.11:443", 8443),
        ("10.0.0.11:31564", 8000),
        ("10.0.0.11:32312", 8443),
        ("10.43.153.251:80", 8000),
        ("10.43.153.251:443", 8443),
    ] {
        expected.push(format!("-A -t {key} -s rr"));
        expected.push(format!("-a -t {key} -r 10.42.0.12:{to} -m -w 1"));
    }
    assert_eq!(table(lab), sorted(&expected.join("\n")));
    assert_eq!(bound(lab), ["10.43.153.251/32"]);
    assert!(!members(lab).contains(&"add lvs4-vips 10.0.0.11".to_owned()));
    proxy(lab, &format!("cleanup {node}"), "");
    assert_eq!(table(lab), [""; 0]);
    assert_eq!(lab.tool("ipset list -n"), "");
    assert!(lab.tool("ip -o link").lines().all(|line| !line.contains("lvs-proxy0")));
    assert!(lab.tool("ip -o addr show dev node0").contains("10.0.0.11"));
}

fn proxy_follows_a_rolling_update_state_by_state(lab: &Lab) {
    lab.tool("ip link set lo up");
    lab.tool("ipvsadm -A -t 198.51.100.9:9 -s rr");
    // Both pods are this machine, at addresses that a connection can reach.
    lab.tool("ip addr add 10.244.1.101/32 dev lo");
    lab.tool("ip addr add 10.244.2.102/32 dev lo");
    let listener = lab.run(|| TcpListener::bind(address("10.244.1.101:8080"))).unwrap();
    let (old, new) = (
        |conditions| endpoint("10.244.1.101", "node-a", conditions),
        |conditions| endpoint("10.244.2.102", "node-b", conditions),
    );
    let objects = |endpoints: &[String], ports: &[(&str, u16)]| {
        let of = |target: u16| {
            let ports = ports.iter().map(|(name, port)| format!(r#"{{"name": "{name}", "port": {}}}"#, port + target));
            ports.collect::<Vec<_>>().join(", ")
        };
        let app = service("app", "10.96.18.61", &format!(r#""ports": [{}]"#, of(0)), "");
        app + &slice("app", &of(8000), endpoints)
    };
    let (http, both) = (&[("http", 80)][..], &[("http", 80), ("admin", 81)][..]);
    let to = |port: u16, pods: &[(&str, u32)]| {
        let mut lines = vec![format!("-A -t 10.96.18.61:{port} -s rr")];
        let pods = pods
            .iter()
            .map(|(pod, weight)| format!("-a -t 10.96.18.61:{port} -r 10.244.{pod}:{} -m -w {weight}", 8000 + port));
        lines.extend(pods);
        lines
    };
    let (one, two) = ("1.101", "2.102");
    let ending = [false, true, true];
    let states = [
        (vec![old(READY)], http, to(80, &[(one, 1)])),
        (vec![old(READY), new([false; 3])], http, to(80, &[(one, 1)])),
        (vec![old(READY), new(READY)], http, to(80, &[(one, 1), (two, 1)])),
        (vec![old(ending), new(READY)], http, to(80, &[(one, 0), (two, 1)])),
        (vec![old([false, false, true]), new(READY)], http, to(80, &[(one, 0), (two, 1)])),
        (vec![new(READY)], http, to(80, &[(one, 0), (two, 1)])),
        (vec![new(READY)], both, [to(80, &[(one, 0), (two, 1)]), to(81, &[(two, 1)])].concat()),
        (vec![new(ending)], both, [to(80, &[(one, 0), (two, 1)]), to(81, &[(two, 1)])].concat()),
        (vec![], both, [to(80, &[(one, 0), (two, 0)]), to(81, &[(two, 0)])].concat()),
    ];
    let mut held = None;
    for (version, (endpoints, ports, mut expected)) in states.into_iter().enumerate() {
        apply(lab, &objects(&endpoints, ports));
        expected.push("-A -t 198.51.100.9:9 -s rr".to_owned());
        assert_eq!(table(lab), sorted(&expected.join("\n")), "v{version}");
        if version == 0 {
            let client = lab.run(|| TcpStream::connect(address("10.96.18.61:80"))).unwrap();
            held = Some((client, listener.accept().unwrap()));
        }
    }
    // The Service is gone; its connection ends later.
    let gone = slice("app", "", &[]);
    let end = || proxy(lab, &format!("apply - --allow-empty {NODE}"), &gone);
    end();
    assert_eq!(bound(lab), ["10.96.18.61/32"]);
    assert!(members(lab).contains(&"add lvs4-cluster 10.96.18.61,tcp:80".to_owned()));
    assert!(proxy(lab, &format!("drains {NODE}"), "").contains("10.244.1.101:8080 of 10.96.18.61:80/tcp: active 1 "));
    drop(held);
    until("its connection ends", || {
        proxy(lab, &format!("drains {NODE}"), "").lines().all(|line| line.contains("active 0 "))
    });
    end();
    assert_eq!(table(lab), ["-A -t 198.51.100.9:9 -s rr"]);
    assert_eq!(members(lab), [""; 0]);
    assert_eq!(bound(lab), [""; 0]);
}

fn proxy_applies_nothing_of_a_damaged_or_empty_file(lab: &Lab) {
    let ports = r#"{"name": "http", "port": 8080}"#;
    let app = service("app", "10.96.18.61", r#""ports": [{"name": "http", "port": 80}]"#, "");
    let pods = slice("app", ports, &[endpoint("10.244.1.11", "node-b", READY)]);
    let objects = app.clone() + &pods;
    apply(lab, &objects);
    let (before, sets) = (table(lab), members(lab));
    let beta = objects.replace("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1");
    let gone = r#"{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}"#;
    for (text, error) in [
        (&objects[..objects.len() - 2], "invalid JSON: EOF"),
        ("", "no Service and no EndpointSlice, while services exist"),
        (
            r#"{"kind": "List", "apiVersion": "v1", "items": []}"#,
            "no Service and no EndpointSlice, while services exist",
        ),
        (&app, "no EndpointSlice, which every cluster has"),
        (&pods, "no Service, which every cluster has"),
        (&beta, "EndpointSlice shop/app-x: version discovery.k8s.io/v1beta1 is not supported"),
        (gone, "the API server answered with an error 410: too old resource version"),
    ] {
        let output = attempt(lab, &format!("apply - {NODE}"), text);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.contains(error) && printed.lines().count() == 1, "{printed}");
        assert_eq!((table(lab), members(lab)), (before.clone(), sets.clone()), "{text}");
    }
    proxy(
        lab,
        &format!("apply - --allow-empty --drain 0 {NODE}"),
        r#"{"kind": "ServiceList", "apiVersion": "v1", "items": null}"#,
    );
    assert_eq!(table(lab), [""; 0]);
}

/// Runs the example; returns whether it succeeded, and its output.
fn update(lab: &Lab, mode: &str) -> (bool, String) {
    let output = lab.run(|| Command::new("rolling_update").arg(mode).output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn proxy_fails_no_connection_of_a_rolling_update(lab: &Lab) {
    let (success, text) = update(lab, "drain");
    assert!(success && text.ends_with("\n0 failed\n"));
}

fn killed_proxies_fail_no_connection_of_a_rolling_update(lab: &Lab) {
    let (success, text) = update(lab, "kill");
    assert!(success && text.ends_with("\n0 failed\n"));
}

/// The negative control: without drains, the update fails connections.
fn a_rolling_update_without_drains_fails_connections(lab: &Lab) {
    let (success, text) = update(lab, "delete");
    let failed = text.lines().last().and_then(|line| line.strip_suffix(" failed")).unwrap();
    assert!(!success && failed.parse::<u64>().unwrap() > 0);
}

// Kills.

/// Services, destinations, keys, members and virtual IPs.
fn everything(lab: &Lab) -> [Vec<String>; 3] {
    let saved = lab.tool("ipset save");
    let added = saved.lines().filter(|line| line.starts_with("add ")).collect::<Vec<_>>();
    [table(lab), sorted(&added.join("\n")), bound(lab)]
}

/// Returns whether a line of `/proc/PID/syscall` is of a call that sends a datagram.
fn sends(line: &str) -> bool {
    let mut words = line.split(' ');
    let call = words.next().unwrap();
    // The C library of s390x calls `socketcall`, whose first argument stands for `send`, `sendto` or `sendmsg`.
    let inside = cfg!(target_arch = "s390x") && call == "102" && matches!(words.next(), Some("0x9" | "0xb" | "0x10"));
    inside || [SYS_sendto, SYS_sendmsg].iter().any(|number| call == number.to_string())
}

/// Sends SIGKILL to `apply` after this number of datagrams. Returns whether it was killed before its end.
fn kill_after(lab: &Lab, datagrams: usize, objects: &str) -> bool {
    lab.run(|| {
        let mut program = Command::new("service-proxy");
        program.args(["apply", "-", "--drain", "0"]).args(NODE.split_whitespace());
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        // It waits for its input.
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(pid).unwrap();
        let mut status = waitpid(pid, None).unwrap();
        child.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
        // A system call stops the program when it begins and when it ends.
        let mut stops = 0;
        let killed = loop {
            if let WaitStatus::Exited(_, code) = status {
                assert_eq!(code, 0);
                break false;
            }
            if stops == 2 * datagrams {
                child.kill().unwrap();
                break true;
            }
            ptrace::syscall(pid, None).unwrap();
            status = waitpid(pid, None).unwrap();
            if let WaitStatus::PtraceSyscall(_) = status {
                let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
                stops += usize::from(sends(&call));
            }
        };
        // An exit was reported already.
        let _ = child.wait();
        killed
    })
}

fn a_proxy_killed_after_any_datagram_is_made_up_for(lab: &Lab) {
    let foreign = ["-A -t 198.51.100.9:9 -s rr", "-a -t 198.51.100.9:9 -r 192.0.2.9:9 -m -w 1"];
    foreign.iter().for_each(|line| _ = lab.tool(&format!("ipvsadm {line}")));
    lab.tool("ipset create foreign hash:ip");
    lab.tool("ipset add foreign 192.0.2.9");
    let balanced = |ranges: &str, ports: &str, pods: &[&str]| {
        let spec = format!(
            r#""type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": [{ranges}],
            "ports": [{ports}]"#
        );
        let pods: Vec<_> = pods.iter().map(|pod| endpoint(&format!("10.244.1.{pod}"), "node-a", READY)).collect();
        service("lb-local", "10.96.7.7", &spec, r#""ingress": [{"ip": "203.0.113.10", "ipMode": "VIP"}]"#)
            + &slice(
                "lb-local",
                r#"{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}"#,
                &pods,
            )
    };
    let http = r#"{"name": "http", "nodePort": 30080, "port": 80}"#;
    let both = format!(r#"{http}, {{"name": "dns", "port": 53, "protocol": "UDP"}}"#);
    let inputs = [
        balanced(r#""192.0.2.0/24", "198.51.100.64/26""#, http, &["11", "12"]),
        balanced(r#""198.51.100.0/26""#, &both, &["12", "13"])
            + &service("other", "10.96.7.8", r#""ports": [{"name": "http", "port": 80}]"#, ""),
    ];
    let states = inputs.each_ref().map(|objects| {
        proxy(lab, &format!("apply - --drain 0 {NODE}"), objects);
        everything(lab)
    });
    let mut kills = 0;
    // Every sixth position: `LVS_SEED` chooses others.
    let first = usize::try_from(number("LVS_SEED", 1) % 6).unwrap();
    for datagrams in (1 + first..).step_by(6) {
        let mut killed = 0;
        for (objects, wanted) in inputs.iter().zip(&states) {
            killed += usize::from(kill_after(lab, datagrams, objects));
            let [table, members, bound] = everything(lab);
            let place = format!("{datagrams} datagrams: {table:?} {members:?} {bound:?}");
            assert!(foreign.iter().all(|line| table.iter().any(|there| there == line)), "{place}");
            assert!(members.iter().any(|line| line == "add foreign 192.0.2.9"), "{place}");
            let own = table.iter().filter(|line| line.starts_with("-A") && !foreign.contains(&line.as_str()));
            let own: Vec<_> = own.map(|line| line.split(' ').collect::<Vec<_>>()).collect();
            let registered = own.iter().all(|words| {
                let protocol = if words[1] == "-t" { "tcp" } else { "udp" };
                members.contains(&format!("add lvs-keys-4 {}", words[2].replace(':', &format!(",{protocol}:"))))
            });
            assert!(registered, "{place}");
            let served = |vip: &String| own.iter().any(|words| words[2].split(':').next() == vip.strip_suffix("/32"));
            assert!(bound.iter().all(served), "{place}");
            proxy(lab, &format!("apply - --drain 0 {NODE}"), objects);
            assert_eq!(everything(lab), *wanted, "{place}");
        }
        kills += killed;
        if killed == 0 {
            break;
        }
    }
    println!("{kills} kills");
    assert!(kills > 5, "{kills}");
}
