//~ error[E0499]
use lvs::ipvs::Ipvs;

fn main() -> lvs::Result<()> {
    let mut ipvs = Ipvs::connect()?;
    // Write `ipvs.table()?`, or use a second client.
    for service in ipvs.stream_services()? {
        println!("{}", ipvs.destinations(&service?)?.len());
    }
    Ok(())
}
