//~ is not a virtual IP
//~ to read a virtual IP from text, write `text.parse::<Vip>()?`
use lvs::vip::{Binder, Vips};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut vips = Vips::connect()?;
    vips.bind(&Binder::dummy("vip0")?, "10.96.0.10".parse()?)?;
    Ok(())
}
