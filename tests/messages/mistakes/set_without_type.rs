//~ error[E0283]
//~ lvs::ipset::HashIp
use lvs::ipset::{Ipset, NewSet, SetName};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ipset = Ipset::connect()?;
    ipset.create(SetName::new("blocked")?, &NewSet::ipv4())?;
    Ok(())
}
