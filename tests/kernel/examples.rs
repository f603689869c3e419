//! The examples that are programs of their own, run as a user runs them.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use lvs::ipset::{HashNet, Kind, Member};
use lvs::ipvs::{Destination, Scheduler, Service};
use lvs::vip::{Binder, Vip};

use crate::lab::{Lab, Need, address, tests};
use crate::lost::{Stream, run};
use crate::peers::until;

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs, Need::Program("health")];
        health_quiesces_and_raises_with_damping,
        exporter_prints_services_and_destinations,
        async_quiesces_what_accepts_no_connection,
        own_transport_adds_one_of_each,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Dummy, Need::Ipset(Kind::HashIpPort), Need::Program("reconcile")];
        reconcile_does_what_a_file_says,
        drain_deletes_a_server_when_its_connections_end,
    ));
    all.extend(tests!(&[Need::Ipset(Kind::HashNet), Need::Program("blocklist")];
        blocklist_replaces_a_set_with_progress,
    ));
    all
}

fn health_quiesces_and_raises_with_damping(lab: &Lab) {
    let listen = |at: SocketAddr| lab.run(|| TcpListener::bind(at)).unwrap();
    let free = || listen(address("127.0.0.1:0")).local_addr().unwrap();
    let (failing, passing) = (free(), listen(address("127.0.0.1:0")));
    let web = Service::tcp(address("10.96.0.10:80"), Scheduler::WRR);
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web).unwrap();
    ipvs.add_destination(web, Destination::new(failing).weight(5)).unwrap();
    // Quiesced by another program.
    ipvs.add_destination(web, Destination::new(passing.local_addr().unwrap()).weight(0)).unwrap();

    let mut health = lab.run(|| Command::new("health").arg("20").stdout(Stdio::piped()).spawn()).unwrap();
    let mut lines = BufReader::new(health.stdout.take().unwrap()).lines();
    let mut expect = |text: &str| {
        assert_eq!(lines.next().unwrap().unwrap(), format!("10.96.0.10:80/tcp {failing}: weight {text}"));
    };
    expect("5 -> 0");
    let listener = listen(failing);
    expect("0 -> 5");
    listener.set_nonblocking(true).unwrap();
    let checks = listener.incoming().take_while(Result::is_ok).count();
    assert!(checks >= 3, "raised after {checks} checks");
    drop(listener);
    expect("5 -> 0");
    let mut weights: Vec<_> = ipvs.destinations(web).unwrap().iter().map(|info| info.destination.weight).collect();
    weights.sort_unstable();
    assert_eq!(weights, [0, 0]);

    // Deleted and added again, it is checked anew.
    ipvs.delete_service(web).unwrap();
    ipvs.add_service(web).unwrap();
    ipvs.add_destination(web, Destination::new(failing).weight(3)).unwrap();
    expect("3 -> 0");
    let _listener = listen(failing);
    expect("0 -> 3");
    health.kill().unwrap();
    health.wait().unwrap();
}

fn exporter_prints_services_and_destinations(lab: &Lab) {
    let server = lab.run(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let web = Service::tcp(address("10.96.0.10:80"), Scheduler::RR);
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web).unwrap();
    ipvs.add_destination(web, Destination::new(server.local_addr().unwrap()).weight(7)).unwrap();
    let of_server = format!("{{service=\"10.96.0.10:80/tcp\",destination=\"{}\"}}", server.local_addr().unwrap());

    let text = lab.tool("exporter");
    assert!(text.lines().any(|line| line == format!("ipvs_destination_weight{of_server} 7")), "{text}");
    assert!(text.contains("ipvs_service_connections_total{service=\"10.96.0.10:80/tcp\"} 0\n"), "{text}");
    // Each metric is one group: its type, then its samples.
    let mut metric = "";
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(head) => metric = head.split_once(' ').unwrap().0,
            None => assert_eq!(line.split_once('{').unwrap().0, metric, "{text}"),
        }
    }

    lab.tool("ip address add 10.96.0.10/32 dev lo");
    let _client = lab.run(|| TcpStream::connect("10.96.0.10:80")).unwrap();
    let connected = format!("ipvs_destination_connections_total{of_server} 1\n");
    until(&connected, || lab.tool("exporter").contains(&connected));
    assert!(lab.tool("exporter").contains(&format!("ipvs_destination_active_connections{of_server} 1\n")));
}

