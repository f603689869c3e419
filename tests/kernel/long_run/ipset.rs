//! The sets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use lvs::Reason;
use lvs::ipset::{
    Addresses, AnyType, BitmapPort, Change, Comment, Counters, Entry, HashIp, HashNet, HashNetPort, Ipset, Kind,
    ListMember, ListSet, Listed, Member, NewSet, Ports, ProtocolPorts, Set, SetName,
};

use super::{Outcome, Tally};
use crate::lab::Lab;
use crate::random::Random;

pub(super) struct Run {
    ipset: Ipset,
    model: Model,
    /// Sets that are or were there, whose entries are the right ones for them.
    handles: BTreeMap<(SetName, Kind), Set<AnyType>>,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
struct Model(BTreeMap<SetName, Content>);

#[derive(Debug)]
struct Content {
    new: NewSet<AnyType>,
    /// By their entries as text.
    members: BTreeMap<String, Member<AnyType>>,
}

impl Model {
    /// In how many lists the set is.
    fn references(&self, name: SetName) -> usize {
        self.0
            .values()
            .filter(|set| set.kind() == Kind::ListSet && set.members.contains_key(&*name.to_string()))
            .count()
    }

    fn apply(&mut self, change: &Change) -> Outcome {
        let refused = Outcome::Refused;
        let there = |name: &SetName| self.0.contains_key(name);
        match change {
            Change::Create(name, new) | Change::PutSet(name, new) => match self.0.get(name) {
                Some(other) if matches!(change, Change::PutSet(..)) && other.new == *new => Outcome::Done,
                Some(_) => refused(Reason::AlreadyExists),
                None => {
                    self.0.insert(*name, Content { new: *new, members: BTreeMap::new() });
                    Outcome::Done
                }
            },
            Change::RemoveSet(name) if !there(name) => Outcome::Done,
            Change::Destroy(name) | Change::Clear(name) if !there(name) => refused(Reason::SetNotFound),
            Change::Rename(one, _) if !there(one) => refused(Reason::SetNotFound),
            Change::Swap(one, other) if !there(one) || !there(other) => refused(Reason::SetNotFound),
            Change::Destroy(name) | Change::RemoveSet(name) | Change::Rename(name, _) if self.references(*name) > 0 => {
                refused(Reason::Busy)
            }
            Change::DestroyAll if self.0.keys().any(|name| self.references(*name) > 0) => refused(Reason::Busy),
            Change::Rename(_, to) if there(to) => refused(Reason::AlreadyExists),
            Change::Swap(one, other) if self.0[one].kind() != self.0[other].kind() => refused(Reason::TypeMismatch),
            Change::Destroy(name) | Change::RemoveSet(name) => {
                self.0.remove(name);
                Outcome::Done
            }
            Change::DestroyAll => {
                self.0.clear();
                Outcome::Done
            }
            Change::Clear(name) => {
                self.0.get_mut(name).unwrap().members.clear();
                Outcome::Done
            }
            Change::ClearAll => {
                self.0.values_mut().for_each(|set| set.members.clear());
                Outcome::Done
            }
            Change::Rename(from, to) => {
                let set = self.0.remove(from).unwrap();
                self.0.insert(*to, set);
                Outcome::Done
            }
            Change::Swap(one, other) => {
                let (first, second) = (self.0.remove(one).unwrap(), self.0.remove(other).unwrap());
                self.0.insert(*one, second);
                self.0.insert(*other, first);
                Outcome::Done
            }
            Change::Add(set, member)
            | Change::Put(set, member)
            | Change::Delete(set, member)
            | Change::Remove(set, member)
                if is_wrong(set.kind(), member) =>
            {
                Outcome::Invalid
            }
            Change::Add(set, _) | Change::Put(set, _) | Change::Delete(set, _) | Change::Remove(set, _)
                if !there(&set.name()) =>
            {
                refused(Reason::SetNotFound)
            }
            Change::Add(_, Member { entry: Entry::Set(listed), .. })
            | Change::Put(_, Member { entry: Entry::Set(listed), .. })
            | Change::Delete(_, Member { entry: Entry::Set(listed), .. })
            | Change::Remove(_, Member { entry: Entry::Set(listed), .. })
                if self.0.get(&listed.set).is_none_or(|set| set.kind() == Kind::ListSet) =>
            {
                // Nor can a list be in a list.
                refused(if there(&listed.set) { Reason::Invalid } else { Reason::SetNotFound })
            }
            Change::Add(set, member) | Change::Put(set, member) => {
                let set = self.0.get_mut(&set.name()).unwrap();
                let entry = member.entry.to_string();
                if set.members.contains_key(&entry) && matches!(change, Change::Add(..)) {
                    return refused(Reason::AlreadyExists);
                }
                set.members.insert(entry, member.clone());
                Outcome::Done
            }
            Change::Delete(set, member) | Change::Remove(set, member) => {
                let set = self.0.get_mut(&set.name()).unwrap();
                match set.members.remove(&member.entry.to_string()) {
                    None if matches!(change, Change::Delete(..)) => refused(Reason::EntryNotFound),
                    _ => Outcome::Done,
                }
            }
            _ => unreachable!(),
        }
    }

