//! The texts of values: what can be read is printed so that it reads as the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use lvs::Interface;
use lvs::ipset::{Addresses, Comment, InterfaceName, Kind, Mac, Network, SetName};
use lvs::ipvs::{ConnectionState, Destination, OverviewAddress, PersistenceEngine, Scheduler, Service, SyncDaemon};
use lvs::vip::{Binder, Vip};

pub(crate) fn run(data: &[u8]) {
    if let Ok(comment) = Comment::any(data) {
        assert_eq!(comment.as_bytes(), data);
        let _ = comment.to_string();
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    back::<Addresses>(text);
    back::<Network>(text);
    back::<Mac>(text);
    back::<Kind>(text);
    back::<Vip>(text);
    back::<SetName>(text);
    back::<InterfaceName>(text);
    back::<Interface>(text);
    back::<Scheduler>(text);
    back::<PersistenceEngine>(text);
    back::<ConnectionState>(text);
    back::<Service>(text);
    back::<Destination>(text);
    back::<SyncDaemon>(text);
    back::<OverviewAddress>(text);
    for binder in [Binder::dummy(text), Binder::label(text, 77)].into_iter().flatten() {
        assert!(!binder.to_string().is_empty());
    }
}

fn back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(printed.parse().ok(), Some(value), "{text:?} is printed as {printed:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
