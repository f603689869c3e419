//~ error[E0061]
//~ `lvs::ipvs::Destination` does not identify a virtual service
//~ neither a `ServiceKey` nor a `Service`
use lvs::ipvs::{Destination, Ipvs, Scheduler, Service};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ipvs = Ipvs::connect()?;
    ipvs.add_service(Service::tcp("10.96.0.10:80".parse()?, Scheduler::RR))?;
    ipvs.add_destination(Destination::new("10.244.1.7:80".parse()?))?;
    Ok(())
}
