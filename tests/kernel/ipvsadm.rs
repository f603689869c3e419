//! Our reading and writing, and our `ipvsadm-rs`, agree with the real `ipvsadm`.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::Family;
use lvs::ipvs::{
    Destination, Forwarding, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags, ServiceKey,
    Thresholds, Tunnel, TunnelFlags,
};

use crate::lab::{Lab, Need, address, tests};
use crate::procfs::{call, serve, udp};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs, Need::Program("ipvsadm")];
        ipvsadm_reads_what_we_wrote,
        we_read_what_ipvsadm_wrote,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        both_programs_list_the_same,
        what_one_program_saves_the_other_restores,
        both_programs_set_timeouts_and_run_daemons,
        both_programs_list_the_same_connections,
    ));
    all.extend(tests!(&[Need::OwnMachine, Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        both_programs_ask_dns_for_names,
    ));
    all.extend(tests!(&[Need::Ipvs, Need::Program("ipvsadm-rs")]; each_failed_line_of_a_long_restore_is_told,));
    all
}

/// A table, and the command lines that make it.
fn table() -> (Vec<(Service, Vec<Destination>)>, Vec<&'static str>) {
    let masked = Persistence::new(Duration::from_secs(258)).netmask(Netmask::inet([255, 255, 240, 0].into()));
    let mut web = Service::tcp(address("10.96.0.10:443"), Scheduler::WRR);
    web.persistence = Some(masked);
    let mut dns = Service::udp(address("10.96.0.11:53"), Scheduler::RR);
    dns.flags = ServiceFlags::ONE_PACKET;
    let mut six = Service::sctp(address("[2001:db8::a]:3868"), Scheduler::SH);
    six.flags = ServiceFlags::FALLBACK | ServiceFlags::PORT;
    let prefix = Netmask::inet6(65).unwrap();
    six.persistence = Some(Persistence::new(Duration::from_secs(77)).netmask(prefix));
    let mut sip = Service::udp(address("10.96.0.12:5060"), Scheduler::WLC).persistent(Duration::from_secs(300));
    sip.engine = Some(PersistenceEngine::SIP);
    let mark = Service::firewall_mark(0x0102_0304.try_into().unwrap(), Family::Inet6, Scheduler::LC);
    let mut limited = Destination::new(address("10.244.1.1:6443")).weight(258);
    limited.thresholds =
        Some(Thresholds { upper: 0x0102_0304.try_into().unwrap(), lower: 0x0001_0203.try_into().ok() });
    let tunnel =
        |host, tunnel| Destination::new(([10, 244, 1, host], 443).into()).forwarding(Forwarding::Tunnel(tunnel));
    let gue = Tunnel::Gue { port: 6080.try_into().unwrap(), flags: TunnelFlags::REMOTE_CHECKSUM };
    let table = vec![
        (
            web,
            vec![
                limited,
                Destination::new(address("10.244.1.2:443")).weight(0).forwarding(Forwarding::DirectRoute),
                tunnel(3, Tunnel::Ipip),
                tunnel(4, gue),
                tunnel(5, Tunnel::Gre { flags: TunnelFlags::CHECKSUM }),
            ],
        ),
        (dns, vec![]),
        (six, vec![Destination::new(address("[2001:db8::1:1]:258")).weight(3)]),
        (sip, vec![]),
        (mark, vec![Destination::new(address("[2001:db8::1:2]:0")).forwarding(Forwarding::DirectRoute)]),
    ];
    let commands = vec![
        "-A -t 10.96.0.10:443 -s wrr -p 258 -M 255.255.240.0",
        "-a -t 10.96.0.10:443 -r 10.244.1.1:6443 -m -w 258 -x 16909060 -y 66051",
        "-a -t 10.96.0.10:443 -r 10.244.1.2:443 -g -w 0",
        "-a -t 10.96.0.10:443 -r 10.244.1.3:443 -i -w 1 --tun-type ipip",
        "-a -t 10.96.0.10:443 -r 10.244.1.4:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        "-a -t 10.96.0.10:443 -r 10.244.1.5:443 -i -w 1 --tun-type gre --tun-csum",
        "-A -u 10.96.0.11:53 -s rr -o",
        "-A --sctp-service [2001:db8::a]:3868 -s sh -p 77 -M 65 -b sh-fallback,sh-port",
        "-a --sctp-service [2001:db8::a]:3868 -r [2001:db8::1:1]:258 -m -w 3",
        "-A -u 10.96.0.12:5060 -s wlc -p 300 --pe sip",
        "-A -f 16909060 -6 -s lc",
        "-a -f 16909060 -6 -r [2001:db8::1:2]:0 -g -w 1",
    ];
    (table, commands)
}

