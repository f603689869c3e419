//! The model kernel becomes what is desired.

use lvs::ipset::Ipset;
use lvs::ipvs::Ipvs;
use lvs::testing::Kernel;
use lvs::vip::Vips;

use crate::run::run;
use crate::world::{KINDS, World, number};

impl World for Kernel {
    fn ipvs(&self) -> Ipvs {
        Kernel::ipvs(self).unwrap()
    }

    fn ipset(&self) -> Ipset {
        Kernel::ipset(self)
    }

    fn vips(&self) -> Vips {
        Kernel::vips(self)
    }
}

#[test]
fn every_world_becomes_what_is_desired() {
    let first = number("LVS_SEED", 1);
    for seed in first..first + number("LVS_WORLDS", 40) {
        for kind in KINDS {
            run(&Kernel::new(), seed, kind, |_, _, _| {});
        }
    }
}
