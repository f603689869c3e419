//! Drains a server: sets its weight to 0, prints its remaining connections, and deletes it when it is idle or after 15 minutes.
//!
//! ```sh
//! cargo build --example drain && sudo target/debug/examples/drain 10.96.0.10:443/tcp 10.244.1.7:6443
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use lvs::director::{Desired, Director, Drain, Owner, Ranges};
use lvs::ipset::Network;
use lvs::ipvs::ServiceKey;
use lvs::vip::Binder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: drain SERVICE SERVER, such as: drain 10.96.0.10:443/tcp 10.244.1.7:6443";
    let key: ServiceKey = arguments.next().ok_or(usage)?.parse()?;
    let server: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let address = key.address().ok_or("a service by firewall mark has no address")?;

    // The one service, whoever added it, and no virtual IP.
    let only = Network::new(address.ip(), if address.is_ipv4() { 32 } else { 128 }).ok_or(usage)?;
    let owner = Owner::ranges(Ranges::networks([only]).ports(address.port()..=address.port()));
    let mut director = Director::connect(owner, Binder::dummy("drain0")?)?;
    let mut out = io::stdout().lock();
    let mut desired = without(&mut director, key, server)?;
    if desired.is_none() {
        return Err(format!("no server {server} of a service {key}").into());
    }
    while let Some(state) = desired {
        let report = director.sync(&state)?;
        for drain in &report.draining {
            writeln!(out, "{}: {}", drain.destination, drain.connections)?;
        }
        let Some(again_at) = report.again_at else { break };
        thread::sleep(again_at.saturating_duration_since(Instant::now()));
        // Changes of other programs stay.
        desired = without(&mut director, key, server)?;
    }
    writeln!(out, "{server}: deleted")?;
    Ok(())
}

/// Returns the present state without the server; `None` if the server does not exist.
fn without(director: &mut Director, key: ServiceKey, server: SocketAddr) -> lvs::Result<Option<Desired>> {
    let (mut desired, mut known) = (Desired::default(), false);
    // A service with the same address and port of another protocol is desired as it is.
    for found in director.snapshot()?.services().filter(|found| found.service.key.address() == key.address()) {
        let leaving = |to: SocketAddr| found.service.key == key && to == server;
        let others = found.destinations.iter().filter(|info| !leaving(info.address())).map(|info| info.destination);
        known |= others.clone().count() < found.destinations.len();
        let wanted = desired.service(found.service, others)?;
        (wanted.bind, wanted.drain) = (false, Drain::within(Duration::from_secs(15 * 60)).datagrams(true));
    }
    Ok(known.then_some(desired))
}
