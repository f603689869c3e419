//! Data that only files of `/proc/net` have.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use libtest_mimic::Trial;
use lvs::ipvs::{
    Change, Connection, ConnectionState, Connections, CpuCounters, CpuStats, Destination, DestinationOverview,
    Forwarding, ForwardingName, Origin, Overview, PersistenceEngine, Scheduler, Service, ServiceFlags, ServiceKey,
    ServiceOverview, Status, Tunnel,
};
use lvs::vip::Binder;
use lvs::{Cause, Family, Protocol};
use nix::sys::socket::{setsockopt, sockopt};

use crate::lab::{Lab, Need, address, release, tests};
use crate::peers::until;

pub(crate) fn tests() -> Vec<Trial> {
    tests!(&[Need::Ipvs, Need::Dummy];
        connections_are_seen_with_their_addresses,
        connections_are_seen_over_ipv6,
        clients_of_persistent_services_have_templates,
        a_call_is_remembered_by_its_id,
        the_overview_is_what_netlink_tells,
        a_large_table_is_overviewed_whole,
        cpus_have_counted_what_was_sent,
        the_status_is_there_since_7_1,
        files_are_those_of_the_namespace,
    )
}

/// A service with one destination, which gets another port.
pub(crate) fn serve(lab: &Lab, service: &Service, destination: SocketAddr) {
    let (mut vips, mut ipvs) = (lab.vips(), lab.ipvs());
    let dummy = Binder::dummy("vip0").unwrap();
    if let ServiceKey::Address { address, .. } = service.key {
        vips.bind(&dummy, address.ip()).unwrap();
    }
    vips.bind(&dummy, destination.ip()).unwrap();
    ipvs.add_service(service).unwrap();
    ipvs.add_destination(service.key, Destination::new(destination)).unwrap();
}

