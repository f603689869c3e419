//! The members of a set in the model of ipset.

use std::collections::HashMap;

use super::Denial;
use super::entries::{covers, entries, is_within, networks, prefix};
use crate::ipset::numbers::{command, error};
use crate::ipset::{
    Addresses, AnyType, Counters, Entry, InterfaceMatch, InterfaceName, Kind, ListMember, Mac, Member, Method, Place,
    SetName, SetOptions, SkbInfo,
};

/// The members of a set, each with a number that grows from one to the next in their order.
#[derive(Debug)]
pub(super) struct Members {
    kind: Kind,
    by_entry: HashMap<Entry, (u64, Member<AnyType>)>,
    next: u64,
}

impl Members {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, by_entry: HashMap::new(), next: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.by_entry.len()
    }

    pub(super) fn clear(&mut self) {
        self.by_entry.clear();
    }

    pub(super) fn contains(&self, entry: &Entry) -> bool {
        self.by_entry.contains_key(entry)
    }

    pub(super) fn in_order(&self) -> Vec<&Member<AnyType>> {
        let mut all: Vec<_> = self.by_entry.values().collect();
        match self.kind.method() {
            Method::Bitmap => all.sort_unstable_by_key(|(_, member)| member.entry),
            Method::Hash | Method::List => all.sort_unstable_by_key(|(number, _)| *number),
        }
        all.into_iter().map(|(_, member)| member).collect()
    }

    /// The part of an entry that identifies it, or that of the stored entry which the kernel finds for it.
    fn key(&self, entry: &Entry) -> Entry {
        match *entry {
            Entry::IpMac(ip, _) if self.kind == Kind::BitmapIpMac => Entry::IpMac(ip, None),
            Entry::Set(ListMember { set, .. }) => Entry::Set(set.into()),
            Entry::IpInterface(ip, interface) => self.first_match(ip, interface),
            entry => entry,
        }
    }

    /// The key of the first entry with this name, or of a wildcard that covers it. The kernel may store a new entry in
    /// the place of a deleted one; in the model a new entry is the last.
    fn first_match(&self, ip: Addresses, interface: InterfaceMatch) -> Entry {
        let key = |name| Entry::IpInterface(ip, InterfaceMatch { name, wildcard: false, ..interface });
        let name = interface.name.as_bytes();
        let shorter = (0..name.len()).filter_map(|length| InterfaceName::any(name.get(..length)?).ok()).map(key);
        let wildcard = |entry: &Entry| matches!(entry, Entry::IpInterface(_, of) if of.wildcard);
        let own = key(interface.name);
        let equal = shorter.chain([own]).filter_map(|key| {
            let (number, stored) = self.by_entry.get(&key)?;
            (key == own || wildcard(&stored.entry)).then_some((number, key))
        });
        equal.min().map_or(own, |(_, key)| key)
    }

    fn get(&self, entry: &Entry) -> Option<&Member<AnyType>> {
        self.by_entry.get(&self.key(entry)).map(|(_, member)| member)
    }

    fn remove(&mut self, entry: &Entry) {
        self.by_entry.remove(&self.key(entry));
    }

    /// Adds one, or takes the place of the one with the same entry.
    fn put(&mut self, member: Member<AnyType>) {
        let key = self.key(&member.entry);
        let number = self.by_entry.get(&key).map_or(self.next, |(number, _)| *number);
        self.by_entry.insert(key, (number, member));
        self.next += 1;
    }

    /// Adds or deletes all entries of a member, up to the first failure, or tests it. `sets` are those of the kernel.
    pub(super) fn carry_out(
        &mut self,
        command: u8,
        strict: bool,
        options: &SetOptions,
        member: &Member<AnyType>,
        sets: &[(SetName, Kind)],
    ) -> Result<(), Denial> {
        match self.attempt(command, strict, options, member, sets) {
            // A test answers every fault as if the entry were missing.
            Err(Denial { words: None, .. }) if command == command::TEST => Err(error::EXIST.into()),
            done => done,
        }
    }

    fn attempt(
        &mut self,
        command: u8,
        strict: bool,
        options: &SetOptions,
        member: &Member<AnyType>,
        sets: &[(SetName, Kind)],
    ) -> Result<(), Denial> {
        check_extensions(options, member)?;
        let entry = match (member.entry, options.markmask) {
            (Entry::IpMark(ip, mark), Some(mask)) => Entry::IpMark(ip, mark & mask),
            (Entry::Set(entry), _) => {
                self.check_place(command, &entry, sets)?;
                member.entry
            }
            (entry, _) => entry,
        };
        let entries = entries(self.kind, &entry)?;
        if options.range.is_some_and(|range| !entries.iter().all(|entry| is_within(range, entry))) {
            return Err(error::OF_METHOD.into());
        }
        let count = if command == command::TEST { 1 } else { entries.len() };
        for entry in entries.into_iter().take(count) {
            let member = Member { entry, ..member.clone() };
            match command {
                command::ADD => self.add(strict, options, member)?,
                command::DEL if self.get(&entry).is_some() => self.remove(&entry),
                command::DEL if strict => return Err(error::EXIST.into()),
                command::DEL => {}
                _ => self.test(&member)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, strict: bool, options: &SetOptions, mut member: Member<AnyType>) -> Result<(), Denial> {
        let Some(there) = self.get(&member.entry) else {
            if options.maxelem.is_some_and(|most| self.count() >= usize::try_from(most).unwrap_or(usize::MAX)) {
                let dropped = self.in_order().first().map(|member| member.entry).filter(|_| options.forceadd);
                self.remove(&dropped.ok_or(Denial::from(error::OF_METHOD))?);
            }
            let held = as_stored(member, Counters::default(), options);
            self.put_in_place(held);
            return Ok(());
        };
        let counters = there.counters;
        if self.kind == Kind::BitmapIpMac {
            match (mac(&there.entry), mac(&member.entry)) {
                // The Ethernet address completes the entry.
                (None, Some(_)) => {
                    member.timeout = member.timeout.or(there.timeout);
                    self.put(as_stored(member, counters, options));
                    return Ok(());
                }
                (Some(_), None) => member.entry = there.entry,
                _ => {}
            }
        }
        if strict {
            return Err(error::EXIST.into());
        }
        match &mut member.entry {
            Entry::Set(entry) => entry.place = None,
            // An update does not change `wildcard`.
            Entry::IpInterface(..) => member.entry = there.entry,
            _ => {}
        }
        self.put(as_stored(member, counters, options));
        Ok(())
    }

    fn test(&self, member: &Member<AnyType>) -> Result<(), Denial> {
        let exact = self.get(&member.entry).filter(|there| match (mac(&there.entry), mac(&member.entry)) {
            (Some(there), Some(asked)) => there == asked,
            _ => true,
        });
        let found = match exact {
            // Only an address is looked for in networks.
            None if networks(&member.entry).iter().flatten().all(|of| matches!(of, Addresses::One(_))) => {
                let all = self.by_entry.values().map(|(_, there)| there);
                let around = all.filter(|there| covers(&there.entry, &member.entry));
                around.max_by_key(|there| networks(&there.entry).map(|of| of.map(prefix)))
            }
            exact => exact,
        };
        // A query for exceptions is answered with exceptions only.
        if found.is_none_or(|found| found.nomatch != member.nomatch) {
            return Err(error::EXIST.into());
        }
        Ok(())
    }

    // Lists of sets.

    /// Checks an entry of a list of sets, and its place.
    fn check_place(&self, command: u8, entry: &ListMember, sets: &[(SetName, Kind)]) -> Result<(), Denial> {
        let kind_of = |name| sets.iter().find(|(set, _)| *set == name).map(|(_, kind)| *kind);
        match kind_of(entry.set) {
            None => return Err(error::OF_METHOD.into()),
            Some(Kind::ListSet) => return Err(error::LOOP.into()),
            Some(_) => {}
        }
        let (other, next) = match entry.place {
            None => return Ok(()),
            Some(Place::Before(other)) => (other, 1),
            Some(Place::After(other)) => (other, -1),
        };
        if kind_of(other).is_none() {
            return Err(error::NAMEREF.into());
        }
        let order: Vec<_> = self.in_order().into_iter().map(|member| member.entry).collect();
        let place = |name: SetName| order.iter().position(|there| *there == Entry::Set(name.into()));
        let stands = match command {
            command::ADD => other != entry.set,
            _ => place(entry.set).and_then(|place| place.checked_add_signed(next)) == place(other),
        };
        if stands && place(other).is_some() { Ok(()) } else { Err(error::REF_EXIST.into()) }
    }

    /// Adds a new member, in a list of sets at its place.
    fn put_in_place(&mut self, mut member: Member<AnyType>) {
        let Entry::Set(ListMember { set, place: Some(place) }) = member.entry else { return self.put(member) };
        let (other, behind) = match place {
            Place::Before(other) => (other, 0),
            Place::After(other) => (other, 1),
        };
        let at = self.by_entry.get(&Entry::Set(other.into())).map_or(self.next, |(number, _)| number + behind);
        for (number, _) in self.by_entry.values_mut().filter(|(number, _)| *number >= at) {
            *number += 1;
        }
        member.entry = Entry::Set(set.into());
        self.by_entry.insert(member.entry, (at, member));
        self.next += 1;
    }
}

/// Refuses values for which the set was not created.
fn check_extensions(options: &SetOptions, member: &Member<AnyType>) -> Result<(), Denial> {
    for (carried, enabled, errno) in [
        (member.timeout.is_some(), options.timeout.is_some(), error::TIMEOUT),
        (member.counters != Counters::default(), options.counters, error::COUNTER),
        (member.comment.is_some(), options.comment, error::COMMENT),
        (member.skb != Default::default(), options.skbinfo, error::SKBINFO),
    ] {
        if carried && !enabled {
            return Err(errno.into());
        }
    }
    Ok(())
}

/// Returns a member with the values that the set stores. `before` are the counters of the replaced member.
fn as_stored(member: Member<AnyType>, before: Counters, options: &SetOptions) -> Member<AnyType> {
    let given = member.counters;
    let counters = Counters {
        packets: options.counters.then(|| given.packets.or(before.packets).unwrap_or(0)),
        bytes: options.counters.then(|| given.bytes.or(before.bytes).unwrap_or(0)),
    };
    let timeout = options.timeout.map(|default| member.timeout.unwrap_or(default));
    // The kernel lists no empty comment and no zero, apart from a mark of zero under a mask.
    let comment = member.comment.filter(|comment| !comment.as_bytes().is_empty());
    let SkbInfo { mark, priority, queue } = member.skb;
    let skb = SkbInfo {
        mark: mark.filter(|mark| *mark != (0, 0)),
        priority: priority.filter(|priority| *priority != (0, 0)),
        queue: queue.filter(|queue| *queue != 0),
    };
    Member { timeout, counters, comment, skb, ..member }
}

fn mac(entry: &Entry) -> Option<Mac> {
    match *entry {
        Entry::IpMac(_, mac) => mac,
        _ => None,
    }
}
