//! A small model of the kernel's sets: see [`testing`](crate::testing).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use nix::libc::{EEXIST, ENOENT};

use super::Denial;
use crate::error::DecodeError;
use crate::ipset::entry::EntryAttr;
use crate::ipset::new_set::SetAttr;
use crate::ipset::numbers::{Command, PROTOCOL, SUBSYSTEM, command, error, list_flag};
use crate::ipset::request::{STRICT, write_start};
use crate::ipset::set::{Parts, family_number};
use crate::ipset::{
    Addresses, AnyType, Counters, Entry, Kind, Member, Method, Network, NewSet, Ports, ProtocolPorts, Query, Set,
    SetInfo, SetName, SetOptions,
};
use crate::wire::reader::required;
use crate::wire::{Attrs, Writer, nfnetlink};

/// Maximal number of entries that one may stand for.
const MOST: u32 = 1 << 16;
/// The longest message of a list.
const PART: usize = 1024;

/// The sets, in the order in which they were created.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sets: Vec<(SetInfo, Members)>,
}

/// The members of a set, each with a number that grows from one that was added to the next.
#[derive(Debug, Default)]
struct Members {
    by_entry: HashMap<Entry, (u64, Member<AnyType>)>,
    next: u64,
}

impl Members {
    /// Adds one, or takes the place of the one with the same entry.
    fn put(&mut self, member: Member<AnyType>) {
        let number = self.by_entry.get(&member.entry).map_or(self.next, |(number, _)| *number);
        self.by_entry.insert(member.entry, (number, member));
        self.next += 1;
    }

    fn get(&self, entry: &Entry) -> Option<&Member<AnyType>> {
        self.by_entry.get(entry).map(|(_, member)| member)
    }

    fn in_order(&self) -> Vec<&Member<AnyType>> {
        let mut all: Vec<_> = self.by_entry.values().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, member)| member).collect()
    }
}

impl Model {
    fn rename(&mut self, from: SetName, to: SetName) -> Result<(), Denial> {
        self.find(from)?;
        if self.find(to).is_ok() {
            return Err(error::EXIST_SETNAME2.into());
        }
        let (info, _) = self.find(from)?;
        info.set = Set::new(to, info.set.kind(), info.set.family());
        Ok(())
    }

