//! Replaces the members of a set by the networks on standard input, and prints the progress.
//!
//! ```text
//! $ cargo build --example blocklist
//! $ sudo target/debug/examples/blocklist blocked < networks.txt
//! blocked: 100000 of 150000
//! blocked: 150000 networks
//! $ iptables -I INPUT -m set --match-set blocked src -j DROP
//! ```
//!
//! Each line is a network or an address, such as `10.0.0.0/8` or `192.0.2.7 timeout 600`; empty lines and lines that
//! begin with `#` are skipped. Any other line stops the program before anything changes. A rule that refers to the set
//! sees either all of the old networks or all of the new ones.

use std::env::args;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Duration;

use lvs::ipset::{HashNet, Ipset, Member, NewSet};

/// Networks from one line of progress to the next.
const STEP: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let name = args().nth(1).filter(|name| !name.starts_with('-')).ok_or("usage: blocklist SET < FILE")?;
    let mut networks = Vec::new();
    for (number, line) in (1..).zip(stdin().lock().lines()) {
        let line = line?;
        if !line.trim().is_empty() && !line.starts_with('#') {
            let network = Member::<HashNet>::parse(line.trim()).map_err(|error| format!("line {number}: {error}"))?;
            networks.push(network);
        }
    }

    let count = networks.len();
    let members = (1..).zip(networks).map(|(number, network)| {
        if number % STEP == 0 {
            // Lost output is an error at the end, when the networks are in place.
            let _ = writeln!(stdout(), "{name}: {number} of {count}");
        }
        network
    });
    let new = NewSet::<HashNet>::ipv4().timeout(Duration::ZERO).maxelem(u32::try_from(count)?.max(65_536));
    let set = Ipset::connect()?.replace(name.parse()?, &new, members)?;
    writeln!(stdout(), "{}: {count} networks", set.name())?;
    Ok(())
}
