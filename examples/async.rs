//! Connects to all TCP destinations of IPVS at the same time, quiesces each that accepts no connection, and prints it.
//!
//! ```text
//! $ cargo build --example async && sudo target/debug/examples/async
//! 10.96.0.10:80/tcp 10.0.1.1:8080: Connection refused (os error 111)
//! 200 destinations checked, 1 quiesced
//! ```
//!
//! All tasks share one client on a thread of its own. A quiesced destination has the weight 0.

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use lvs::ipvs::{Ipvs, ServiceKey};
use lvs::{Protocol, Worker};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_millis(500);

/// Connects to a server, and quiesces the server if that fails. Returns whether it is well.
async fn check(
    worker: Worker<Ipvs>,
    service: ServiceKey,
    server: SocketAddr,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    // Port 0 of a destination keeps the port of the service.
    let kept = service.address().map_or(0, |address| address.port());
    let port = if server.port() == 0 { kept } else { server.port() };
    let connected = timeout(TIMEOUT, TcpStream::connect((server.ip(), port))).await;
    let Err(failure) = connected.unwrap_or_else(|elapsed| Err(elapsed.into())) else { return Ok(true) };
    match worker.call(move |ipvs| ipvs.update_destination(service, server, |server| server.weight = 0)).await {
        Err(error) if error.is_not_found() => return Ok(true), // deleted meanwhile
        done => done?,
    }
    writeln!(stdout(), "{service} {server}: {failure}")?;
    Ok(false)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let worker = Worker::start(Ipvs::connect).await?;
    let table = worker.call(|ipvs| ipvs.table_best_effort()).await?.items;
    let mut checks = JoinSet::new();
    for (service, servers) in table.into_iter().filter(|(service, _)| service.key().protocol() == Some(Protocol::TCP)) {
        for server in servers {
            checks.spawn(check(worker.clone(), service.key(), server.address()));
        }
    }
    let (mut checked, mut quiesced) = (0, 0);
    while let Some(is_well) = checks.join_next().await {
        checked += 1;
        quiesced += u32::from(!is_well??);
    }
    writeln!(stdout(), "{checked} destinations checked, {quiesced} quiesced")?;
    Ok(())
}