    /// The bodies of the answers to a request of this type with these flags and this body, or how it is refused.
    pub(crate) fn answer(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Denial> {
        let [SUBSYSTEM, command] = kind.to_be_bytes() else {
            return Err(Denial::not_modelled("this part of netfilter"));
        };
        let attributes = nfnetlink::attributes(body)?;
        let parts = Parts::read(attributes)?;
        if parts.protocol != Some(PROTOCOL) {
            return Err(error::PROTOCOL.into());
        }
        let strict = flags & STRICT != 0;
        let mut answer = Vec::new();
        match command {
            command::PROTOCOL => answer.push(message(|out| out.u8(Command::LowestRevision, PROTOCOL - 1))),
            command::TYPE => {
                let kind = modelled(&parts)?;
                answer.push(message(|out| {
                    out.text(Command::TypeName, kind.name());
                    out.u8(Command::Family, parts.family.unwrap_or_default());
                    out.u8(Command::Revision, kind.revision());
                    out.u8(Command::LowestRevision, 0);
                }));
            }
            command::CREATE => self.create(&parts, strict)?,
            command::DESTROY => match parts.name {
                None => self.sets.clear(),
                Some(name) => match self.place(name) {
                    Ok(place) => drop(self.sets.remove(place)),
                    Err(denial) if strict => return Err(denial),
                    Err(_) => {}
                },
            },
            command::FLUSH => match parts.name {
                None => self.sets.iter_mut().for_each(|(_, members)| members.by_entry.clear()),
                Some(name) => self.find(name)?.1.by_entry.clear(),
            },
            command::RENAME => self.rename(name_of(&parts)?, second_name(&parts)?)?,
            command::SWAP => self.swap(name_of(&parts)?, second_name(&parts)?)?,
            command::ADD | command::DEL | command::TEST => self.members(command, strict, &parts, attributes)?,
            command::HEADER => {
                let (info, _) = self.find(name_of(&parts)?)?;
                answer.push(message(|out| write_header(out, info)));
            }
            command::GET_BYNAME => {
                let (info, _) = self.find(name_of(&parts)?)?;
                answer.push(message(|out| write_index(out, info)));
            }
            command::GET_BYINDEX => {
                let found = self.sets.iter().find(|(info, _)| info.index == parts.index);
                let (info, _) = found.ok_or(Denial::from(ENOENT))?;
                answer.push(message(|out| {
                    out.text(Command::SetName, info.set.name().as_bytes());
                    write_index(out, info);
                }));
            }
            command::LIST => answer = self.list(parts.name, attributes)?,
            _ => return Err(Denial::not_modelled("this command")),
        }
        Ok(answer)
    }

    /// The set of this name.
    pub(crate) fn set(&self, name: SetName) -> Option<Set<AnyType>> {
        self.sets.iter().map(|(info, _)| info.set).find(|set| set.name() == name)
    }

    fn place(&self, name: SetName) -> Result<usize, Denial> {
        self.sets.iter().position(|(info, _)| info.set.name() == name).ok_or(ENOENT.into())
    }

    fn find(&mut self, name: SetName) -> Result<&mut (SetInfo, Members), Denial> {
        self.sets.iter_mut().find(|(info, _)| info.set.name() == name).ok_or(ENOENT.into())
    }

    fn create(&mut self, parts: &Parts<'_>, strict: bool) -> Result<(), Denial> {
        let kind = modelled(parts)?;
        let mut new = parts.info()?;
        let options = &mut new.options;
        if options.netmask.is_some() || options.bitmask.is_some() {
            return Err(Denial::not_modelled("sets with masks of addresses"));
        }
        options.hashsize = Some(options.hashsize.unwrap_or(1024).max(64).next_power_of_two());
        options.maxelem = options.maxelem.or(Some(65536));
        // In requests it is in network order, unlike in what is read elsewhere.
        options.markmask = (kind == Kind::HashIpMark).then(|| options.markmask.map_or(u32::MAX, u32::from_be));
        if new.revision == kind.revision() {
            options.bucketsize = options.bucketsize.or(Some(12));
            options.initval = options.initval.or(Some(0));
        }
        // What the kernel compares.
        let compared = |info: &SetInfo| {
            let options = SetOptions {
                family: None,
                hashsize: None,
                bucketsize: None,
                initval: None,
                forceadd: false,
                ..info.options
            };
            (info.set.kind(), options)
        };
        if let Ok((there, _)) = self.find(new.set.name()) {
            return if strict || compared(there) != compared(&new) { Err(EEXIST.into()) } else { Ok(()) };
        }
        new.index = (0..=u16::MAX).find(|index| self.sets.iter().all(|(info, _)| info.index != Some(*index)));
        self.sets.push((new, Members::default()));
        Ok(())
    }

    /// Names and numbers stay where they are, contents change places.
    fn swap(&mut self, one: SetName, other: SetName) -> Result<(), Denial> {
        let one = self.place(one)?;
        let other = self.place(other).map_err(|_| Denial::from(error::EXIST_SETNAME2))?;
        let parts_of =
            |place: usize| self.sets.get(place).map(|(info, _)| (stands_for(info.set.kind()), info.set.family()));
        if parts_of(one) != parts_of(other) {
            return Err(error::TYPE_MISMATCH.into());
        }
        let stay = [one, other].map(|place| self.sets.get(place).map(|(info, _)| (info.set.name(), info.index)));
        self.sets.swap(one, other);
        for (place, stay) in [one, other].into_iter().zip(stay) {
            if let (Some((info, _)), Some((name, index))) = (self.sets.get_mut(place), stay) {
                info.set = Set::new(name, info.set.kind(), info.set.family());
                info.index = index;
            }
        }
        Ok(())
    }

    /// Adds, deletes or tests the members of a request, up to the first that fails.
    fn members(&mut self, command: u8, strict: bool, parts: &Parts<'_>, attributes: &[u8]) -> Result<(), Denial> {
        let name = name_of(parts)?;
        let (info, members) = self.find(name)?;
        let asked = members_of(info.set.kind(), attributes)?;
        for (member, line) in asked.iter().zip(1..) {
            each(command, strict, info, members, member).map_err(|denial| Denial {
                // Of several entries, the kernel repeats the request and says in it which one was wrong.
                repeated: parts.entries.is_some().then(|| {
                    message(|out| {
                        out.text(Command::SetName, name.as_bytes());
                        out.u32_ne(Command::Line, line);
                        out.marked_nest(Command::Entries, |out| {
                            for (member, line) in asked.iter().zip(1..) {
                                out.marked_nest(Command::Data, |out| member.write(out, Some(line)));
                            }
                        });
                    })
                }),
                ..denial
            })?;
        }
        Ok(())
    }

    fn list(&mut self, name: Option<SetName>, attributes: &[u8]) -> Result<Vec<Vec<u8>>, Denial> {
        if let Some(name) = name {
            self.find(name)?;
        }
        let listing = listing(name, attributes)?;
        let mut messages = Vec::new();
        for (info, members) in self.sets.iter().filter(|(info, _)| name.is_none_or(|name| name == info.set.name())) {
            if listing == Query::Names {
                messages.push(message(|out| out.text(Command::SetName, info.set.name().as_bytes())));
                continue;
            }
            let listed = if matches!(listing, Query::Headers(_)) { Vec::new() } else { members.in_order() };
            let mut rest = listed.iter();
            messages.push(message(|out| {
                write_header(out, info);
                out.marked_nest(Command::Data, |out| {
                    let markmask = info.options.markmask.map(u32::to_be);
                    NewSet::<AnyType>::new(info.set.kind(), SetOptions { markmask, ..info.options }).write(out);
                    out.u32_net(SetAttr::References, 0);
                    out.u32_net(SetAttr::MemSize, 0);
                    out.u32_net(SetAttr::Elements, u32::try_from(members.by_entry.len()).unwrap_or(u32::MAX));
                });
                write_members(out, &mut rest);
            }));
            while !rest.as_slice().is_empty() {
                messages.push(message(|out| {
                    out.text(Command::SetName, info.set.name().as_bytes());
                    write_members(out, &mut rest);
                }));
            }
        }
        Ok(messages)
    }
}

/// The members in a request about a set of this type.
pub(crate) fn members_of(kind: Kind, attributes: &[u8]) -> Result<Vec<Member<AnyType>>, DecodeError> {
    let mut members = Vec::new();
    for attr in Attrs::<Command>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            Command::Data => members.push(Member::read(kind, attr.nested())?),
            Command::Entries => {
                for entry in attr.nested::<Command>() {
                    members.push(Member::read(kind, entry?.nested::<EntryAttr>())?);
                }
            }
            _ => {}
        }
    }
    Ok(members)
}

