//~ error[E0308]
//~ expected `&Binder`, found `&str`
use std::net::Ipv4Addr;

use lvs::vip::Vips;

fn main() -> lvs::Result<()> {
    let mut vips = Vips::connect()?;
    vips.bind("vip0", Ipv4Addr::LOCALHOST)?;
    Ok(())
}
