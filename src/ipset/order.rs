//! Order of members in which the kernel stores each of them.
//
// The kernel stops at the first stored entry that equals the sent one. In a `hash:net,iface` a stored wildcard equals
// each entry of its network whose interface name it covers.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::addresses::Addresses;
use super::batch::Placed;
use super::entry::{Entry, Member};
use super::kind::{AnyType, Kind, SetType};
use super::parts::{InterfaceMatch, InterfaceName};
use crate::error::Cause;

/// The part of a listed entry that two members of a set cannot have in common.
pub(super) fn identity(kind: Kind, entry: Entry) -> Entry {
    match entry {
        Entry::IpMac(ip, _) if kind == Kind::BitmapIpMac => Entry::IpMac(ip, None),
        Entry::IpInterface(ip, interface) => Entry::IpInterface(ip, InterfaceMatch { wildcard: false, ..interface }),
        entry => entry,
    }
}

fn is_wildcard(entry: Entry) -> bool {
    matches!(entry, Entry::IpInterface(_, InterfaceMatch { wildcard: true, .. }))
}

/// Sorts members of a `hash:net,iface`: a wildcard follows the names that it covers.
pub(super) fn wildcards_last<T: SetType>(members: &mut [Placed<T>]) {
    members.sort_by_key(|(_, member)| match member.entry.into() {
        Entry::IpInterface(_, interface) => Reverse(interface.name.as_bytes().len()),
        _ => Reverse(0),
    });
}

/// Finds members of a `hash:net,iface` that the kernel cannot store together.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Entry, bool>);

impl Names {
    /// Refuses an interface name that was also given with the other value of `wildcard`.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Cause> {
        let earlier = self.0.insert(identity(Kind::HashNetIface, entry), is_wildcard(entry));
        if earlier.is_none_or(|earlier| earlier == is_wildcard(entry)) {
            return Ok(());
        }
        let text = "the kernel stores an interface name either as a wildcard or without";
        Err(Cause::InvalidInput(format!("{entry}: {text}").into()))
    }
}

/// Networks of a `hash:net,iface` whose members are to be deleted and added again in order.
#[derive(Debug, Default)]
pub(super) struct Tangled(HashSet<(Addresses, bool)>);

impl Tangled {
    /// Finds the networks in which an existing and a desired entry would be one for the kernel.
    ///
    /// An existing name before the wildcard that covers it stays, and two new entries are sent in this order. In all
    /// other cases the order is uncertain: the kernel may store a new entry in the place of a deleted one.
    pub(super) fn find<'a>(
        existing: &'a [Member<AnyType>],
        desired: impl Iterator<Item = &'a Member<AnyType>> + Clone,
    ) -> Self {
        let all = || existing.iter().chain(desired.clone()).map(|member| member.entry);
        let key = |entry| identity(Kind::HashNetIface, entry);
        let wildcards: HashSet<_> = all().filter(|entry| is_wildcard(*entry)).map(key).collect();
        let mut tangled = Self::default();
        if wildcards.is_empty() {
            return tangled;
        }
        let places: HashMap<_, _> =
            existing.iter().enumerate().map(|(place, member)| (key(member.entry), (place, member.entry))).collect();
        for entry in all() {
            let here = places.get(&key(entry));
            let changes = here.is_some_and(|(_, existing)| *existing != entry);
            let covered = || {
                shorter(entry).filter(|shorter| wildcards.contains(shorter)).any(|shorter| {
                    match (here, places.get(&shorter)) {
                        (Some((name, _)), Some((wildcard, _))) => wildcard < name,
                        (None, None) => false,
                        _ => true,
                    }
                })
            };
            if changes || covered() {
                tangled.0.extend(network(entry));
            }
        }
        tangled
    }

    pub(super) fn contains(&self, entry: Entry) -> bool {
        !self.0.is_empty() && network(entry).is_some_and(|network| self.0.contains(&network))
    }
}

/// Network and kind of interface: only entries that have both in common can be one for the kernel.
fn network(entry: Entry) -> Option<(Addresses, bool)> {
    match entry {
        Entry::IpInterface(ip, interface) => Some((ip, interface.physdev)),
        _ => None,
    }
}

/// Entries of the same network whose interface name is shorter and begins this one.
fn shorter(entry: Entry) -> impl Iterator<Item = Entry> {
    let parts = match entry {
        Entry::IpInterface(ip, interface) => Some((ip, interface)),
        _ => None,
    };
    parts.into_iter().flat_map(|(ip, interface)| {
        (0..interface.name.as_bytes().len()).filter_map(move |length| {
            let name = InterfaceName::any(interface.name.as_bytes().get(..length)?).ok()?;
            Some(Entry::IpInterface(ip, InterfaceMatch { name, wildcard: false, ..interface }))
        })
    })
}
