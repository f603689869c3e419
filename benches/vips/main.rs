//! Prints the time for binding the first, the 10,000th and the 20,000th virtual IP, for each binder.
//!
//! A raw loop that sends the same prebuilt messages is the comparison. The program works in network namespaces that end
//! with it.
//!
//! ```sh
//! cargo bench --bench vips             # as root
//! cargo bench --bench vips -- route    # only names that contain this
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use lvs::netns::Namespace;
use lvs::vip::{Binder, Vip, Vips};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LAST: usize = 20_000;
/// How many are bound for one figure.
const SAMPLE: usize = 100;
const POINTS: [usize; 3] = [0, LAST / 2, LAST - SAMPLE];
const PROTOCOL: u8 = 77;

fn main() -> Result<()> {
    // `cargo test --all-targets` starts it without this option of `cargo bench`.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    writeln!(
        out,
        "microseconds for one virtual IP     at the 1st   10,000th   20,000th   raw: 1st   10,000th   20,000th"
    )?;
    for six in [false, true] {
        for (name, binder) in [
            ("address on a dummy", Binder::dummy("vip0")?),
            ("address with a label", Binder::label("eth0:1", PROTOCOL)?),
            ("local route", Binder::local_routes(PROTOCOL)),
        ] {
            if !name.contains(&wanted) {
                continue;
            }
            let family = if six { "IPv6" } else { "IPv4" };
            match measure(name, &binder, six) {
                Ok((ours, raw, after)) => {
                    let figures: Vec<_> =
                        ours.iter().chain(&raw).map(|time| format!("{:>11.1}", each(*time))).collect();
                    writeln!(out, "{name:<21}{family:<9} bind  {}", figures.concat())?;
                    writeln!(out, "{:<30} unbind {:>32.1}", "", each(after.unbind))?;
                    writeln!(out, "{:<30} list all: {:?}, clear: {:?}", "", after.list, after.clear)?;
                }
                Err(error) => writeln!(out, "{name:<21}{family:<9} {error}")?,
            }
        }
    }
    Ok(())
}

struct After {
    unbind: Duration,
    list: Duration,
    clear: Duration,
}

fn each(sample: Duration) -> f64 {
    sample.as_secs_f64() * 1e6 / SAMPLE as f64
}

fn measure(name: &str, binder: &Binder, six: bool) -> Result<([Duration; 3], [Duration; 3], After)> {
    let all: Vec<Vip> = (0..LAST).map(|n| address(n, six).into()).collect();
    let node = node()?;
    let mut vips = node.run(Vips::connect)??;
    // Makes the dummy interface.
    vips.bind(binder, address(LAST, six))?;
    let ours =
        at_points(|range| Ok(vips.bind_all(binder, all.get(range).unwrap_or_default().iter().copied()).map(drop)?))?;
    let list = timed(|| {
        let found = vips.virtual_ips(binder)?.len();
        if found == LAST + 1 { Ok(()) } else { Err(format!("{found} are listed").into()) }
    })?;
    let some = all.iter().copied().skip(LAST / 2).take(SAMPLE);
    let unbind = timed(|| Ok(vips.unbind_all(binder, some).map(drop)?))?;
    let clear = timed(|| Ok(vips.clear(binder).map(drop)?))?;

    let node = self::node()?;
    node.run(Vips::connect)??.bind(binder, address(LAST, six))?;
    let index = match name.contains("route") {
        true => 1,
        false => index(&node, if name.contains("dummy") { "vip0" } else { "eth0" })?,
    };
    let messages: Vec<_> = (0..LAST).map(|n| message(name, index, address(n, six))).collect();
    let mut socket = node.run(|| Socket::new(NETLINK_ROUTE))??;
    socket.connect(&SocketAddr::new(0, 0))?;
    let raw = at_points(|range| {
        for some in messages.get(range).unwrap_or_default().chunks(SAMPLE) {
            send(&mut socket, some)?;
        }
        Ok(())
    })?;
    Ok((ours, raw, After { unbind, list, clear }))
}

/// Binds up to each of the points, and measures the sample there.
fn at_points(mut bind: impl FnMut(std::ops::Range<usize>) -> Result<()>) -> Result<[Duration; 3]> {
    let mut times = [Duration::ZERO; 3];
    let mut bound = 0;
    for (point, time) in POINTS.into_iter().zip(&mut times) {
        bind(bound..point)?;
        *time = timed(|| bind(point..point + SAMPLE))?;
        bound = point + SAMPLE;
    }
    Ok(times)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn address(n: usize, six: bool) -> IpAddr {
    let [.., high, low] = n.to_be_bytes();
    if six {
        IpAddr::from([0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from_be_bytes([high, low])])
    } else {
        IpAddr::from([10, 96, high, low])
    }
}

fn node() -> Result<Namespace> {
    let node = Namespace::create()?;
    for arguments in ["link set lo up", "link add eth0 type veth peer name eth1"] {
        node.run(|| Command::new("ip").args(arguments.split(' ')).status())??;
    }
    Ok(node)
}

fn index(node: &Namespace, name: &str) -> Result<u32> {
    let shown = node.run(|| Command::new("ip").args(["-o", "link", "show", name]).output())??;
    Ok(String::from_utf8(shown.stdout)?.split(':').next().unwrap_or_default().parse()?)
}

/// The request that binds an address, as the library writes it.
fn message(name: &str, index: u32, ip: IpAddr) -> Vec<u8> {
    let (family, length, ip) = match ip {
        IpAddr::V4(ip) => (2, 32, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, 128, ip.octets().to_vec()),
    };
    let attribute = |kind: u16, payload: &[u8]| {
        let mut bytes = u16::try_from(payload.len() + 4).unwrap_or_default().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let (kind, body) = if name.contains("route") {
        let header = [family, length, 0, 0, 255, PROTOCOL, 254, 2, 0, 0, 0, 0].to_vec();
        (24_u16, [header, attribute(1, &ip), attribute(4, &index.to_ne_bytes())].concat())
    } else {
        let mut body =
            [&[family, length, 0, 0][..], &index.to_ne_bytes(), &attribute(2, &ip), &attribute(1, &ip)].concat();
        if family == 2 && name.contains("label") {
            body.extend(attribute(3, b"eth0:1\0"));
        }
        if family == 10 {
            body.extend(attribute(8, &0x202_u32.to_ne_bytes()));
            body.extend(attribute(6, &[0, u32::MAX, 0, 0].map(u32::to_ne_bytes).concat()));
        }
        if name.contains("label") {
            body.extend(attribute(11, &[PROTOCOL]));
        }
        (20, body)
    };
    let create_exclusively = 0x601_u16;
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &create_exclusively.to_ne_bytes(), &[0; 8], &body].concat()
}

/// Sends messages in one datagram, and waits for the acknowledgement of the last.
fn send(socket: &mut Socket, messages: &[Vec<u8>]) -> Result<()> {
    let mut datagram = messages.concat();
    let last = datagram.len() - messages.last().map_or(0, Vec::len);
    if let Some(flags) = datagram.get_mut(last + 6) {
        *flags |= 4;
    }
    socket.send(&datagram, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match answer.get(16..20) {
        Some([0, 0, 0, 0]) => Ok(()),
        other => Err(format!("the kernel refused: {other:?}").into()),
    }
}