/// Returns the output of `ipvsadm -S`, which has no thresholds.
fn saved(commands: &[&str]) -> HashSet<String> {
    commands.iter().map(|line| line.split(" -x ").next().unwrap().to_owned()).collect()
}

fn ipvsadm_reads_what_we_wrote(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let (table, commands) = table();
    for (service, destinations) in table {
        ipvs.add_service(service).unwrap();
        for destination in destinations {
            ipvs.add_destination(service.key, destination).unwrap();
        }
    }
    let text = lab.tool("ipvsadm -Sn");
    assert_eq!(text.lines().map(|line| line.trim_end().to_owned()).collect::<HashSet<_>>(), saved(&commands));
    let thresholds = lab.tool("ipvsadm -Ln --thresholds");
    let line = thresholds.lines().find(|line| line.contains("10.244.1.1:6443")).unwrap();
    assert_eq!(line.split_whitespace().skip(2).collect::<Vec<_>>(), ["16909060", "66051", "0", "0"]);
}

fn we_read_what_ipvsadm_wrote(lab: &Lab) {
    let (table, commands) = table();
    for command in commands {
        lab.tool(&format!("ipvsadm {command}"));
    }
    let read = lab.ipvs().table().unwrap();
    let read: HashSet<_> = read
        .into_iter()
        .map(|(info, all)| {
            let mut destinations: Vec<_> = all.into_iter().map(|info| info.destination).collect();
            destinations.sort_by_key(|destination| destination.address);
            (info.service, destinations)
        })
        .collect();
    assert_eq!(read, table.into_iter().collect());
}

fn both_programs_list_the_same(lab: &Lab) {
    for command in table().1 {
        lab.tool(&format!("ipvsadm-rs {command}"));
    }
    let modes =
        ["", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--nosort", "--exact --stats"];
    for mode in modes {
        assert_eq!(lab.tool(&format!("ipvsadm-rs -Ln {mode}")), lab.tool(&format!("ipvsadm -Ln {mode}")), "{mode}");
    }
    let one = "-Ln -t 10.96.0.10:443";
    assert_eq!(lab.tool(&format!("ipvsadm-rs {one}")), lab.tool(&format!("ipvsadm {one}")));
    assert_eq!(lab.tool("ipvsadm-rs -Sn"), lab.tool("ipvsadm -Sn"));
}

fn what_one_program_saves_the_other_restores(lab: &Lab) {
    for command in table().1 {
        lab.tool(&format!("ipvsadm {command}"));
    }
    let saved = lab.tool("ipvsadm -Sn");
    lab.tool("ipvsadm-rs -C");
    lab.tool_with_input("ipvsadm-rs -R", &saved);
    assert_eq!(lab.tool("ipvsadm -Sn"), saved);
    let ours = lab.tool("ipvsadm-rs -Sn");
    lab.tool("ipvsadm -C");
    lab.tool_with_input("ipvsadm -R", &ours);
    assert_eq!(lab.tool("ipvsadm -Sn"), saved);
}

fn each_failed_line_of_a_long_restore_is_told(lab: &Lab) {
    // Each line twice: the second one fails.
    let input: String = (1..=10_000).map(|port| format!("-A -t 10.0.0.1:{port} -s rr\n").repeat(2)).collect();
    let piped = Stdio::piped;
    let program = || Command::new("ipvsadm-rs").arg("-R").stdin(piped()).stdout(piped()).stderr(piped()).spawn();
    let mut program = lab.run(program).unwrap();
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(255), Vec::new()));
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = (1..=10_000).map(|number| format!("line {}: Service already exists\n", 2 * number));
    assert!(told == expected.collect::<String>(), "{:?}", told.lines().take(9).collect::<Vec<_>>());
    assert_eq!(lab.ipvs().services().unwrap().len(), 10_000);
}