    /// As `ipset save` writes them, but for the order and the options of sets.
    fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (name, set) in &self.0 {
            lines.insert(format!("create {name} {}", set.kind()));
            for member in set.members.values() {
                let mut line = format!("add {name} {}", member.entry);
                if member.nomatch {
                    line += " nomatch";
                }
                if let Counters { packets: Some(packets), bytes: Some(bytes) } = member.counters {
                    line += &format!(" packets {packets} bytes {bytes}");
                }
                if let Some(comment) = &member.comment {
                    line += &format!(" comment \"{comment}\"");
                }
                lines.insert(line);
            }
        }
        lines
    }
}

impl Content {
    fn kind(&self) -> Kind {
        kind_of(&self.new)
    }
}

// Random operations.

const KINDS: [Kind; 5] = [Kind::HashIp, Kind::HashNet, Kind::HashNetPort, Kind::BitmapPort, Kind::ListSet];

fn kind_of(new: &NewSet<AnyType>) -> Kind {
    KINDS.into_iter().find(|kind| new_set(*kind, new.options().counters, new.options().comment) == *new).unwrap()
}

fn new_set(kind: Kind, counters: bool, comment: bool) -> NewSet<AnyType> {
    let mut new = match kind {
        Kind::HashIp => NewSet::<HashIp>::ipv4().any(),
        Kind::HashNet => NewSet::<HashNet>::ipv4().any(),
        Kind::HashNetPort => NewSet::<HashNetPort>::ipv6().any(),
        Kind::BitmapPort => NewSet::<BitmapPort>::range(1..=1000).any(),
        _ => NewSet::<ListSet>::new().any(),
    };
    if counters {
        new = new.counters();
    }
    if comment {
        new = new.comment();
    }
    new
}

fn name(random: &mut Random) -> SetName {
    random.one(&["a", "b", "c", "d", "e", "f", "live"]).parse().unwrap()
}

/// One of two forms of a change: an error where the object exists or is absent already, or not.
fn form<T>(random: &mut Random, strict: T, fine: T) -> T {
    if random.percent(50) { strict } else { fine }
}

/// Whether the crate refuses a random entry before it sends anything.
fn is_wrong(kind: Kind, member: &Member<AnyType>) -> bool {
    matches!((kind, member.entry), (Kind::HashIp | Kind::HashNet, Entry::Ip(ip)) if ip.first().is_ipv6())
}

