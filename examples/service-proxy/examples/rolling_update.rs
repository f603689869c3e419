//! A rolling update of a Service under load, driven through `service-proxy run`.
//!
//! Clients with 120 source ports connect all the time, some connections are held, and a UDP client asks from one port. The pod `old`
//! is replaced by `new`, state by state. Prints the pod that answered, and the failures; exit status 1 if any. An answer from a pod
//! that has left the service is a failure.
//!
//! `drain` is the default. `kill` kills the proxy between any two states. `delete` deletes endpoints instead of draining them, which
//! fails.
//! Changes the network namespace that it runs in: addresses, range of ports, services.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lvs::ipvs::{Ipvs, ServiceKey};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Names and addresses of the pods.
const PODS: [(&str, &str); 2] = [("old", "10.244.1.101"), ("new", "10.244.2.102")];
const TCP: &str = "10.96.18.61:80";
const UDP: &str = "10.96.18.61:53";
const OPTIONS: &str =
    "run --file - --node-name node-a --zone zone-1 --node-ip 192.0.2.11 --vip-cidr 10.96.0.0/16 --min-sync 10ms";
const PATIENCE: Duration = Duration::from_secs(20);
/// For a state of the table.
const DEADLINE: Duration = Duration::from_secs(60);
/// Short connections that each state lasts for: more than source ports, so that each port is used again.
const CONNECTIONS: u64 = 130;
const WORKERS: usize = 8;
const HELD: usize = 4;

