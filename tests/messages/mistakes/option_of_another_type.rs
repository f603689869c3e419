//~ error[E0599]
//~ `lvs::ipset::HashMac: WithNetmask`
//~ `lvs::ipset::HashMac: OfFamily`
//~ `lvs::ipset::HashIp: Networks`
use lvs::ipset::{HashIp, HashMac, Member, NewSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", NewSet::<HashMac>::new().netmask(24));
    println!("{}", NewSet::<HashMac>::ipv4());
    println!("{}", Member::<HashIp>::parse("10.0.0.1")?.nomatch());
    Ok(())
}