fn member(random: &mut Random, set: &Set<AnyType>, new: Option<NewSet<AnyType>>) -> Member<AnyType> {
    let [high, low] = [1 + random.below(6), 1 + random.below(40)];
    let four = |text: &str| text.parse::<Addresses>().unwrap();
    let entry = match set.kind() {
        Kind::HashIp | Kind::HashNet if random.percent(2) => Entry::Ip(four("2001:db8::1")),
        Kind::HashIp => Entry::Ip(four(&format!("10.0.{high}.{low}"))),
        Kind::HashNet => {
            let networks = [format!("10.{low}.0.0/16"), format!("10.{high}.{low}.0/24"), format!("10.9.{high}.{low}")];
            Entry::Ip(four(random.one::<String>(&networks)))
        }
        Kind::HashNetPort => {
            let port = 1 + u16::try_from(high).unwrap();
            let ports = [ProtocolPorts::tcp(port), ProtocolPorts::udp(port), ProtocolPorts::sctp(port)];
            Entry::IpPort(four(&format!("2001:db8:{low}::/48")), *random.one(&ports))
        }
        Kind::BitmapPort => Entry::Port(Ports::from(u16::try_from(high * 100 + low).unwrap())),
        _ => Entry::Set(ListMember::new(name(random))),
    };
    let mut member = Member::new(entry);
    member.nomatch = matches!(set.kind(), Kind::HashNet | Kind::HashNetPort) && random.percent(20);
    if new.is_some_and(|new| new.options().counters) {
        let count = |random: &mut Random| Some(random.below(usize::MAX) as u64);
        member.counters = Counters { packets: count(random), bytes: count(random) };
    }
    if new.is_some_and(|new| new.options().comment) && random.percent(50) {
        member.comment = Some(Comment::new(random.one::<&str>(&["x", "what it is", "Größe"])).unwrap());
    }
    member
}

impl Run {
    pub(super) fn start(lab: &Lab) -> Self {
        let ipset = lab.ipset();
        Self { ipset, model: Model::default(), handles: BTreeMap::new(), tally: Tally::default() }
    }

    pub(super) fn step(&mut self, random: &mut Random) {
        match random.below(1000) {
            0..=599 => {
                let change = self.change(random);
                let outcome = self.make(&change);
                self.judge(&change, outcome);
            }
            600..=699 => self.batch(random),
            700..=749 => self.replace(random),
            750..=849 => self.test(random),
            850..=929 => self.read_members(random),
            930..=949 => self.read_names(),
            950..=969 => self.read_info(random),
            970..=992 => self.read_all(),
            993..=994 => self.many(random),
            995 => {
                let outcome = Outcome::of(self.ipset.destroy_all());
                self.judge(&Change::DestroyAll, outcome);
            }
            _ => {
                let outcome = Outcome::of(self.ipset.clear_all());
                self.judge(&Change::ClearAll, outcome);
            }
        }
    }

    /// A set whose type is right if it is there, and how it was made in that case.
    fn set(&mut self, random: &mut Random) -> Option<(Set<AnyType>, Option<NewSet<AnyType>>)> {
        let name = name(random);
        match self.model.0.get(&name) {
            Some(content) => Some((self.handles[&(name, content.kind())], Some(content.new))),
            None => Some((*self.handles.iter().find(|((known, _), _)| *known == name)?.1, None)),
        }
    }

    fn change(&mut self, random: &mut Random) -> Change {
        match random.below(100) {
            0..=9 => {
                let name = name(random);
                let new = new_set(*random.one(&KINDS), random.percent(50), random.percent(50));
                form(random, Change::Create(name, new), Change::PutSet(name, new))
            }
            10..=14 => {
                let name = name(random);
                form(random, Change::Destroy(name), Change::RemoveSet(name))
            }
            15..=16 => Change::Clear(name(random)),
            17..=21 => Change::Rename(name(random), name(random)),
            22..=26 => match (name(random), name(random)) {
                (one, other) if one == other => Change::Clear(one),
                (one, other) => Change::Swap(one, other),
            },
            place => match self.set(random) {
                Some((set, new)) => {
                    let member = member(random, &set, new);
                    let (strict, fine): (fn(_, _) -> _, fn(_, _) -> _) = match place < 80 {
                        true => (Change::Add, Change::Put),
                        false => (Change::Delete, Change::Remove),
                    };
                    form(random, strict, fine)(set, member)
                }
                None => Change::PutSet(name(random), new_set(*random.one(&KINDS), false, true)),
            },
        }
    }

    fn make(&mut self, change: &Change) -> Outcome {
        let ipset = &mut self.ipset;
        Outcome::of(match change {
            Change::Create(name, new) => ipset.create(*name, new).map(drop),
            Change::PutSet(name, new) => ipset.put_set(*name, new).map(drop),
            Change::Destroy(name) => ipset.destroy(*name),
            Change::RemoveSet(name) => ipset.remove_set(*name).map(drop),
            Change::Clear(name) => ipset.clear(*name),
            Change::Rename(from, to) => ipset.rename(*from, *to),
            Change::Swap(one, other) => ipset.swap(*one, *other),
            Change::Add(set, member) => ipset.add(set, member),
            Change::Put(set, member) => ipset.put(set, member).map(drop),
            Change::Delete(set, member) => ipset.delete(set, member),
            Change::Remove(set, member) => ipset.remove(set, member).map(drop),
            _ => unreachable!(),
        })
    }

