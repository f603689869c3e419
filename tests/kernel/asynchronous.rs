//! Facts for asynchronous programs: the answer is in the socket when `send` returns; a worker lives in a namespace.

use std::process::Command;

use libtest_mimic::Trial;
use lvs::Worker;
use lvs::exchange::{Exchange, Limits, Step};
use lvs::ipset::{HashIp, Ipset, Kind, Member, NewSet};
use lvs::ipvs::{Change, Destination, Ipvs, Message, Query, Scheduler, Service};
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};

use crate::lab::{Lab, Need, address, tests};

const CONTROLLER: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const IPSET_CREATE: u16 = 6 << 8 | 2;
const IPSET_LIST: u16 = 6 << 8 | 7;
/// `NLM_F_CREATE` and `NLM_F_EXCL`.
const NEW: u16 = 0x600;
const EEXIST: i32 = 17;

pub(crate) fn tests() -> Vec<Trial> {
    let mut all = tests!(&[Need::Ipvs];
        ipvs_has_answered_when_send_returns,
        a_worker_lives_in_a_namespace,
    );
    all.extend(tests!(&[Need::Ipset(Kind::HashIp)]; ipset_has_answered_when_send_returns,));
    all.extend(tests!(&[]; rtnetlink_has_answered_when_send_returns,));
    all
}

/// A netlink socket that never waits.
struct Impatient {
    socket: Socket,
    exchange: Exchange,
}

impl Impatient {
    fn open(lab: &Lab, protocol: isize) -> Self {
        let socket = lab.run(|| Socket::new(protocol)).unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        socket.set_cap_ack(true).unwrap();
        socket.set_ext_ack(true).unwrap();
        if protocol == NETLINK_ROUTE {
            socket.set_netlink_get_strict_chk(true).unwrap();
        }
        Self { socket, exchange: Exchange::new(Limits::default()) }
    }

    /// Carries out what is queued without waiting once; returns the messages and the error numbers.
    fn talk(&mut self) -> (Vec<Vec<u8>>, Vec<i32>) {
        let (mut messages, mut refusals) = (Vec::new(), Vec::new());
        loop {
            match self.exchange.step().unwrap() {
                Step::Send => {
                    self.socket.send(self.exchange.outgoing(), 0).unwrap();
                    self.exchange.sent();
                }
                Step::Receive => {
                    let mut inbox = self.exchange.inbox();
                    let received = self.socket.recv(&mut inbox, MSG_DONTWAIT | MSG_TRUNC);
                    let length = received.unwrap_or_else(|error| panic!("the answer is not in the socket: {error}"));
                    self.exchange.received(length, 0);
                }
                Step::Message { .. } => messages.push(self.exchange.message().to_vec()),
                Step::Refused { refusal, .. } => refusals.push(refusal.errno),
                Step::Finished => return (messages, refusals),
                other => panic!("{other:?}"),
            }
        }
    }

    /// As [`Impatient::talk`], of one request.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> (Vec<Vec<u8>>, Vec<i32>) {
        self.exchange.queue(kind, flags, body).unwrap();
        self.talk()
    }

    fn list(&mut self, kind: u16, body: &[u8]) -> usize {
        self.exchange.queue_dump(kind, body).unwrap();
        let (messages, refusals) = self.talk();
        assert!(refusals.is_empty(), "{refusals:?}");
        messages.len()
    }
}

