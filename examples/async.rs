//! Connects to all destinations of IPVS at the same time, quiesces each that accepts no connection, and prints it.
//!
//! ```text
//! $ cargo build --example async
//! $ sudo target/debug/examples/async
//! 10.96.0.10:80/tcp 10.0.1.1:8080: Connection refused (os error 111)
//! 200 destinations checked, 1 quiesced
//! ```
//!
//! All tasks share one client on a thread of its own. A quiesced destination has the weight 0.

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use lvs::Worker;
use lvs::ipvs::{Ipvs, ServiceKey};
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
    let failure = match timeout(TIMEOUT, TcpStream::connect(server)).await {
        Ok(Ok(_)) => return Ok(true),
        Ok(Err(error)) => error.to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    worker.call(move |ipvs| ipvs.update_destination(service, server, |server| server.weight = 0)).await?;
    writeln!(stdout(), "{service} {server}: {failure}")?;
    Ok(false)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let worker = Worker::start(Ipvs::connect).await?;
    let table = worker.call(|ipvs| ipvs.table_best_effort()).await?.items;
    let mut checks = JoinSet::new();
    for (service, servers) in table {
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