/// The query of a list.
pub(crate) fn listing(name: Option<SetName>, attributes: &[u8]) -> Result<Query, DecodeError> {
    let mut flags = 0;
    for attr in Attrs::<Command>::new(attributes) {
        let attr = attr?;
        if attr.kind == Command::Flags {
            flags = attr.u32_be()?;
        }
    }
    Ok(match flags {
        list_flag::LIST_SETNAME => Query::Names,
        list_flag::LIST_HEADER => Query::Headers(name),
        _ => Query::List(name),
    })
}

/// The body of a message.
fn message(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    write_start(&mut out);
    fill(&mut out);
    body
}

fn write_header(out: &mut Writer<'_>, info: &SetInfo) {
    out.text(Command::SetName, info.set.name().as_bytes());
    out.text(Command::TypeName, info.set.kind().name());
    out.u8(Command::Family, family_number(info.set.family()));
    out.u8(Command::Revision, info.revision);
    write_index(out, info);
}

fn write_index(out: &mut Writer<'_>, info: &SetInfo) {
    if let Some(index) = info.index {
        out.u16_net(Command::Index, index);
    }
}

/// As many as make a message full.
fn write_members(out: &mut Writer<'_>, members: &mut std::slice::Iter<'_, &Member<AnyType>>) {
    out.marked_nest(Command::Entries, |out| {
        let start = out.length();
        while out.length() - start < PART {
            let Some(member) = members.next() else { break };
            out.marked_nest(Command::Data, |out| member.write(out, None));
        }
    });
}

fn name_of(parts: &Parts<'_>) -> Result<SetName, Denial> {
    Ok(required(parts.name, Command::SetName)?)
}

