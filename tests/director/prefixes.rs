//! Prefixes as virtual IPs of many services.

use lvs::director::{Desired, Owner};
use lvs::vip::{Binder, Vip};

use crate::lab::{Lab, pod, web};

fn prefix() -> Vip {
    "10.96.0.0/16".parse().unwrap()
}

fn lab(owner: Owner) -> Lab {
    Lab::with(owner, Binder::local_routes(77))
}

/// A service in a bound prefix.
fn desired() -> Desired {
    let mut desired = Desired::default();
    desired.vip(prefix());
    desired.service(web(), [pod(7)]).unwrap();
    desired
}

#[test]
fn a_prefix_stays_bound_while_a_service_in_it_drains() {
    for owner in [Owner::registered("web").unwrap(), Owner::bound()] {
        let mut lab = lab(owner.clone());
        lab.director.sync(&desired()).unwrap();
        assert_eq!(lab.bound(), ["10.96.0.0/16"]);
        assert!(lab.kernel.set_connections(web(), pod(7).address, 1, 0, 0));
        for _ in 0..2 {
            let report = lab.director.sync(&Desired::default()).unwrap();
            assert_eq!(report.draining.len(), 1, "{owner}");
            assert_eq!(lab.bound(), ["10.96.0.0/16"], "{owner}");
        }
        assert!(lab.kernel.set_connections(web(), pod(7).address, 0, 0, 0));
        lab.director.sync(&Desired::default()).unwrap();
        assert_eq!(lab.bound(), [""; 0], "{owner}");
        assert!(lab.ipvs.services().unwrap().is_empty(), "{owner}");
    }
}
