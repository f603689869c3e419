//~ is not an entry of a set whose entries are `lvs::ipset::Addresses`
//~ to read an entry from text, write `Member::parse(text)?` instead of `Member::new(text.parse()?)`
use lvs::ipset::{HashNet, Member};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let member = Member::<HashNet>::new("10.0.0.0/8".parse()?);
    println!("{member}");
    Ok(())
}