/// It has the number of the type's name.
fn second_name(parts: &Parts<'_>) -> Result<SetName, Denial> {
    parts.kind.and_then(|name| SetName::any(name).ok()).ok_or(error::PROTOCOL.into())
}

fn modelled(parts: &Parts<'_>) -> Result<Kind, Denial> {
    match parts.kind.and_then(|name| name.parse::<Kind>().ok()) {
        Some(kind) if kind.method() == Method::Hash => Ok(kind),
        Some(_) => Err(Denial { errno: error::FIND_TYPE, ..Denial::not_modelled("types other than hash") }),
        None => Err(error::FIND_TYPE.into()),
    }
}

/// Types of which one set can take the place of another are of one such type.
fn stands_for(kind: Kind) -> Kind {
    if kind == Kind::HashNetPortNet { Kind::HashIpPortNet } else { kind }
}

/// Adds or deletes all that a member stands for, up to the first that fails, or tests the first.
fn each(
    command: u8,
    strict: bool,
    info: &SetInfo,
    members: &mut Members,
    member: &Member<AnyType>,
) -> Result<(), Denial> {
    let entry = match (member.entry, info.options.markmask) {
        (Entry::IpMark(ip, mark), Some(mask)) => Entry::IpMark(ip, mark & mask),
        (entry, _) => entry,
    };
    let entries = entries(info.set.kind(), &entry)?;
    let count = if command == command::TEST { 1 } else { entries.len() };
    for entry in entries.into_iter().take(count) {
        one(command, strict, &info.options, members, Member { entry, ..member.clone() })?;
    }
    Ok(())
}

/// Adds, deletes or tests a member.
fn one(
    command: u8,
    strict: bool,
    options: &SetOptions,
    members: &mut Members,
    member: Member<AnyType>,
) -> Result<(), Denial> {
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
    let there = members.get(&member.entry);
    match (command, there) {
        (command::ADD, Some(_)) if strict => return Err(error::EXIST.into()),
        (command::ADD, Some(there)) => {
            let counters = there.counters;
            members.put(as_held(member, counters, options));
        }
        (command::ADD, None) => {
            if options.maxelem.is_none_or(|most| members.by_entry.len() >= usize::try_from(most).unwrap_or(usize::MAX))
            {
                let dropped = members.in_order().first().map(|member| member.entry).filter(|_| options.forceadd);
                members.by_entry.remove(&dropped.ok_or(Denial::from(error::OF_METHOD))?);
            }
            members.put(as_held(member, Counters::default(), options));
        }
        (command::DEL, None) if strict => return Err(error::EXIST.into()),
        (command::DEL, _) => drop(members.by_entry.remove(&member.entry)),
        (_, exact) => {
            let found = match exact {
                // Only an address is looked for in networks.
                None if networks(&member.entry).iter().flatten().all(|of| matches!(of, Addresses::One(_))) => {
                    let all = members.by_entry.values().map(|(_, there)| there);
                    let around = all.filter(|there| covers(&there.entry, &member.entry));
                    around.max_by_key(|there| networks(&there.entry).map(|of| of.map(prefix)))
                }
                exact => exact,
            };
            // Who asks for exceptions hears of nothing else.
            if found.is_none_or(|found| found.nomatch != member.nomatch) {
                return Err(error::EXIST.into());
            }
        }
    }
    Ok(())
}

/// A member with what the set makes of what it carries, `before` being the counters of the one in its place.
fn as_held(member: Member<AnyType>, before: Counters, options: &SetOptions) -> Member<AnyType> {
    let given = member.counters;
    let counters = Counters {
        packets: options.counters.then(|| given.packets.or(before.packets).unwrap_or(0)),
        bytes: options.counters.then(|| given.bytes.or(before.bytes).unwrap_or(0)),
    };
    let timeout: Option<Duration> = options.timeout.map(|default| member.timeout.unwrap_or(default));
    Member { timeout, counters, ..member }
}

/// The addresses of an entry.
fn networks(entry: &Entry) -> [Option<Addresses>; 2] {
    match *entry {
        Entry::Ip(ip) | Entry::IpMark(ip, _) | Entry::IpPort(ip, _) | Entry::IpInterface(ip, _) => [Some(ip), None],
        Entry::IpMac(ip, _) => [Some(ip.into()), None],
        Entry::IpPortIp(ip, _, other) | Entry::IpIp(ip, other) => [Some(ip), Some(other)],
        Entry::Port(_) | Entry::Mac(_) | Entry::Set(_) => [None, None],
    }
}