fn main() -> ExitCode {
    let mode = env::args().nth(1).unwrap_or_else(|| "drain".to_owned());
    let result = if ["drain", "kill", "delete"].contains(&mode.as_str()) {
        Update::start(&mode).and_then(Update::run)
    } else {
        Err(format!("{mode}: the modes are drain, kill and delete").into())
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "rolling_update: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A state of the update: its name, the conditions of each pod, and the weights in the table.
type State = (&'static str, [Option<[bool; 3]>; 2], [Option<u32>; 2]);

const READY: [bool; 3] = [true, true, false];

const STATES: [State; 6] = [
    ("v0: old is ready", [Some(READY), None], [Some(1), None]),
    ("v1: new is not ready", [Some(READY), Some([false; 3])], [Some(1), None]),
    ("v2: both are ready", [Some(READY), Some(READY)], [Some(1), Some(1)]),
    ("v3: old terminates", [Some([false, true, true]), Some(READY)], [Some(0), Some(1)]),
    ("v4: old does not serve", [Some([false, false, true]), Some(READY)], [Some(0), Some(1)]),
    ("v5: old is gone", [None, Some(READY)], [Some(0), Some(1)]),
];

/// The update.
struct Update<'a> {
    mode: &'a str,
    proxy: Proxy,
    ipvs: Ipvs,
    counts: Arc<Counts>,
    held: Vec<Held>,
}

impl<'a> Update<'a> {
    fn start(mode: &'a str) -> Result<Self> {
        prepare()?;
        let (proxy, ipvs) = (Proxy::start(mode)?, Ipvs::connect()?);
        Ok(Self { mode, proxy, ipvs, counts: Arc::default(), held: Vec::new() })
    }

    /// Returns the number of failures.
    fn run(mut self) -> Result<u64> {
        let mut out = io::stdout().lock();
        let mut failed_held = 0;
        for (number, (name, pods, weights)) in STATES.into_iter().enumerate() {
            if self.mode == "kill" && number > 0 {
                self.proxy.kill()?;
                self.proxy = Proxy::start(self.mode)?;
            }
            let before = self.counts.read();
            self.proxy.send(&objects(pods))?;
            self.reach(name, weights)?;
            if number == 0 {
                self.start_clients()?;
            }
            let served = |now: [u64; 6]| now.iter().zip(before).take(3).map(|(now, before)| now - before).sum::<u64>();
            until(name, || Ok(served(self.counts.read()) >= CONNECTIONS))?;
            let alive = self.held.iter_mut().filter_map(|held| held.ask().ok()).filter(|name| name == "old").count();
            failed_held += u64::try_from(HELD - alive)?;
            let [old, new, failed, udp_old, udp_new, udp_failed] = difference(self.counts.read(), before);
            writeln!(
                out,
                "{name:<24} old {old:>4}  new {new:>4}  failed {failed}   held {alive} of {HELD}   \
                UDP old {udp_old:>4}  new {udp_new:>4}  failed {udp_failed}"
            )?;
        }
        self.end(&mut out, failed_held)
    }

    /// Waits until the table is as this state requires, and until UDP is served by a pod of it.
    fn reach(&mut self, name: &str, weights: [Option<u32>; 2]) -> Result<()> {
        let deleted = weights.map(|weight| weight.filter(|weight| *weight > 0));
        let weights = if self.mode == "delete" { deleted } else { weights };
        let (ipvs, tcp, udp) = (&mut self.ipvs, ServiceKey::tcp(TCP.parse()?), ServiceKey::udp(UDP.parse()?));
        until(name, || Ok(table(ipvs, tcp)? == weights && table(ipvs, udp)? == deleted))?;
        if deleted == [None, Some(1)] && !self.counts.retired() {
            let [.., before, _] = self.counts.read();
            until("UDP of the new pod", || Ok(matches!(self.counts.read(), [.., now, _] if now > before)))?;
            self.counts.retire();
        }
        Ok(())
    }

    fn start_clients(&mut self) -> Result<()> {
        // The address is bound after its service is complete.
        until("the first connection", || Ok(TcpStream::connect(TCP).is_ok()))?;
        for _ in 0..HELD {
            self.held.push(Held::open()?);
        }
        (0..WORKERS).for_each(|_| {
            drop(thread::spawn({
                let counts = self.counts.clone();
                move || connect(&counts)
            }))
        });
        let counts = self.counts.clone();
        thread::spawn(move || ask(&counts));
        Ok(())
    }

    /// Ends the held connections. The drain of their pod is not awaited: Linux 7.3 counts handshakes that the reuse of a port has ended
    /// as active for a minute or more.
    fn end(mut self, out: &mut impl Write, failed_held: u64) -> Result<u64> {
        drop(self.held);
        self.counts.stop.store(true, Ordering::Relaxed);
        self.proxy.kill()?;
        let [old, new, failed, _, _, udp_failed] = self.counts.read();
        let failed = failed + failed_held + udp_failed;
        writeln!(out, "{} connections served: old {old}, new {new}", old + new)?;
        writeln!(out, "{failed} failed")?;
        Ok(failed)
    }
}

/// Addresses of the pods, few ports, and the settings that Kubernetes needs.
fn prepare() -> Result<()> {
    command("ip link set lo up")?;
    for (name, address) in PODS {
        command(&format!("ip addr add {address}/32 dev lo"))?;
        pod(name, address)?;
    }
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20119")?;
    // The client loads the module, which has the settings.
    Ipvs::connect()?;
    for setting in ["conntrack", "expire_nodest_conn"] {
        fs::write(format!("/proc/sys/net/ipv4/vs/{setting}"), "1")?;
    }
    Ok(())
}

fn command(text: &str) -> Result<()> {
    let mut words = text.split(' ');
    let status = Command::new(words.next().unwrap_or_default()).args(words).status()?;
    if status.success() { Ok(()) } else { Err(format!("{text}: {status}").into()) }
}

/// Serves as a pod: a byte is answered with its name. The byte `q` ends the connection, from the pod's side, so that the port of
/// the client is free at once.
fn pod(name: &'static str, address: &str) -> Result<()> {
    let listener = TcpListener::bind(format!("{address}:8080"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(name, stream));
        }
    });
    let socket = UdpSocket::bind(format!("{address}:8053"))?;
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
    Ok(())
}

fn answer(name: &str, mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(name.as_bytes()).is_ok() {
        if byte == *b"q" {
            return;
        }
    }
}

/// The proxy, fed with lists.
struct Proxy(Child);

impl Proxy {
    fn start(mode: &str) -> Result<Self> {
        let mut command = Command::new("service-proxy");
        command.args(OPTIONS.split(' ')).args(["--drain", if mode == "delete" { "0" } else { "600" }]);
        Ok(Self(command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?))
    }

