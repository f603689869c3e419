//! Adds a service, an entry of a set and a virtual IP over asynchronous sockets of its own, and prints them.
//!
//! ```text
//! $ cargo build --example own_transport
//! $ sudo target/debug/examples/own_transport
//! 10.96.0.10:443/tcp wrr
//! 192.0.2.1 is in set own
//! done: bind 10.96.0.10 to the local routes of protocol 77
//! ```

use std::error::Error;
use std::io::{self, Write, stdout};
use std::net::Ipv4Addr;

use lvs::exchange::{Exchange, Limits, Step};
use lvs::ipset::{self, HashIp, Member, NewSet};
use lvs::ipvs::{self, Answer, Message, Scheduler, Service};
use lvs::vip::{self, Binder};
use lvs::{Cause, Prepared};
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::libc::MSG_TRUNC;
use tokio::io::{Interest, unix::AsyncFd};

struct Transport(AsyncFd<Socket>, Exchange);

impl Transport {
    #[expect(deprecated, reason = "its successor is unsafe, and this socket keeps its descriptor")]
    fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        socket.set_non_blocking(true)?;
        Ok(Self(AsyncFd::new(socket)?, Exchange::new(Limits::default())))
    }

    /// Carries out a request; returns the bodies of the answers.
    async fn run(&mut self, request: Prepared<'_>) -> lvs::Result<Vec<Vec<u8>>> {
        let Self(socket, exchange) = self;
        let failed = |error| request.failed(Cause::Io(error));
        request.queue(exchange)?;
        let mut bodies = Ok(Vec::new());
        loop {
            match exchange.step().map_err(|cause| request.failed(cause))? {
                Step::Send => {
                    let send = |socket: &Socket| socket.send(exchange.outgoing(), 0);
                    socket.async_io(Interest::WRITABLE, send).await.map_err(failed)?;
                    exchange.sent();
                }
                Step::Receive => {
                    let receive = |socket: &Socket| socket.recv(&mut exchange.inbox(), MSG_TRUNC);
                    let length = socket.async_io(Interest::READABLE, receive).await.map_err(failed)?;
                    exchange.received(length, 0);
                }
                Step::Refused { refusal, .. } => bodies = Err(request.refused(refusal)),
                Step::Finished => return bodies,
                _ => bodies.iter_mut().for_each(|bodies| bodies.push(exchange.message().to_vec())),
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut transport = Transport::open(NETLINK_GENERIC)?;
    let found = transport.run(ipvs::Query::prepare_family()?).await?;
    let family = ipvs::Query::read_family(found.first().ok_or("no answer")?)?;
    let web = Service::tcp("10.96.0.10:443".parse()?, Scheduler::WRR);
    transport.run(ipvs::Change::AddService(web).prepare(family)?).await?;
    for body in transport.run(ipvs::Query::Services.prepare(family)?).await? {
        let Message::Answer(Answer::Service(info)) = Message::decode(&body)? else { continue };
        writeln!(stdout(), "{}", info.service)?;
    }
    let mut transport = Transport::open(NETLINK_NETFILTER)?;
    let (name, new, member) = ("own".parse()?, NewSet::<HashIp>::ipv4(), Member::<HashIp>::parse("192.0.2.1")?.any());
    let set = new.handle(name).any();
    transport.run(ipset::Change::Create(name, new.any()).prepare(0)?).await?;
    transport.run(ipset::Change::Add(set, member.clone()).prepare(0)?).await?;
    transport.run(ipset::Query::Test(set, member.clone()).prepare()?).await?;
    writeln!(stdout(), "{member} is in set {set}")?;

    let bind = vip::Change::Bind(Binder::local_routes(77), Ipv4Addr::new(10, 96, 0, 10).into());
    Transport::open(NETLINK_ROUTE)?.run(bind.prepare(0)?).await?;
    writeln!(stdout(), "done: {bind}")?;
    Ok(())
}
