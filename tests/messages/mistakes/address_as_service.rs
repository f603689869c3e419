//~ error[E0277]
//~ does not identify a virtual service
//~ to identify a service by its address, write `ServiceKey::tcp(address)` or `ServiceKey::udp(address)`
//~ to read a key from text, write `text.parse::<ServiceKey>()?`
use std::net::SocketAddr;

use lvs::ipvs::Ipvs;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ipvs = Ipvs::connect()?;
    let address: SocketAddr = "10.96.0.10:80".parse()?;
    ipvs.delete_service(address)?;
    ipvs.delete_service("10.96.0.10:80/tcp")?;
    Ok(())
}