    fn send(&mut self, objects: &Value) -> Result<()> {
        let input = self.0.stdin.as_mut().ok_or("no input")?;
        Ok(writeln!(input, "{objects}")?)
    }

    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Results by pod, and failures: of short connections, then of datagrams.
#[derive(Default)]
struct Counts {
    results: [AtomicU64; 6],
    /// Whether the pod `old` has left the service.
    retired: AtomicBool,
    stop: AtomicBool,
}

impl Counts {
    fn read(&self) -> [u64; 6] {
        self.results.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Counts the result of `once`.
    fn count(&self, first: usize, once: impl FnOnce() -> io::Result<String>) {
        let retired = self.retired();
        let result = once();
        let pod = result.as_ref().ok().and_then(|name| PODS.iter().position(|(pod, _)| pod == name));
        let pod = pod.filter(|pod| *pod > 0 || !retired);
        if let Some(count) = self.results.get(first + pod.unwrap_or(2)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if pod.is_none() {
            let _ = writeln!(io::stderr(), "failed: {result:?}");
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn difference(now: [u64; 6], before: [u64; 6]) -> [u64; 6] {
    let mut differences = now;
    differences.iter_mut().zip(before).for_each(|(now, before)| *now -= before);
    differences
}

/// Connects again and again.
fn connect(counts: &Counts) {
    while counts.goes_on() {
        let once = || {
            let mut stream = TcpStream::connect(TCP)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"q")?;
            let mut name = String::new();
            stream.read_to_string(&mut name)?;
            Ok(name)
        };
        counts.count(0, once);
    }
}

/// Asks by UDP from one port, each question up to three times, as resolvers do.
fn ask(counts: &Counts) {
    let once = |socket: &UdpSocket| {
        let mut name = [0; 16];
        socket.send(b"q")?;
        let length = socket.recv(&mut name)?;
        Ok(String::from_utf8_lossy(name.get(..length).unwrap_or_default()).into_owned())
    };
    let open = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(UDP)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(socket)
    };
    let socket: io::Result<UdpSocket> = open();
    while let (true, Ok(socket)) = (counts.goes_on(), &socket) {
        counts.count(3, || once(socket).or_else(|_| once(socket)).or_else(|_| once(socket)));
        thread::sleep(Duration::from_millis(5));
    }
}

/// A connection that is held.
struct Held(TcpStream);

impl Held {
    fn open() -> Result<Self> {
        let stream = TcpStream::connect(TCP)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(stream))
    }

    fn ask(&mut self) -> io::Result<String> {
        self.0.write_all(b"h")?;
        let mut name = [0; 3];
        self.0.read_exact(&mut name)?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }
}

/// The weights of the pods in a service.
fn table(ipvs: &mut Ipvs, key: ServiceKey) -> Result<[Option<u32>; 2]> {
    let destinations = match ipvs.destinations(key) {
        Err(error) if error.is_not_found() => Vec::new(),
        destinations => destinations?,
    };
    let weight = |address: &str| {
        let address: Option<IpAddr> = address.parse().ok();
        destinations.iter().find(|to| Some(to.address().ip()) == address).map(|to| to.destination.weight)
    };
    Ok(PODS.map(|(_, address)| weight(address)))
}

/// The list of a Service with two ports and its slice, as `kubectl` prints it.
fn objects(pods: [Option<[bool; 3]>; 2]) -> Value {
    let endpoints: Vec<_> = PODS
        .iter()
        .zip(pods)
        .filter_map(|((_, address), conditions)| {
            let [ready, serving, terminating] = conditions?;
            let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
            Some(json!({"addresses": [address], "conditions": conditions, "nodeName": "node-a"}))
        })
        .collect();
    let ports = |tcp: u16, udp: u16| {
        json!([
            {"name": "http", "port": tcp, "protocol": "TCP"}, {"name": "dns", "port": udp, "protocol": "UDP"},
        ])
    };
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": ""}, "items": [
        {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "app", "namespace": "roll"},
            "spec": {"clusterIP": "10.96.18.61", "clusterIPs": ["10.96.18.61"], "ports": ports(80, 53)}},
        {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
            "metadata": {"name": "app-2j4jc", "namespace": "roll", "labels": {"kubernetes.io/service-name": "app"}},
            "endpoints": endpoints, "ports": ports(8080, 8053)},
    ]})
}

/// Waits for a state of the kernel or of the load, neither of which reports changes.
fn until(what: &str, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !reached()? {
        if began.elapsed() > DEADLINE {
            return Err(format!("{what}: not reached").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
