//~ error[E0277]
//~ `(Ipv4Addr, ProtocolPorts)` is not an entry of a set whose entries are `lvs::ipset::Addresses`
//~ not an entry of this set type
use std::net::Ipv4Addr;

use lvs::ipset::{HashNet, Member, ProtocolPorts};

fn main() {
    let member = Member::<HashNet>::new((Ipv4Addr::LOCALHOST, ProtocolPorts::tcp(80)));
    println!("{member}");
}