/// The entries that one stands for, in the kernel's order.
fn entries(kind: Kind, entry: &Entry) -> Result<Vec<Entry>, Denial> {
    let too_many = || Denial::not_modelled("so many entries at once");
    let [first, second] = networks(entry);
    for (addresses, network) in [(first, kind.starts_with_network()), (second, kind.has_networks())] {
        match addresses {
            Some(Addresses::Range(..)) if network => return Err(Denial::not_modelled("ranges of networks")),
            Some(Addresses::Network(all)) if all.prefix() == 0 && refuses_all(kind) => {
                return Err(error::INVALID_CIDR.into());
            }
            _ => {}
        }
    }
    let firsts = match first {
        Some(many @ (Addresses::Network(_) | Addresses::Range(..))) if !kind.starts_with_network() => {
            let (from, to) = ends(many).filter(|(from, to)| to - from < MOST).ok_or_else(too_many)?;
            (from..=to).map(|host| Some(Ipv4Addr::from_bits(host).into())).collect()
        }
        first => vec![first],
    };
    let ports = match entry {
        Entry::IpPort(_, ports) | Entry::IpPortIp(_, ports, _) => ports.ports,
        _ => Ports { first: 0, last: 0 },
    };
    let mut entries = Vec::new();
    for first in firsts {
        for port in ports.first.min(ports.last)..=ports.first.max(ports.last) {
            let one = |of: ProtocolPorts| ProtocolPorts { ports: Ports { first: port, last: port }, ..of };
            entries.push(match (*entry, first) {
                (Entry::Ip(_), Some(ip)) => Entry::Ip(ip),
                (Entry::IpMark(_, mark), Some(ip)) => Entry::IpMark(ip, mark),
                (Entry::IpPort(_, ports), Some(ip)) => Entry::IpPort(ip, one(ports)),
                (Entry::IpPortIp(_, ports, other), Some(ip)) => Entry::IpPortIp(ip, one(ports), other),
                (entry, _) => entry,
            });
        }
        if entries.len() > usize::try_from(MOST).unwrap_or(usize::MAX) {
            return Err(too_many());
        }
    }
    Ok(entries)
}

/// The first and the last of many IPv4 addresses.
fn ends(addresses: Addresses) -> Option<(u32, u32)> {
    match addresses {
        Addresses::Range(one, other) => Some((one.min(other).to_bits(), one.max(other).to_bits())),
        Addresses::Network(network) => match network.address() {
            IpAddr::V4(first) => {
                let others = u32::MAX.checked_shr(network.prefix().into()).unwrap_or(0);
                Some((first.to_bits(), first.to_bits() | others))
            }
            IpAddr::V6(_) => None,
        },
        Addresses::One(_) => None,
    }
}

/// Whether a network of all addresses is none for this type.
fn refuses_all(kind: Kind) -> bool {
    matches!(kind, Kind::HashNet | Kind::HashNetPort | Kind::HashIpPortNet)
}

fn prefix(addresses: Addresses) -> u8 {
    match addresses {
        Addresses::Network(network) => network.prefix(),
        Addresses::One(_) | Addresses::Range(..) => u8::MAX,
    }
}

/// Whether a member has this entry of single addresses in it.
fn covers(member: &Entry, entry: &Entry) -> bool {
    let inside = networks(member).into_iter().zip(networks(entry)).all(|(around, one)| match (around, one) {
        (Some(Addresses::Network(network)), Some(one)) => Network::new(one.first(), network.prefix()) == Some(network),
        (around, one) => around == one,
    });
    let rest = match (member, entry) {
        (Entry::Ip(_), Entry::Ip(_)) | (Entry::IpIp(..), Entry::IpIp(..)) => true,
        (Entry::IpPort(_, a), Entry::IpPort(_, b)) | (Entry::IpPortIp(_, a, _), Entry::IpPortIp(_, b, _)) => a == b,
        (Entry::IpInterface(_, a), Entry::IpInterface(_, b)) => a == b,
        (member, entry) => member == entry,
    };
    inside && rest
}
