//! Binds virtual IPs with each of the three binders, in a temporary network namespace, and prints them.
//!
//! ```sh
//! cargo build --example vips && sudo target/debug/examples/vips
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::Command;

use lvs::netns::Namespace;
use lvs::vip::{Binder, Vip, Vips};

/// A number that no other program on the machine marks its routes and addresses with.
const PROTOCOL: u8 = 77;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let node = Namespace::create()?;
    for arguments in ["link set lo up", "link add eth0 type veth peer name eth1", "address add 192.0.2.1/24 dev eth0"] {
        node.run(|| Command::new("ip").args(arguments.split(' ')).status())??;
    }
    let mut vips = node.run(Vips::connect)??;
    let desired = ["10.96.0.10".parse::<IpAddr>()?, "10.96.0.11".parse()?, "fd00:96::10".parse()?];

    for binder in [Binder::dummy("vip0")?, Binder::local_routes(PROTOCOL), Binder::label("eth0:1", PROTOCOL)?] {
        match vips.sync(&binder, desired) {
            Ok(tally) => writeln!(out, "{binder}: {} bound, {} as they were", tally.bound, tally.unchanged)?,
            // Such as a kernel without dummy interfaces.
            Err(error) => {
                writeln!(out, "{binder}: {error}")?;
                continue;
            }
        }
        writeln!(out, "  listed: {:?}", vips.virtual_ips(&binder)?)?;
        // An address of another interface is a conflict, found before anything is changed.
        if let Err(error) = vips.check(&binder, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 96, 0, 12])]) {
            writeln!(out, "  {error}")?;
        }
        vips.clear(&binder)?;
    }

    // One route for all addresses of a prefix.
    vips.bind(&Binder::local_routes(PROTOCOL), "10.96.0.0/12".parse::<Vip>()?)?;
    let shown = node.run(|| Command::new("ip").args(["route", "get", "10.99.1.2"]).output())??;
    out.write_all(&shown.stdout)?;
    out.flush()?;
    Ok(())
}
