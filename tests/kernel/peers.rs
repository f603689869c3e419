//! Servers that say who they are, and clients that ask them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lvs::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// How long a client waits: long enough for an emulated processor, shorter than a test's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How often a server looks whether it is to end.
const TURN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    fn socket(self, address: SocketAddr) -> io::Result<Socket> {
        let (kind, protocol) = match self {
            Self::Tcp => (Type::STREAM, Protocol::TCP),
            Self::Udp => (Type::DGRAM, Protocol::UDP),
            Self::Sctp => (Type::STREAM, Protocol::SCTP),
        };
        Socket::new(Domain::for_address(address), kind, Some(protocol))
    }
}

/// Answers everything it hears with its name, until it is dropped.
pub(crate) struct Server(Arc<AtomicBool>);

impl Server {
    pub(crate) fn start(namespace: &Namespace, transport: Transport, at: SocketAddr, name: &str) -> Self {
        let socket = namespace.run(|| transport.socket(at)).unwrap().unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&at.into()).unwrap_or_else(|error| panic!("{name} at {at}: {error}"));
        socket.set_read_timeout(Some(TURN)).unwrap();
        let (over, name) = (Arc::new(AtomicBool::new(false)), name.to_owned());
        let seen = Arc::clone(&over);
        if transport == Transport::Udp {
            thread::spawn(move || answer_datagrams(&socket.into(), &name, &seen));
        } else {
            socket.listen(1024).unwrap();
            thread::spawn(move || answer_connections(&socket, &name, &seen));
        }
        Self(over)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn answer_datagrams(socket: &std::net::UdpSocket, name: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        if let Ok((_, client)) = socket.recv_from(&mut [0; 2048]) {
            // A client that is gone does not matter.
            let _ = socket.send_to(name.as_bytes(), client);
        }
    }
}

fn answer_connections(socket: &Socket, name: &str, over: &Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let Ok((connection, _)) = socket.accept() else { continue };
        let (name, over) = (name.to_owned(), Arc::clone(over));
        thread::spawn(move || answer(connection, &name, &over));
    }
}

/// Until the client ends the connection.
fn answer(mut connection: Socket, name: &str, over: &AtomicBool) {
    connection.set_read_timeout(Some(TURN)).unwrap();
    while !over.load(Ordering::Relaxed) {
        match connection.read(&mut [0; 2048]) {
            Ok(0) => break,
            Ok(_) => {
                let _ = connection.write_all(name.as_bytes());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
}

/// A client and its place.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    namespace: &'a Namespace,
    transport: Transport,
    source: Option<SocketAddr>,
    mark: u32,
}

impl<'a> Client<'a> {
    pub(crate) fn new(namespace: &'a Namespace, transport: Transport) -> Self {
        Self { namespace, transport, source: None, mark: 0 }
    }

    pub(crate) fn transport(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// Asks from this address; port 0 is any.
    pub(crate) fn source(self, source: SocketAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Marks its packets, as a firewall's rule would.
    pub(crate) fn mark(self, mark: u32) -> Self {
        Self { mark, ..self }
    }

    pub(crate) fn connect(self, service: SocketAddr) -> io::Result<Connection> {
        let socket = self.namespace.run(|| self.transport.socket(service)).unwrap()?;
        if self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        if let Some(source) = self.source {
            // A port that the kernel chooses is to be nobody else's: another virtual address can lead to the same server.
            socket.set_reuse_address(source.port() != 0)?;
            socket.bind(&source.into())?;
        }
        socket.connect_timeout(&service.into(), PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection(socket))
    }

    /// The name of who serves a new connection.
    pub(crate) fn ask(self, service: SocketAddr) -> io::Result<String> {
        self.connect(service)?.ask()
    }
}

/// An open connection, or a pair of addresses with UDP.
pub(crate) struct Connection(Socket);

impl Connection {
    /// The name of who serves it.
    pub(crate) fn ask(&mut self) -> io::Result<String> {
        self.ask_with(b"?")
    }

    /// The same, with a question that the way there looks into.
    pub(crate) fn ask_with(&mut self, question: &[u8]) -> io::Result<String> {
        self.0.write_all(question)?;
        let mut name = [0; 128];
        match self.0.read(&mut name)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => Ok(String::from_utf8_lossy(&name[..length]).into_owned()),
        }
    }

    /// Waits for an answer no longer than this.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.0.set_read_timeout(Some(patience)).unwrap();
    }
}

/// Waits for what the kernel does by itself, such as renewing its counters every 2 seconds.
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