fn both_programs_set_timeouts_and_run_daemons(lab: &Lab) {
    lab.add_interface();
    for (own, other) in [("ipvsadm-rs", "ipvsadm"), ("ipvsadm", "ipvsadm-rs")] {
        let own = |words: &str| lab.tool(&format!("{own} {words}"));
        let other = |words: &str| lab.tool(&format!("{other} {words}"));
        own("--set 258 0 259");
        assert!(own("-L --timeout").starts_with("Timeout (tcp tcpfin udp): 258 "));
        assert_eq!(own("-L --timeout"), other("-L --timeout"));
        assert_eq!(own("-L --daemon"), "");
        own("--start-daemon master --mcast-interface near --syncid 77");
        let line = "--start-daemon backup --mcast-interface near --sync-maxlen 1400 --mcast-group 224.0.1.99 \
                    --mcast-port 258 --mcast-ttl 7";
        own(line);
        let listed = own("-L --daemon");
        assert!(
            listed
                .contains("backup sync daemon (mcast=near, syncid=0, maxlen=1400, group=224.0.1.99, port=258, ttl=7)")
        );
        assert_eq!(listed, other("-L --daemon"));
        other("--stop-daemon backup");
        own("--stop-daemon master");
        assert_eq!(own("-L --daemon"), "");
    }
}

/// A list of connections without the time that is left, and these times in seconds.
fn without_times(list: &str) -> (String, Vec<u32>) {
    let (mut text, mut times) = (String::new(), Vec::new());
    for line in list.lines() {
        let time = line.split_whitespace().nth(1).unwrap();
        let Some((minutes, seconds)) = time.split_once(':') else {
            text += &format!("{line}\n");
            continue;
        };
        times.push(minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap());
        text += &format!("{}\n", line.replacen(time, "mm:ss", 1));
    }
    (text, times)
}

/// Both programs list the same; the time that is left is between what the other says before and after.
fn same_list(lab: &Lab, words: &str) -> String {
    let before = lab.tool(&format!("ipvsadm {words}"));
    let ours = lab.tool(&format!("ipvsadm-rs {words}"));
    let after = lab.tool(&format!("ipvsadm {words}"));
    let [before, times, after] = [&before, &ours, &after].map(|list| without_times(list));
    assert_eq!((&times.0, &times.0), (&before.0, &after.0), "{words}");
    for ((ours, before), after) in times.1.iter().zip(&before.1).zip(&after.1) {
        assert!((after..=before).contains(&ours), "{words}: {ours}, before {before}, after {after}");
    }
    ours
}

/// Makes connections over TCP, which last as long as the value that this returns.
fn connect(lab: &Lab, service: &Service, server: SocketAddr) -> impl Drop + use<> {
    serve(lab, service, server);
    let listener = lab.run(|| TcpListener::bind(server)).unwrap();
    let ServiceKey::Address { address, .. } = service.key else { panic!("a service by mark") };
    let client = lab.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(20))).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    Vec::from([client, accepted])
}

fn both_programs_list_the_same_connections(lab: &Lab) {
    let web = Service::tcp(address("10.96.0.10:80"), Scheduler::RR);
    let sticky = Service::tcp(address("10.96.0.11:443"), Scheduler::RR).persistent(Duration::from_secs(4000));
    let six = Service::tcp(address("[2001:db8::a]:80"), Scheduler::RR);
    let _open = [
        connect(lab, &web, address("10.244.1.1:8080")),
        connect(lab, &sticky, address("10.244.1.2:8443")),
        connect(lab, &six, address("[2001:db8:1111:2222:3333:4444:5555:7777]:8080")),
    ];
    let mut sip = Service::udp(address("10.96.0.12:5060"), Scheduler::RR).persistent(Duration::from_secs(300));
    sip.engine = Some(PersistenceEngine::SIP);
    let server = address("10.244.1.3:5060");
    serve(lab, &sip, server);
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    sender.send_to(&call(b"a84b4c76e66710@pc33.example.com"), address("10.96.0.12:5060")).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();

    let numbers = same_list(lab, "-Lnc");
    // Titles, three connections over TCP and one over UDP, two templates.
    assert_eq!(numbers.lines().count(), 2 + 4 + 2, "{numbers}");
    assert!(numbers.contains(" 10.96.0.10:80      10.244.1.1:8080\n"), "{numbers}");
    let engines = same_list(lab, "-Lnc --persistent-conn");
    assert!(engines.contains(" sip                a84b4c76e66710@pc33.example.com\n"), "{engines}");
    assert!(same_list(lab, "-Lc").contains("[2001:db8::a]:http "));
    for words in ["-Lc --persistent-conn", "-Lnc --nosort", "-lc --exact --tun-info"] {
        same_list(lab, words);
    }
}

