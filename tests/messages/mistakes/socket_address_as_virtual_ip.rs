//~ error[E0277]
//~ `std::net::SocketAddr` is not a virtual IP
//~ the virtual IP of a socket address is `address.ip()`
use lvs::ipvs::ServiceKey;
use lvs::vip::{Binder, Vips};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let web: ServiceKey = "10.96.0.10:443/tcp".parse()?;
    let address = web.address().ok_or("no address")?;
    Vips::connect()?.bind(&Binder::dummy("vip0")?, address)?;
    Ok(())
}
