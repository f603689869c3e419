//~ error[E0639]
use lvs::ipvs::{Destination, Ipvs, ServiceKey};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ipvs = Ipvs::connect()?;
    let web = ServiceKey::tcp("10.96.0.10:80".parse()?);
    for info in ipvs.destinations(web)? {
        // Write `info.destination.weight(0)`.
        ipvs.set_destination(web, Destination { weight: 0, ..info.destination })?;
    }
    Ok(())
}