/// An attribute that holds these bytes.
fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ipvs_has_answered_when_send_returns(lab: &Lab) {
    let mut ipvs = Impatient::open(lab, NETLINK_GENERIC);
    // CTRL_CMD_GETFAMILY; in the answer, CTRL_ATTR_FAMILY_ID is the second attribute.
    let (found, _) = ipvs.ask(CONTROLLER, 0, &[&[3, 2, 0, 0][..], &attribute(2, b"IPVS\0")].concat());
    let family = found[0].windows(4).find(|header| **header == attribute(1, &[0, 0])[..4]).map(|header| {
        let at = header.as_ptr().addr() - found[0].as_ptr().addr() + 4;
        u16::from_ne_bytes(found[0][at..at + 2].try_into().unwrap())
    });
    let family = family.unwrap();
    let web = Service::tcp(address("10.96.0.10:443"), Scheduler::WRR);
    let add = Message::from(Change::AddService(web)).encode();
    assert_eq!(ipvs.ask(family, 0, &add), (vec![], vec![]));
    assert_eq!(ipvs.ask(family, 0, &add), (vec![], vec![EEXIST]));
    // Many requests in a datagram, with one acknowledgement.
    for round in 0..20 {
        for host in 1..=50 {
            let server = Destination::new(([10, 244, round, host], 6443).into());
            ipvs.exchange.queue(family, 0, &Message::from(Change::AddDestination(web.key, server)).encode()).unwrap();
        }
        assert_eq!(ipvs.talk(), (vec![], vec![]));
    }
    assert_eq!(ipvs.ask(family, 0, &Message::from(Query::Service(web.key)).encode()).0.len(), 1);
    assert_eq!(ipvs.list(family, &Message::from(Query::Destinations(web.key)).encode()), 1000);
    assert_eq!(ipvs.ask(family, 0, &Message::from(Change::DeleteService(web.key)).encode()), (vec![], vec![]));
}

fn ipset_has_answered_when_send_returns(lab: &Lab) {
    let mut ipset = Impatient::open(lab, NETLINK_NETFILTER);
    let named = |name: &[u8]| [&[2, 0, 0, 0][..], &attribute(1, &[7]), &attribute(2, name)].concat();
    let typed = [attribute(3, b"hash:ip\0"), attribute(4, &[0]), attribute(5, &[2]), attribute(0x8007, &[])].concat();
    let create = [named(b"new\0"), typed].concat();
    assert_eq!(ipset.ask(IPSET_CREATE, NEW, &create), (vec![], vec![]));
    assert_eq!(ipset.ask(IPSET_CREATE, NEW, &create), (vec![], vec![EEXIST]));
    let mut client = lab.ipset();
    let many = client.create("many".parse().unwrap(), &NewSet::<HashIp>::ipv4()).unwrap();
    let members = (0..20_000_u32).map(|n| Member::new(std::net::Ipv4Addr::from_bits(0x0a00_0001 + n)));
    client.add_all(&many, members).unwrap();
    assert!(ipset.list(IPSET_LIST, &named(b"many\0")) > 2);
}

fn rtnetlink_has_answered_when_send_returns(lab: &Lab) {
    let mut route = Impatient::open(lab, NETLINK_ROUTE);
    let header = |length: u8| [&[2, length, 0, 0][..], &1_u32.to_ne_bytes()].concat();
    let add = |host: u16| {
        let [high, low] = host.to_be_bytes();
        [header(32), attribute(2, &[10, 96, high, low])].concat()
    };
    for host in 1..=1000 {
        assert_eq!(route.ask(NEW_ADDRESS, NEW, &add(host)), (vec![], vec![]));
    }
    assert_eq!(route.ask(NEW_ADDRESS, NEW, &add(1)), (vec![], vec![EEXIST]));
    assert_eq!(route.list(GET_ADDRESS, &[&[2, 0, 0, 0][..], &1_u32.to_ne_bytes()].concat()), 1001);
}

fn a_worker_lives_in_a_namespace(lab: &Lab) {
    let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let connect = || Ok((Ipvs::connect()?, Ipset::connect()?));
        let worker = Worker::start_in(lab.namespace(), connect).await.unwrap();
        let web = Service::tcp(address("10.96.0.10:443"), Scheduler::WRR);
        worker.call(move |(ipvs, _)| ipvs.add_service(web)).await.unwrap();
        assert_eq!(worker.call(move |_| own()).await, lab.run(own));
        assert_ne!(own(), lab.run(own));
        assert_eq!(worker.call(|(_, ipset)| ipset.names()).await.unwrap(), []);
        // A child process is in the namespace, too.
        let listed = worker.call(|_| Command::new("ipvsadm").arg("-Sn").output()).await.unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "-A -t 10.96.0.10:443 -s wrr\n");
    });
    assert_eq!(lab.ipvs().services().unwrap().len(), 1);
}