/// A file of the machine that has another text for a while.
struct Replaced(&'static str, Option<Vec<u8>>);

impl Replaced {
    fn new(path: &'static str, text: &str) -> Self {
        let before = std::fs::read(path).ok();
        std::fs::write(path, text).unwrap();
        Self(path, before)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let _ = match &self.1 {
            Some(text) => std::fs::write(self.0, text),
            None => std::fs::remove_file(self.0),
        };
    }
}

/// Answers questions for names of addresses, inside the lab; remembers what it was asked.
fn name_server(lab: &Lab, names: &[(&str, &str)]) -> Arc<Mutex<Vec<String>>> {
    let text = |labels: &str| -> Vec<u8> {
        let labels =
            labels.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
        labels.chain([0]).collect()
    };
    let names: HashMap<Vec<u8>, Vec<u8>> = names.iter().map(|(question, name)| (text(question), text(name))).collect();
    let socket = lab.run(|| UdpSocket::bind("127.0.0.1:53")).unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let questions = Arc::clone(&asked);
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            // The identifier, flags, four counts; the name asked for; its type and class.
            let end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let question = &query[12..end];
            questions.lock().unwrap().push(String::from_utf8_lossy(question).into_owned());
            let name = names.get(question);
            let (code, answers) = if name.is_some() { (0x80, 1) } else { (0x83, 0) };
            let mut answer = [&query[..2], &[0x81, code, 0, 1, 0, answers, 0, 0, 0, 0], &query[12..end + 4]].concat();
            if let Some(name) = name {
                // The same name; PTR, IN; for how many seconds; the length.
                answer.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, u8::try_from(name.len()).unwrap()]);
                answer.extend(name);
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    asked
}

fn both_programs_ask_dns_for_names(lab: &Lab) {
    let six = "7.7.7.7.5.5.5.5.4.4.4.4.3.3.3.3.2.2.2.2.1.1.1.1.8.b.d.0.1.0.0.2.ip6.arpa";
    let asked = name_server(lab, &[("10.0.96.10.in-addr.arpa", "vip.example.com"), (six, "server.example.com")]);
    let _files = [
        Replaced::new("/etc/nsswitch.conf", "hosts: files dns\nservices: files\n"),
        Replaced::new("/etc/resolv.conf", "nameserver 127.0.0.1\n"),
        Replaced::new("/etc/services", "http 80/tcp www\nsyslog 514/udp\nshell 514/tcp\nmylb 514/sctp\n"),
    ];
    let mut ipvs = lab.ipvs();
    let vip = |port| address(&format!("10.96.0.10:{port}"));
    let rr = Scheduler::RR;
    for service in [Service::tcp(vip(80), rr), Service::tcp(vip(514), rr), Service::udp(vip(514), rr)] {
        ipvs.add_service(service).unwrap();
        ipvs.add_destination(service.key, Destination::new(address("10.244.1.1:80"))).unwrap();
    }
    ipvs.add_service(Service::sctp(vip(514), rr)).unwrap();
    let web = Service::tcp(address("[2001:db8:1111:2222:3333:4444:5555:7777]:80"), rr);
    ipvs.add_service(web).unwrap();
    for words in ["-L", "-S"] {
        let theirs = lab.tool(&format!("ipvsadm {words}"));
        asked.lock().unwrap().clear();
        let ours = lab.tool(&format!("ipvsadm-rs {words}"));
        assert_eq!(ours, theirs, "{words}");
        for name in ["vip.example.com:http ", "vip.example.com:mylb ", "[server.example.com]:http ", "10.244.1.1:http"]
        {
            assert!(ours.contains(name), "{name}: {ours}");
        }
        // Once for each of three addresses, one of which has no name.
        let mut asked = asked.lock().unwrap().clone();
        asked.sort_unstable();
        let all = asked.len();
        asked.dedup();
        assert_eq!((all, asked.len()), (3, 3), "{asked:?}");
    }
}
