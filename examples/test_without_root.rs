//! Tests a program's own function on an in-memory kernel, without root and without IPVS, and prints the result.
//!
//! ```text
//! $ cargo run --example test_without_root --features testing
//! quiesced 10.0.1.1:8080
//! the kernel loses the answer: update destination 10.0.1.1:8080 of service 10.96.0.10:80/tcp: the kernel did not answer in time
//! ```

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;

use lvs::ipvs::{Destination, Ipvs, Scheduler, Service, ServiceKey};
use lvs::testing::{Fault, Kernel};

/// The function under test: a server gets no new connections.
fn quiesce(ipvs: &mut Ipvs, service: ServiceKey, server: SocketAddr) -> lvs::Result<()> {
    ipvs.update_destination(service, server, |destination| destination.weight = 0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let kernel = Kernel::new();
    let mut ipvs = kernel.ipvs()?;
    let web = Service::tcp("10.96.0.10:80".parse()?, Scheduler::WRR);
    let server = "10.0.1.1:8080".parse()?;
    ipvs.add_service(web)?;
    ipvs.add_destination(web.key, Destination::new(server))?;

    quiesce(&mut ipvs, web.key, server)?;
    assert_eq!(ipvs.destinations(web.key)?.first().map(|info| info.destination.weight), Some(0));
    writeln!(stdout(), "quiesced {server}")?;

    // The same with a fault: the first answer from now on is lost.
    kernel.disturb(0, Fault::Lost);
    let error = quiesce(&mut ipvs, web.key, server).err().ok_or("the answer was not lost")?;
    assert!(error.is_timed_out());
    writeln!(stdout(), "the kernel loses the answer: {error}")?;
    Ok(())
}
