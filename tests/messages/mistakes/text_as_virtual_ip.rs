//~ error[E0277]
//~ `&str` is not a virtual IP
//~ neither an address nor a `Vip`
//~ to read a virtual IP from text, write `text.parse::<Vip>()?`
use lvs::vip::{Binder, Vips};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut vips = Vips::connect()?;
    let dummy = Binder::dummy("vip0")?;
    vips.bind(&dummy, "10.96.0.10")?;
    vips.sync(&dummy, ["10.96.0.10"])?;
    Ok(())
}
