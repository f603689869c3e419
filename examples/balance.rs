//! Adds a TCP service, its servers and its virtual IP, and prints the number of destinations.
//!
//! ```text
//! $ cargo build --example balance
//! $ sudo target/debug/examples/balance 10.96.0.10:80 10.0.1.1:8080 10.0.1.2:8080
//! 10.96.0.10:80/tcp: 2 destinations
//! ```
//!
//! Running it again sets the same values.

use std::env::args;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;

use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};
use lvs::vip::{Binder, Vips};

fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = args().skip(1).map(|address| address.parse::<SocketAddr>());
    let virtual_ip = addresses.next().ok_or("usage: balance VIRTUAL-IP:PORT SERVER:PORT…")??;
    let servers = addresses.collect::<Result<Vec<_>, _>>()?;

    // The service is complete before its address becomes local: packets to a local address without a service are refused.
    let mut ipvs = Ipvs::connect()?;
    let service = Service::tcp(virtual_ip, Scheduler::WRR);
    ipvs.put_service(service)?;
    for server in servers {
        ipvs.put_destination(service.key, Destination::new(server))?;
    }
    Vips::connect()?.bind(&Binder::dummy("vip0")?, virtual_ip.ip())?;

    let count = ipvs.destinations(service.key)?.len();
    writeln!(stdout(), "{}: {count} destinations", service.key)?;
    Ok(())
}