    fn judge(&mut self, change: &Change, outcome: Outcome) {
        assert_eq!(outcome, self.model.apply(change), "{change:?}");
        self.tally.count(outcome);
        // Every set that exists has a handle.
        for (name, content) in &self.model.0 {
            let kind = content.kind();
            let ipset = &mut self.ipset;
            self.handles.entry((*name, kind)).or_insert_with(|| ipset.header(*name).unwrap());
        }
    }

    fn batch(&mut self, random: &mut Random) {
        // Entries of one set: otherwise one would be of a set that changes its type on the way.
        let Some((set, new)) = self.set(random) else { return };
        let (fine, adding) = (random.percent(50), random.percent(70));
        let changes: Vec<_> = (0..random.below(60))
            .map(|_| {
                let member = member(random, &set, new);
                match (adding, fine) {
                    (true, false) => Change::Add(set, member),
                    (true, true) => Change::Put(set, member),
                    (false, false) => Change::Delete(set, member),
                    (false, true) => Change::Remove(set, member),
                }
            })
            .collect();
        let done = match random.below(2) {
            0 => self.ipset.batch(changes.iter().cloned()),
            _ => {
                let members = changes.iter().map(|change| match change {
                    Change::Add(_, member)
                    | Change::Put(_, member)
                    | Change::Delete(_, member)
                    | Change::Remove(_, member) => member.clone(),
                    _ => unreachable!(),
                });
                match (adding, fine) {
                    (true, false) => self.ipset.add_all(&set, members),
                    (true, true) => self.ipset.put_all(&set, members),
                    (false, false) => self.ipset.delete_all(&set, members),
                    (false, true) => self.ipset.remove_all(&set, members),
                }
            }
        };
        let failed = done.err();
        for (index, change) in changes.iter().enumerate() {
            match &failed {
                // The kernel names no entry of a message for a set that does not exist.
                Some(error) if error.done == index => {
                    let failure = error.failures.first().map(|failure| &failure.error);
                    self.judge(change, Outcome::of_error(failure.or(error.interruption.as_ref()).unwrap()));
                    return;
                }
                _ => self.judge(change, Outcome::Done),
            }
        }
        assert!(failed.is_none(), "{failed:?}");
    }

    fn replace(&mut self, random: &mut Random) {
        let (name, kind) = (name(random), *random.one(&KINDS));
        let Some(set) = self.handles.iter().find(|((_, known), _)| *known == kind).map(|(_, set)| *set) else { return };
        let new = new_set(kind, random.percent(50), random.percent(50));
        let mut members: Vec<_> = (0..random.below(60)).map(|_| member(random, &set, Some(new))).collect();
        members.retain(|member| match member.entry {
            Entry::Set(listed) => self.model.0.get(&listed.set).is_some_and(|set| set.kind() != Kind::ListSet),
            _ => !is_wrong(kind, member),
        });
        let outcome = Outcome::of(self.ipset.replace(name, &new, members.iter().cloned()));
        match self.model.0.get(&name) {
            Some(content) if content.kind() != kind => {
                assert_eq!(outcome, Outcome::Refused(Reason::TypeMismatch));
            }
            _ => {
                assert_eq!(outcome, Outcome::Done);
                let members = members.into_iter().map(|member| (member.entry.to_string(), member)).collect();
                self.model.0.insert(name, Content { new, members });
                self.judge(&Change::PutSet(name, new), Outcome::Done);
            }
        }
    }

    fn test(&mut self, random: &mut Random) {
        let Some((set, new)) = self.set(random) else { return };
        let member = member(random, &set, new);
        // In a set of networks an address is if one of them has it.
        if is_wrong(set.kind(), &member) || set.kind().has_networks() || set.kind() == Kind::ListSet {
            return;
        }
        match self.model.0.get(&set.name()) {
            Some(content) => {
                let there = content.members.contains_key(&member.entry.to_string());
                assert_eq!(self.ipset.test(&set, &member).unwrap(), there, "{member:?}");
            }
            None => assert!(self.ipset.test(&set, &member).unwrap_err().is_not_found()),
        }
    }