fn async_quiesces_what_accepts_no_connection(lab: &Lab) {
    let servers = [(); 20].map(|()| lab.run(|| TcpListener::bind("127.0.0.1:0")).unwrap());
    let gone = lab.run(|| TcpListener::bind("127.0.0.1:0")).unwrap().local_addr().unwrap();
    let web = Service::tcp(address("10.96.0.10:80"), Scheduler::WRR);
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web).unwrap();
    for server in servers.iter().map(|server| server.local_addr().unwrap()).chain([gone]) {
        ipvs.add_destination(web, Destination::new(server).weight(3)).unwrap();
    }
    // It cannot be checked by a connection of TCP.
    let dns = Service::udp(address("10.96.0.10:53"), Scheduler::WRR);
    ipvs.add_service(dns).unwrap();
    ipvs.add_destination(dns, Destination::new(gone).weight(3)).unwrap();
    let expected =
        format!("10.96.0.10:80/tcp {gone}: Connection refused (os error 111)\n21 destinations checked, 1 quiesced\n");
    assert_eq!(lab.tool("async"), expected);
    assert_eq!(ipvs.destinations(dns).unwrap()[0].destination.weight, 3);
    for info in ipvs.destinations(web).unwrap() {
        assert_eq!(info.destination.weight, if info.address() == gone { 0 } else { 3 });
    }
}

fn own_transport_adds_one_of_each(lab: &Lab) {
    let expected =
        "10.96.0.10:443/tcp wrr\n192.0.2.1 is in set own\ndone: bind 10.96.0.10 to the local routes of protocol 77\n";
    assert_eq!(lab.tool("own_transport"), expected);
    assert_eq!(lab.tool("ipvsadm -Sn"), "-A -t 10.96.0.10:443 -s wrr\n");
    assert_eq!(lab.tool("ipset save own").lines().last().unwrap(), "add own 192.0.2.1");
    assert_eq!(lab.vips().virtual_ips(&Binder::local_routes(77)).unwrap(), ["10.96.0.10".parse::<Vip>().unwrap()]);
    // Each refusal has its meaning.
    let refused = lab.run(|| Command::new("own_transport").output()).unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("add service 10.96.0.10:443/tcp") && text.contains("AlreadyExists"), "{text}");
}

fn blocklist_replaces_a_set_with_progress(lab: &Lab) {
    assert_eq!(lab.tool_with_input("blocklist blocked", "# old\n\n198.51.100.0/24\n"), "blocked: 1 networks\n");
    let networks = (0..100_000_u32).map(|n| format!("{}/28\n", Ipv4Addr::from_bits(0x0a00_0000 + n * 16)));
    let input = networks.collect::<String>() + "192.0.2.7 timeout 600\n";
    let progress = "blocked: 100000 of 100001\nblocked: 100001 networks\n";
    assert_eq!(lab.tool_with_input("blocklist blocked", &input), progress);
    // A wrong line changes nothing.
    assert_eq!(run(lab, "blocklist", &["blocked"], b"10.0.0.0/8\n10.0.0.0/33\n", Stream::Kept, Stream::Kept), 1);

    let mut ipset = lab.ipset();
    assert_eq!(ipset.names().unwrap(), ["blocked".parse().unwrap()]);
    let blocked = ipset.open::<HashNet>("blocked".parse().unwrap()).unwrap();
    assert_eq!(ipset.members(&blocked).unwrap().len(), 100_001);
    for (text, expected) in [("10.0.0.16/28", true), ("192.0.2.7", true), ("198.51.100.0/24", false)] {
        assert_eq!(ipset.test(&blocked, &Member::parse(text).unwrap()).unwrap(), expected, "{text}");
    }
}

