// Names of this crate hide none of the standard library that a file uses.
#![allow(unused_imports)]

use std::any::Any;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::*;
use std::ops::*;

use lvs::ipset::*;
use lvs::ipvs::*;
use lvs::vip::*;
use lvs::*;

fn get<K: Hash + Eq, V: Any + Copy>(map: &HashMap<K, V>, key: &K, _: Range<u8>, _: IpAddr) -> Option<V> {
    map.get(key).copied()
}

fn main() {
    let (family, protocol): (Family, Protocol) = (Family::Inet, Protocol::TCP);
    println!("{family} {protocol} {:?}", get(&HashMap::from([(1, 2)]), &1, 0..1, Ipv4Addr::LOCALHOST.into()));
}
