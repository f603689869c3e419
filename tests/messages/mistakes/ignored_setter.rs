//~ warning: unused return value of `lvs::ipvs::Destination::weight` that must be used
//~ warning: unused return value of `NewSet::<T>::counters` that must be used
//~ warning: unused return value of `Options::timeout` that must be used
//~ the changed value is returned
use std::time::Duration;

use lvs::Options;
use lvs::ipset::{HashIp, NewSet};
use lvs::ipvs::Destination;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pod = Destination::new("10.244.1.7:80".parse()?);
    pod.weight(0);
    let set = NewSet::<HashIp>::ipv4();
    set.counters();
    let options = Options::default();
    options.timeout(Duration::from_secs(1));
    Ok(())
}