fn reconcile_does_what_a_file_says(lab: &Lab) {
    let file = std::env::temp_dir().join(format!("reconcile-{}.json", std::process::id()));
    let command = |options: &str| format!("reconcile {} {options}", file.display());
    let service = |weight: u32| {
        format!(
            r#"{{"services": [{{"service": "10.96.0.10:443/tcp", "scheduler": "wrr",
            "destinations": [{{"address": "10.244.1.7:6443", "weight": {weight}}}]}}]}}"#
        )
    };
    std::fs::write(&file, service(2)).unwrap();
    let plan = lab.tool(&command("--dry-run"));
    assert!(plan.contains("+ destination 10.244.1.7:6443 masq weight 2 of service 10.96.0.10:443/tcp\n"), "{plan}");
    assert_eq!(lab.tool("ipvsadm -Sn"), "");

    let done = lab.tool(&command("--once"));
    assert!(done.contains(" 0 overtaken, 0 withheld, 0 failed; "), "{done}");
    let table = "-A -t 10.96.0.10:443 -s wrr\n-a -t 10.96.0.10:443 -r 10.244.1.7:6443 -m -w 2\n";
    assert_eq!(lab.tool("ipvsadm -Sn"), table);
    assert!(lab.tool("ip -o address show dev reconcile0").contains("10.96.0.10/32"));
    assert!(lab.tool(&command("--once")).starts_with("0 steps: "));

    // Neither does an unknown option nor a file that cannot be read change anything.
    std::fs::write(&file, service(3)).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(run(lab, "reconcile", &[path, "--dry_run"], b"", Stream::Kept, Stream::Kept), 1);
    std::fs::write(&file, &service(2)[..40]).unwrap();
    assert_eq!(run(lab, "reconcile", &[path], b"", Stream::Kept, Stream::Kept), 1);
    assert_eq!(lab.tool("ipvsadm -Sn"), table);

    // It ends at any time, and the next run continues.
    std::fs::write(&file, service(5)).unwrap();
    let mut keeps = lab.run(|| Command::new("reconcile").arg(path).stdout(Stdio::piped()).spawn()).unwrap();
    let mut lines = BufReader::new(keeps.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert_eq!(line, "~ destination 10.244.1.7:6443 of service 10.96.0.10:443/tcp: weight 2 -> 5 (Done)");
    // A document without `services` is a mistake, not a wish to delete everything.
    std::fs::write(&file, "{}").unwrap();
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("missing field `services`"), "{line}");
    assert!(!lab.tool("ipvsadm -Sn").is_empty());
    std::fs::write(&file, r#"{"services": []}"#).unwrap();
    until("the service is gone", || lab.tool("ipvsadm -Sn").is_empty());
    keeps.kill().unwrap();
    keeps.wait().unwrap();
    std::fs::remove_file(&file).unwrap();
}

fn drain_deletes_a_server_when_its_connections_end(lab: &Lab) {
    let servers = [(); 2].map(|()| lab.run(|| TcpListener::bind("127.0.0.1:0")).unwrap());
    let [leaving, staying] = servers.each_ref().map(|server| server.local_addr().unwrap());
    let web = Service::tcp(address("10.96.0.10:80"), Scheduler::RR);
    let mut ipvs = lab.ipvs();
    ipvs.add_service(web).unwrap();
    ipvs.add_destination(web, Destination::new(leaving)).unwrap();
    lab.tool("ip address add 10.96.0.10/32 dev lo");
    let held = lab.run(|| TcpStream::connect("10.96.0.10:80")).unwrap();
    let accepted = servers[0].accept().unwrap();
    ipvs.add_destination(web, Destination::new(staying)).unwrap();

    let server = leaving.to_string();
    let mut drain =
        lab.run(|| Command::new("drain").args(["10.96.0.10:80/tcp", &server]).stdout(Stdio::piped()).spawn()).unwrap();
    let mut lines = BufReader::new(drain.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with(&format!("{leaving}: active 1 ")), "{line}");
    let quiesced = ipvs.destinations(web).unwrap();
    let weight = |of: SocketAddr| quiesced.iter().find(|info| info.address() == of).unwrap().destination.weight;
    assert_eq!((weight(leaving), weight(staying)), (0, 1));

    // Changes of other programs meanwhile stay.
    let added = address("127.0.0.1:9");
    ipvs.add_destination(web, Destination::new(added).weight(7)).unwrap();
    ipvs.update_destination(web, staying, |server| server.weight = 5).unwrap();
    for _ in 0..2 {
        assert!(lines.next().unwrap().unwrap().starts_with(&format!("{leaving}: active 1 ")));
    }
    drop((held, accepted));
    assert_eq!(lines.last().unwrap().unwrap(), format!("{leaving}: deleted"));
    assert!(drain.wait().unwrap().success());
    let left = ipvs.destinations(web).unwrap();
    let mut left: Vec<_> = left.iter().map(|info| (info.address(), info.destination.weight)).collect();
    left.sort_unstable();
    let mut expected = [(added, 7), (staying, 5)];
    expected.sort_unstable();
    assert_eq!(left, expected);
}