    fn read_members(&mut self, random: &mut Random) {
        let Some((set, _)) = self.set(random) else { return };
        let Some(content) = self.model.0.get(&set.name()) else {
            let error = self.ipset.stream_members(&set).unwrap().next().unwrap().unwrap_err();
            assert!(error.is_not_found(), "{error}");
            return;
        };
        let wanted = if random.percent(30) { random.below(10) } else { usize::MAX };
        let mut seen = BTreeSet::new();
        for member in self.ipset.stream_members(&set).unwrap().take(wanted) {
            let member = member.unwrap();
            let entry = member.entry.to_string();
            assert_eq!(content.members[&entry], member);
            assert!(seen.insert(entry), "{member:?} twice");
        }
        assert_eq!(seen.len(), wanted.min(content.members.len()));
    }

    fn read_names(&mut self) {
        let mut names = self.ipset.names().unwrap();
        names.sort_unstable();
        assert!(names.iter().eq(self.model.0.keys()), "{names:?} {:?}", self.model.0.keys());
    }

    fn read_info(&mut self, random: &mut Random) {
        let name = name(random);
        match (self.ipset.set(name), self.model.0.get(&name)) {
            (Ok(info), Some(content)) => {
                assert_eq!(info.set.kind(), content.kind());
                assert_eq!(
                    (info.entries as usize, info.references as usize),
                    (content.members.len(), self.model.references(name))
                );
            }
            (Err(error), None) => assert!(error.is_not_found(), "{error}"),
            (read, there) => panic!("{read:?} {there:?}"),
        }
    }

    fn read_all(&mut self) {
        let mut sets: BTreeMap<SetName, BTreeMap<String, Member<AnyType>>> = BTreeMap::new();
        let mut current = None;
        for listed in self.ipset.stream_contents(None).unwrap() {
            match listed.unwrap() {
                Listed::Set(info) => {
                    current = Some(info.set.name());
                    assert!(sets.insert(info.set.name(), BTreeMap::new()).is_none(), "{info:?} twice");
                }
                Listed::Member(member) => {
                    let set = sets.get_mut(&current.unwrap()).unwrap();
                    assert!(set.insert(member.entry.to_string(), member).is_none());
                }
            }
        }
        assert!(sets.keys().eq(self.model.0.keys()), "{:?} {:?}", sets.keys(), self.model.0.keys());
        for (name, members) in sets {
            let there = &self.model.0[&name].members;
            assert!(members.keys().eq(there.keys()), "{name}: {:?} {:?}", members.keys(), there.keys());
            for (entry, member) in members {
                assert_eq!(member, there[&entry], "{name}");
            }
        }
    }

    /// So many that they come in several datagrams.
    pub(super) fn many(&mut self, random: &mut Random) {
        let name = "many".parse().unwrap();
        let count = 2000 + u32::try_from(random.below(8000)).unwrap();
        let mut members: Vec<_> =
            (0..count).map(|i| Member::<HashIp>::new(Ipv4Addr::from_bits(0x0a00_0001 + i))).collect();
        let set = self.ipset.create(name, &NewSet::<HashIp>::ipv4()).unwrap();
        self.ipset.add_all(&set, members.iter().cloned()).unwrap();
        assert_eq!(
            self.ipset.stream_members(&set).unwrap().map(|member| assert!(member.is_ok())).count(),
            members.len()
        );
        random.shuffle(&mut members);
        self.ipset.delete_all(&set, members).unwrap();
        assert_eq!(self.ipset.set(name).unwrap().entries, 0);
        self.ipset.destroy(name).unwrap();
    }

    pub(super) fn compare_with_ipset(&mut self, lab: &Lab) {
        self.read_all();
        let saved = lab.tool("ipset save");
        let listed: BTreeSet<_> = saved
            .lines()
            .map(|line| match line.starts_with("create ") {
                true => line.split(' ').take(3).collect::<Vec<_>>().join(" "),
                false => line.to_owned(),
            })
            .collect();
        let expected = self.model.lines();
        let differences: Vec<_> = listed.symmetric_difference(&expected).collect();
        assert!(differences.is_empty(), "{differences:#?}");
    }
}
