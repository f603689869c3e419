//~ warning: unused `Result` that must be used
use lvs::ipvs::Ipvs;

fn main() -> lvs::Result<()> {
    let mut ipvs = Ipvs::connect()?;
    ipvs.clear();
    Ok(())
}
