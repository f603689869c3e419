//! Loads a set of networks from standard input, one on each line, and puts it in the place of the old one at once.
//!
//! ```text
//! $ blocklist blocked < networks.txt                            # as root
//! blocked: 2 networks
//! $ iptables -I INPUT -m set --match-set blocked src -j DROP
//! ```
//!
//! A rule that refers to the set sees either all of the old networks or all of the new ones. A line that is no network stops
//! the program before anything changes.

use std::env::args;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use lvs::ipset::{HashNet, Ipset, Member, Network, NewSet};

fn main() -> Result<(), Box<dyn Error>> {
    let name = args().nth(1).ok_or("usage: blocklist SET < FILE")?;
    let mut networks = Vec::new();
    for (number, line) in (1..).zip(stdin().lock().lines()) {
        let line = line?;
        let network: Network = line.trim().parse().map_err(|error| format!("line {number}: {error}"))?;
        networks.push(network);
    }

    let size = u32::try_from(networks.len())?.max(65_536);
    let new = NewSet::<HashNet>::ipv4().maxelem(size);
    let set = Ipset::connect()?.replace(name.parse()?, &new, networks.iter().map(|network| Member::new(*network)))?;
    writeln!(stdout(), "{}: {} networks", set.name(), networks.len())?;
    Ok(())
}
