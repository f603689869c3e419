//! Balances 100 connections over three real servers in temporary network namespaces, and prints the share of each.
//!
//! ```text
//!  client 10.9.0.2 ──── 10.9.0.1 balancer 10.0.1.1 ──── 10.0.1.2 server 1, weight 3
//!                       virtual IP         10.0.2.1 ──── 10.0.2.2 server 2, weight 1
//!                       10.96.0.10         10.0.3.1 ──── 10.0.3.2 server 3, weight 1
//! ```
//!
//! Run it as root on a machine whose kernel has IPVS. On x86-64 with Debian's apt, `cargo xtask demo` runs it without root in
//! a virtual machine. The network of the machine itself is not touched. Every interface, address and rule is in a
//! namespace that only this process holds, and ends with it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, ExitCode, id};
use std::thread;
use std::time::{Duration, Instant};

use lvs::Outcome;
use lvs::ipvs::{Destination, DestinationInfo, Ipvs, Scheduler, Service, ServiceInfo, Version};
use lvs::netns::Namespace;
use lvs::vip::{Binder, Vips};

const VIRTUAL_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 10));
const WEIGHTS: [u32; 3] = [3, 1, 1];
const CONNECTIONS: usize = 100;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match demo(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The exit status reports the failure also where standard error is lost.
            let _ = writeln!(io::stderr(), "quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(out: &mut impl Write) -> Result<()> {
    let (client, balancer) = (Namespace::create()?, Namespace::create()?);
    let servers = build_network(&client, &balancer)?;
    writeln!(out, "5 network namespaces: a client, a load balancer, {} servers", servers.len())?;

    // The load balancer: a virtual service, a destination for each server, then the virtual IP.
    let mut ipvs = balancer.run(Ipvs::connect)??;
    let web = Service::tcp(SocketAddr::new(VIRTUAL_IP, 80), Scheduler::WRR);
    ipvs.add_service(web)?;
    for (server, weight) in servers.iter().zip(WEIGHTS) {
        ipvs.add_destination(web.key, Destination::new(*server).weight(weight))?;
    }
    let mut vips = balancer.run(Vips::connect)??;
    let vip0 = Binder::dummy("vip0")?;
    if vips.bind(&vip0, VIRTUAL_IP)? == Outcome::Added {
        writeln!(out, "the virtual IP {VIRTUAL_IP} on the dummy interface {vip0}")?;
    }
    writeln!(out, "\nBefore:")?;
    print_table(out, &ipvs.version()?, &ipvs.table()?)?;

    // The client: one connection after the other, each a request and its answer.
    let mut served = BTreeMap::<String, usize>::new();
    for answer in client.run(|| (0..CONNECTIONS).map(|_| request()).collect::<Result<Vec<_>>>())?? {
        *served.entry(answer).or_default() += 1;
    }

    writeln!(out, "\nAfter {CONNECTIONS} connections to {VIRTUAL_IP}:80:")?;
    let counted = counted_table(&mut ipvs)?;
    print_table(out, &ipvs.version()?, &counted)?;
    writeln!(out, "\nConnections for each server, weights {WEIGHTS:?}:")?;
    for (server, count) in &served {
        writeln!(out, "  {server}: {count:>3} {}", "#".repeat(*count))?;
    }

    ipvs.delete_service(web.key)?;
    writeln!(out, "\nCleaned up: the service {},", web.key)?;
    if vips.unbind(&vip0, VIRTUAL_IP)? == Outcome::Deleted {
        writeln!(out, "  the virtual IP {VIRTUAL_IP},")?;
    }
    if vips.clear(&vip0)? == Outcome::Deleted {
        writeln!(out, "  the dummy interface {vip0};")?;
    }
    writeln!(out, "  the namespaces, with all other objects, end with this process.")?;

    let total: u32 = WEIGHTS.iter().sum();
    for (i, weight) in WEIGHTS.into_iter().enumerate() {
        let expected = CONNECTIONS * usize::try_from(weight)? / usize::try_from(total)?;
        let got = served.get(&name(i)).copied().unwrap_or_default();
        if got != expected {
            return Err(format!("{} answered {got} times, not {expected}", name(i)).into());
        }
    }
    Ok(())
}

/// Joins the namespaces by virtual cables and starts the servers; returns the servers' addresses.
fn build_network(client: &Namespace, balancer: &Namespace) -> Result<Vec<SocketAddr>> {
    cable(balancer, "client", "10.9.0.1/24", client, "10.9.0.2/24")?;
    // Each namespace has its own of these.
    balancer.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
    let mut servers = Vec::new();
    for i in 0..WEIGHTS.len() {
        let (net, server) = (i + 1, Namespace::create()?);
        let near = format!("10.0.{net}.1/24");
        cable(balancer, &format!("server{net}"), &near, &server, &format!("10.0.{net}.2/24"))?;
        let listener = server.run(|| TcpListener::bind("0.0.0.0:8080"))??;
        thread::spawn(move || serve(&listener, &name(i)));
        servers.push(format!("10.0.{net}.2:8080").parse()?);
    }
    Ok(servers)
}

/// Joins the load balancer to another namespace, which then reaches everything through it.
fn cable(balancer: &Namespace, name: &str, near: &str, other: &Namespace, far: &str) -> Result<()> {
    let path = format!("/proc/{}/fd/{}", id(), other.as_fd().as_raw_fd());
    balancer.run(|| {
        ip(&["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &path])?;
        ip(&["address", "add", near, "dev", name])?;
        ip(&["link", "set", name, "up"])
    })??;
    let gateway = near.trim_end_matches("/24");
    other.run(|| {
        ip(&["address", "add", far, "dev", "eth0"])?;
        ip(&["link", "set", "eth0", "up"])?;
        ip(&["route", "add", "default", "via", gateway])
    })?
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("cannot run ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}

fn name(server: usize) -> String {
    format!("server {}", server + 1)
}

/// Answers every connection with the server's name.
fn serve(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        // A client that went away is no concern of the server's.
        let _ = respond(stream, name);
    }
}

fn respond(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    BufReader::new(&stream).read_line(&mut String::new())?;
    write!(stream, "HTTP/1.0 200 OK\r\n\r\n{name}")
}

/// Requests the name of the server that answers.
fn request() -> Result<String> {
    let timeout = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(VIRTUAL_IP, 80), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

/// The table once its counters have caught up: the kernel renews them every 2 seconds.
fn counted_table(ipvs: &mut Ipvs) -> Result<Vec<(ServiceInfo, Vec<DestinationInfo>)>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let table = ipvs.table()?;
        let counted: u64 = table.iter().map(|(service, _)| service.stats.connections).sum();
        if usize::try_from(counted)? >= CONNECTIONS || Instant::now() > deadline {
            return Ok(table);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Prints the table in the format of `ipvsadm -Ln --stats`.
fn print_table(out: &mut impl Write, info: &Version, table: &[(ServiceInfo, Vec<DestinationInfo>)]) -> Result<()> {
    let (major, minor, patch) = info.release;
    writeln!(out, "IP Virtual Server version {major}.{minor}.{patch} (size={})", info.connection_table_size)?;
    let titles = ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"];
    writeln!(
        out,
        "Prot {:<28} {}\n  -> RemoteAddress:Port",
        "LocalAddress:Port",
        titles.map(|t| format!("{t:>8}")).join(" ")
    )?;
    for (service, destinations) in table {
        let lvs::ipvs::ServiceKey::Address { protocol, address } = service.key() else { continue };
        writeln!(out, "{:<4} {address:<28}{}", protocol.to_string().to_uppercase(), counters(&service.stats))?;
        let mut destinations = destinations.clone();
        destinations.sort_by_key(DestinationInfo::address);
        for destination in destinations {
            writeln!(out, "  -> {:<28}{}", destination.address(), counters(&destination.stats))?;
        }
    }
    Ok(())
}

fn counters(stats: &lvs::ipvs::Stats) -> String {
    [stats.connections, stats.packets_in, stats.packets_out, stats.bytes_in, stats.bytes_out]
        .map(|count| format!("{count:>9}"))
        .concat()
}