pub(crate) fn udp(lab: &Lab, at: SocketAddr) -> UdpSocket {
    let socket = lab.run(|| UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// Opens in the lab's namespace, and reads on this thread, which is not in it.
fn all(lab: &Lab) -> Vec<Connection> {
    lab.run(Connections::open).unwrap().collect::<Result<_, _>>().unwrap()
}

fn of_service(lab: &Lab, key: ServiceKey) -> Vec<Connection> {
    lab.run(Connections::open).unwrap().of_service(key).collect::<Result<_, _>>().unwrap()
}

fn seen(lab: &Lab, web: SocketAddr, server: SocketAddr, any: SocketAddr) {
    let (tcp, dns) = (Service::tcp(web, Scheduler::RR), Service::udp(web, Scheduler::RR));
    serve(lab, &tcp, server);
    serve(lab, &dns, server);
    let listener = lab.run(|| TcpListener::bind(server)).unwrap();
    let client = lab.run(|| TcpStream::connect_timeout(&web, Duration::from_secs(20))).unwrap();
    let accepted = listener.accept().unwrap();
    let [connection] = of_service(lab, tcp.key).try_into().unwrap();
    assert_eq!(connection.protocol, Protocol::TCP);
    assert_eq!(connection.client, client.local_addr().unwrap());
    assert_eq!((connection.virtual_address, connection.destination), (web, server));
    assert!(!connection.is_template() && connection.belongs_to(tcp.key) && !connection.belongs_to(dns.key));
    assert_eq!((connection.engine, connection.origin), (None, None));
    // The client's last packet of the handshake may still be on its way.
    until("the handshake", || of_service(lab, tcp.key)[0].state == ConnectionState::ESTABLISHED);
    let left = of_service(lab, tcp.key)[0].expires;
    assert!((Duration::from_secs(600)..=Duration::from_secs(900)).contains(&left), "{left:?}");

    let (receiver, sender) = (udp(lab, server), udp(lab, any));
    sender.send_to(b"question", web).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();
    let [connection] = of_service(lab, dns.key).try_into().unwrap();
    assert_eq!((connection.protocol, connection.state), (Protocol::UDP, ConnectionState::UDP));
    assert_eq!(connection.client.port(), sender.local_addr().unwrap().port());
    assert_eq!((connection.virtual_address, connection.destination), (web, server));
    assert_eq!(all(lab).len(), 2);

    let own = lab.run(Connections::open_with_origin).unwrap();
    let origins: Vec<_> = own.map(|connection| connection.unwrap().origin).collect();
    assert_eq!(origins, [Some(Origin::Local); 2]);

    // They end: the client first, or the server's port is taken for a while.
    drop(client);
    until("the client's end", || of_service(lab, tcp.key)[0].state == ConnectionState::CLOSE_WAIT);
    drop(accepted);
    until("the server's end", || of_service(lab, tcp.key)[0].state != ConnectionState::CLOSE_WAIT);
}

fn connections_are_seen_with_their_addresses(lab: &Lab) {
    seen(lab, address("10.96.0.10:80"), address("10.244.1.1:8080"), address("0.0.0.0:0"));
}

fn connections_are_seen_over_ipv6(lab: &Lab) {
    seen(lab, address("[2001:db8::a]:80"), address("[2001:db8::1:1]:8080"), address("[::]:0"));
}

fn clients_of_persistent_services_have_templates(lab: &Lab) {
    let (dns, server) = (address("10.96.0.10:53"), address("10.244.1.1:5353"));
    let minute = Duration::from_secs(60);
    let service = Service::udp(dns, Scheduler::RR).persistent(minute);
    serve(lab, &service, server);
    let mark = NonZeroU32::new(0x0102_0304).unwrap();
    let marked = Service::firewall_mark(mark, Family::Inet, Scheduler::RR).persistent(minute);
    serve(lab, &marked, server);
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    sender.send_to(b"question", dns).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();
    let found = of_service(lab, service.key);
    assert_eq!(found.len(), 2, "{found:?}");
    let template = found.iter().find(|connection| connection.is_template()).unwrap();
    assert_eq!(template.client, SocketAddr::new(dns.ip(), 0));
    assert_eq!((template.virtual_address, template.destination), (dns, server));
    assert!(template.expires <= minute && template.firewall_mark().is_none());
    let connection = found.iter().find(|connection| !connection.is_template()).unwrap();
    assert_eq!(connection.client, SocketAddr::new(dns.ip(), sender.local_addr().unwrap().port()));

    // By its mark; then the port stays what it is.
    let sender = udp(lab, address("0.0.0.0:0"));
    setsockopt(&sender, sockopt::Mark, &mark.get()).unwrap();
    let other = address("10.96.0.10:5353");
    sender.send_to(b"question", other).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();
    let [template] = of_service(lab, marked.key).try_into().unwrap();
    assert_eq!((template.firewall_mark(), template.protocol), (Some(mark), Protocol(0)));
    assert!(template.is_template());
    let six = ServiceKey::FirewallMark { mark, family: Family::Inet6 };
    assert_eq!(of_service(lab, six), []);
    // Its connection is by address.
    let by_address: Vec<_> = all(lab).into_iter().filter(|one| one.virtual_address == other).collect();
    assert_eq!(by_address.len(), 1);
    assert_eq!(by_address[0].client.port(), sender.local_addr().unwrap().port());
}

/// The first message of a telephone call.
pub(crate) fn call(id: &[u8]) -> Vec<u8> {
    let start = b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33.example.com\r\nCall-ID: ";
    [start, id, b"\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"].concat()
}

fn a_call_is_remembered_by_its_id(lab: &Lab) {
    let (vip, server) = (address("10.96.0.10:5060"), address("10.244.1.1:5060"));
    let mut service = Service::udp(vip, Scheduler::RR).persistent(Duration::from_secs(300));
    service.engine = Some(PersistenceEngine::SIP);
    serve(lab, &service, server);
    let receiver = udp(lab, server);
    // Latin-1, which the kernel takes for letters, and no UTF-8.
    for id in [b"a84b4c76e66710@pc33.example.com".as_slice(), b"caf\xe9"] {
        // From another port, or it belongs to the connection that is there.
        let sender = udp(lab, address("0.0.0.0:0"));
        sender.send_to(&call(id), vip).unwrap();
        receiver.recv(&mut [0; 16]).unwrap();
        let engines = of_service(lab, service.key).into_iter().filter_map(|connection| {
            assert_eq!(connection.is_template(), connection.engine.is_some());
            connection.engine
        });
        let engines: Vec<_> = engines.collect();
        assert!(
            engines.iter().any(|engine| engine.engine == PersistenceEngine::SIP && engine.data == id),
            "{engines:?}"
        );
    }
}

fn cpus_have_counted_what_was_sent(lab: &Lab) {
    let (vip, server) = (address("10.96.0.10:53"), address("10.244.1.1:53"));
    let service = Service::udp(vip, Scheduler::RR);
    serve(lab, &service, server);
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    for _ in 0..7 {
        sender.send_to(&[0; 100], vip).unwrap();
        receiver.recv(&mut [0; 100]).unwrap();
    }
    let read = || lab.run(CpuStats::read).unwrap();
    let sum = |stats: &CpuStats, of: fn(&CpuCounters) -> u64| stats.cpus.iter().map(of).sum::<u64>();
    // At once: these are no copies.
    let stats = read();
    assert_eq!(sum(&stats, |cpu| cpu.connections), 1);
    assert_eq!(sum(&stats, |cpu| cpu.packets_in), 7);
    // With the headers of IPv4 and UDP.
    assert_eq!(sum(&stats, |cpu| cpu.bytes_in), 7 * 128);
    assert_eq!(sum(&stats, |cpu| cpu.packets_out + cpu.bytes_out), 0);
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last: u32 = possible.trim().rsplit(['-', ',']).next().unwrap().parse().unwrap();
    assert_eq!(stats.cpus.last().unwrap().cpu, last);

    until("counters", || read().total.packets_in == 7);
    let total = read().total;
    assert_eq!((total.connections, total.bytes_in), (1, 7 * 128));
    lab.ipvs().zero_all().unwrap();
    assert_eq!(read().total.packets_in, 0);
    assert_eq!(read().cpus, stats.cpus);
}

fn overview(lab: &Lab) -> Vec<ServiceOverview> {
    lab.run(Overview::open).unwrap().collect::<Result<_, _>>().unwrap()
}

fn the_overview_is_what_netlink_tells(lab: &Lab) {
    assert_eq!(overview(lab), []);
    let (vip, server) = (address("10.96.0.10:53"), address("10.244.1.1:53"));
    serve(lab, &Service::udp(vip, Scheduler::WRR), server);
    let mut ipvs = lab.ipvs();
    let minute = Duration::from_secs(60);
    let mark = |mark: u32, family| Service::firewall_mark(mark.try_into().unwrap(), family, Scheduler::SH);
    let mut one_packet = Service::udp(address("10.96.0.11:53"), Scheduler::RR);
    one_packet.flags = ServiceFlags::ONE_PACKET;
    let more = [
        one_packet,
        Service::tcp(address("10.96.0.11:0"), Scheduler::LC).persistent(minute),
        Service::sctp(address("[2001:db8::a]:3868"), Scheduler::NONE),
        Service::new(ServiceKey::Address { protocol: Protocol(47), address: vip }, Scheduler::RR),
        mark(0x0a00_0001, Family::Inet),
        mark(9, Family::Inet6).persistent(minute),
    ];
    for service in &more {
        ipvs.add_service(service).unwrap();
    }
    let ways = [
        Forwarding::Masquerade,
        Forwarding::Local,
        Forwarding::Tunnel(Tunnel::Ipip),
        Forwarding::DirectRoute,
        Forwarding::Bypass,
    ];
    for (number, forwarding) in (1..).zip(ways) {
        let mut destination = Destination::new(SocketAddr::from(([10, 244, 2, number], 53)));
        (destination.forwarding, destination.weight) = (forwarding, 1000 * u32::from(number));
        ipvs.add_destination(more[0].key, destination).unwrap();
    }
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    sender.send_to(b"question", vip).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();

    let (table, seen) = (ipvs.table().unwrap(), overview(lab));
    assert_eq!((table.len(), seen.len()), (more.len() + 1, more.len() + 1));
    for (info, destinations) in table {
        let service = seen.iter().find(|service| service.address.is_of(info.key())).unwrap();
        assert_eq!(service.scheduler, info.scheduler());
        assert_eq!(service.persistent, info.service.persistence.is_some());
        assert_eq!(service.one_packet, info.service.flags.contains(ServiceFlags::ONE_PACKET));
        assert_eq!(service.destinations.len(), destinations.len());
        for (seen, info) in service.destinations.iter().zip(destinations) {
            assert_eq!((seen.address, seen.weight), (info.address(), info.destination.weight));
            let name = match info.destination.forwarding {
                Forwarding::Masquerade | Forwarding::Bypass => ForwardingName::Masquerade,
                Forwarding::Local => ForwardingName::Local,
                Forwarding::Tunnel(_) => ForwardingName::Tunnel,
                Forwarding::DirectRoute => ForwardingName::DirectRoute,
                other => panic!("{other:?}"),
            };
            assert_eq!(seen.forwarding, name);
            let DestinationOverview { active_connections, inactive_connections, .. } = *seen;
            assert_eq!(
                (active_connections, inactive_connections),
                (info.active_connections, info.inactive_connections)
            );
        }
    }
    let dns = seen.iter().find(|service| service.address.is_of(ServiceKey::udp(vip))).unwrap();
    assert_eq!(dns.destinations[0].inactive_connections, 1);
}

fn a_large_table_is_overviewed_whole(lab: &Lab) {
    let key = |number: u16| ServiceKey::tcp(SocketAddr::from(([10, 96, 0, 1], number)));
    let mut ipvs = lab.ipvs();
    let changes = (1..=3000).flat_map(|number| {
        let destination = Destination::new(SocketAddr::from(([10, 244, 0, 1], number)));
        [Change::AddService(Service::new(key(number), Scheduler::RR)), Change::AddDestination(key(number), destination)]
    });
    ipvs.batch(changes).unwrap();
    let mut seen = overview(lab);
    assert_eq!(seen.len(), 3000);
    for number in 1..=3000 {
        let place = seen.iter().position(|service| service.address.is_of(key(number))).unwrap();
        let [destination] = seen.swap_remove(place).destinations.try_into().unwrap();
        assert_eq!(destination.address.port(), number);
    }
}

fn the_status_is_there_since_7_1(lab: &Lab) {
    let read = || lab.run(Status::read);
    if release() < (7, 1) {
        let error = read().unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(matches!(error.cause(), Cause::NotOnThisKernel { since: Some("7.1"), .. }), "{error:?}");
        let text = "read the status: /proc/thread-self/net/ip_vs_status is missing on this kernel (since Linux 7.1)";
        assert_eq!(error.to_string(), text);
        return;
    }
    let empty = read().unwrap();
    assert_eq!((empty.connections, empty.services, empty.connection_table.buckets), (0, 0, 0));
    let (vip, server) = (address("10.96.0.10:53"), address("10.244.1.1:53"));
    let service = Service::udp(vip, Scheduler::RR).persistent(Duration::from_secs(60));
    serve(lab, &service, server);
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    sender.send_to(b"question", vip).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();
    let status = read().unwrap();
    // The template, too.
    assert_eq!((status.connections, status.services), (2, 1));
    for table in [status.connection_table, status.service_table] {
        assert_eq!(table.buckets, 1 << table.bits);
        assert_eq!(table.lengths.iter().sum::<u64>(), table.buckets);
        assert!(table.lengths[1] + table.lengths[2] > 0);
        assert!((-8..=8).contains(&table.load_factor));
    }
    assert_eq!(status.connection_table.buckets, u64::from(lab.ipvs().version().unwrap().connection_table_size));
}

fn files_are_those_of_the_namespace(lab: &Lab) {
    let (vip, server) = (address("10.96.0.10:53"), address("10.244.1.1:53"));
    serve(lab, &Service::udp(vip, Scheduler::RR), server);
    let (receiver, sender) = (udp(lab, server), udp(lab, address("0.0.0.0:0")));
    sender.send_to(b"question", vip).unwrap();
    receiver.recv(&mut [0; 16]).unwrap();
    // Opened there and read here.
    assert_eq!(all(lab).len(), 1);
    assert!(!Connections::open().unwrap().any(|connection| connection.unwrap().virtual_address == vip));
    let mode = |file| lab.run(move || std::fs::metadata(file).unwrap().permissions().mode() & 0o777);
    for file in ["ip_vs", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_stats_percpu"] {
        assert_eq!(mode(format!("/proc/thread-self/net/{file}")), 0o444, "{file}");
    }
    if release() >= (7, 1) {
        assert_eq!(mode("/proc/thread-self/net/ip_vs_status".to_owned()), 0o440);
    }
}
