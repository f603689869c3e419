//! Prints each server of a TCP service that fails its checks or passes them again, and sets its weight.
//!
//! ```text
//! $ health 1000                                                # as root; checks each second
//! 10.96.0.10:80/tcp 10.0.1.1:8080: weight 2 -> 0
//! 10.96.0.10:80/tcp 10.0.1.1:8080: weight 0 -> 2
//! ```
//!
//! A check connects to the server. Two failures in a row quiesce it: it keeps its connections and gets no new ones. Three
//! successes in a row give it back its weight. A weight of 0 that another program has set stays.

use std::collections::HashMap;
use std::env::args;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use lvs::Protocol;
use lvs::ipvs::{Ipvs, ServiceKey};

const FALL: u32 = 2;
const RISE: u32 = 3;
const TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Health {
    /// Checks in a row that disagree with the state.
    streak: u32,
    /// Weight of a server that was quiesced here.
    quiesced: Option<u32>,
}

type Healths = HashMap<(ServiceKey, SocketAddr), Health>;

fn main() -> Result<(), Box<dyn Error>> {
    let interval = args().nth(1).ok_or("usage: health MILLISECONDS")?.parse().map(Duration::from_millis)?;
    let (mut ipvs, mut healths) = (Ipvs::connect()?, Healths::new());
    loop {
        healths = check_all(&mut ipvs, healths)?;
        sleep(interval);
    }
}

/// Checks every server once. A server that is deleted is forgotten; one that is added again starts anew.
fn check_all(ipvs: &mut Ipvs, mut old: Healths) -> Result<Healths, Box<dyn Error>> {
    let mut healths = Healths::new();
    for (service, servers) in ipvs.table_best_effort()?.items {
        let key = service.key();
        let Some(virtual_ip) = key.address().filter(|_| key.protocol() == Some(Protocol::TCP)) else { continue };
        for server in servers.into_iter().map(|info| info.destination) {
            let mut health = old.remove(&(key, server.address)).unwrap_or_default();
            match (server.weight, health.quiesced) {
                (0, None) => continue,
                (1.., Some(_)) => health = Health::default(),
                _ => {}
            }
            // Port 0 of a destination keeps the port of the service.
            let port = if server.address.port() == 0 { virtual_ip.port() } else { server.address.port() };
            let passed = TcpStream::connect_timeout(&(server.address.ip(), port).into(), TIMEOUT).is_ok();
            health.streak = if passed == health.quiesced.is_none() { 0 } else { health.streak + 1 };
            let (enough, weight) = health.quiesced.map_or((FALL, 0), |weight| (RISE, weight));
            if health.streak >= enough {
                match ipvs.update_destination(key, server.address, |server| server.weight = weight) {
                    Err(error) if error.is_not_found() => continue,
                    done => done?,
                }
                writeln!(stdout(), "{key} {}: weight {} -> {weight}", server.address, server.weight)?;
                health = Health { streak: 0, quiesced: (weight == 0).then_some(server.weight) };
            }
            healths.insert((key, server.address), health);
        }
    }
    Ok(healths)
}
