//! Our reading and writing, and our `ipvsadm-rs`, agree with the real `ipvsadm`.

use std::collections::HashSet;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::{
    Destination, Family, Forwarding, Netmask, Persistence, PersistenceEngine, Scheduler, Service, ServiceFlags,
    Thresholds, Tunnel, TunnelFlags,
};

use crate::lab::{Lab, Need, address, tests};

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs, Need::Program("ipvsadm")];
        ipvsadm_reads_what_we_wrote,
        we_read_what_ipvsadm_wrote,
    );
    all.extend(tests!(&[Need::Ipvs, Need::Program("ipvsadm"), Need::Program("ipvsadm-rs")];
        both_programs_list_the_same,
        what_one_program_saves_the_other_restores,
        both_programs_set_timeouts_and_run_daemons,
    ));
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

/// What `ipvsadm` saves, without the thresholds, which it does not save.
fn saved(commands: &[&str]) -> HashSet<String> {
    commands.iter().map(|line| line.split(" -x ").next().unwrap().to_owned()).collect()
}

fn ipvsadm_reads_what_we_wrote(lab: &Lab) {
    let mut ipvs = lab.ipvs();
    let (table, commands) = table();
    for (service, destinations) in table {
        ipvs.add_service(&service).unwrap();
        for destination in destinations {
            ipvs.add_destination(service.key, &destination).unwrap();
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

fn both_programs_set_timeouts_and_run_daemons(lab: &Lab) {
    lab.tool("ip link add near type veth peer name far");
    lab.tool("ip address add 10.9.9.1/24 dev near");
    lab.tool("ip link set near up");
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
