//! Checks every server of every TCP service, sets the weight of a failing one to 0, restores it later, and prints both.
//!
//! ```text
//! $ cargo build --example health
//! $ sudo target/debug/examples/health 1000                     # checks every 1000 ms
//! 10.96.0.10:80/tcp 10.0.1.1:8080: weight 2 -> 0
//! 10.96.0.10:80/tcp 10.0.1.1:8080: weight 0 -> 2
//! ```
//!
//! A check connects to the server. Two failures in a row quiesce it, and three successes in a row restore its weight.

use std::collections::HashMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::TcpStream;
use std::{env, mem, thread, time::Duration};

use lvs::Protocol;
use lvs::ipvs::Ipvs;

const FALL: u32 = 2;
const RISE: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let interval = env::args().nth(1).ok_or("usage: health MILLISECONDS")?.parse().map(Duration::from_millis)?;
    let (mut ipvs, mut healths) = (Ipvs::connect()?, HashMap::new());
    loop {
        // A deleted server is forgotten.
        let mut old = mem::take(&mut healths);
        for (service, servers) in ipvs.table_best_effort()?.items {
            let key = service.key();
            let Some(address) = key.address().filter(|_| key.protocol() == Some(Protocol::TCP)) else { continue };
            for server in servers.into_iter().map(|info| info.destination) {
                // Checks in a row that disagree with the state, and the weight of a server that was quiesced here.
                let (mut streak, mut quiesced): (u32, Option<u32>) =
                    old.remove(&(key, server.address)).unwrap_or_default();
                match (server.weight, quiesced) {
                    (0, None) => continue, // quiesced by another program
                    (1.., Some(_)) => (streak, quiesced) = (0, None),
                    _ => {}
                }
                // Port 0 of a destination keeps the port of the service.
                let port = if server.address.port() == 0 { address.port() } else { server.address.port() };
                let timeout = Duration::from_millis(500);
                let passed = TcpStream::connect_timeout(&(server.address.ip(), port).into(), timeout).is_ok();
                streak = if passed == quiesced.is_none() { 0 } else { streak + 1 };
                let (enough, weight) = quiesced.map_or((FALL, 0), |weight| (RISE, weight));
                if streak >= enough {
                    match ipvs.update_destination(key, server.address, |server| server.weight = weight) {
                        Err(error) if error.is_not_found() => continue,
                        done => done?,
                    }
                    writeln!(stdout(), "{key} {}: weight {} -> {weight}", server.address, server.weight)?;
                    (streak, quiesced) = (0, (weight == 0).then_some(server.weight));
                }
                healths.insert((key, server.address), (streak, quiesced));
            }
        }
        thread::sleep(interval);
    }
}
