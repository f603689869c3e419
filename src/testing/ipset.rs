//! A small model of the kernel's sets: see [`testing`](crate::testing).

use nix::libc::{EEXIST, ENOENT};

use super::Denial;
use super::members::Members;
use crate::error::DecodeError;
use crate::ipset::entry::EntryAttr;
use crate::ipset::new_set::SetAttr;
use crate::ipset::numbers::{Command, PROTOCOL, SUBSYSTEM, command, error, list_flag};
use crate::ipset::request::{STRICT, write_start};
use crate::ipset::set::{Parts, family_number};
use crate::ipset::{
    AnyType, BitmapRange, Entry, Kind, Member, Method, NewSet, Query, Set, SetInfo, SetName, SetOptions,
};
use crate::wire::reader::required;
use crate::wire::{Attrs, Writer, nfnetlink};

/// Largest number of elements of a bitmap.
const LARGEST_BITMAP: u32 = 1 << 16;
/// The longest message of a list.
const PART: usize = 1024;

/// The sets, in the order in which they were created.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sets: Vec<(SetInfo, Members)>,
}

impl Model {
    fn rename(&mut self, from: SetName, to: SetName) -> Result<(), Denial> {
        self.find(from)?;
        if self.references(from) > 0 {
            return Err(error::REFERENCED.into());
        }
        if self.find(to).is_ok() {
            return Err(error::EXIST_SETNAME2.into());
        }
        let (info, _) = self.find(from)?;
        info.set = Set::new(to, info.set.kind(), info.set.family());
        Ok(())
    }

    fn destroy(&mut self, name: Option<SetName>, strict: bool) -> Result<(), Denial> {
        let Some(name) = name else {
            if self.sets.iter().any(|(info, _)| self.references(info.set.name()) > 0) {
                return Err(error::BUSY.into());
            }
            self.sets.clear();
            return Ok(());
        };
        match self.place(name) {
            Ok(_) if self.references(name) > 0 => return Err(error::BUSY.into()),
            Ok(place) => drop(self.sets.remove(place)),
            Err(denial) if strict => return Err(denial),
            Err(_) => {}
        }
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
                let kind = kind_of(&parts)?;
                answer.push(message(|out| {
                    out.text(Command::TypeName, kind.name());
                    out.u8(Command::Family, parts.family.unwrap_or_default());
                    out.u8(Command::Revision, kind.revision());
                    out.u8(Command::LowestRevision, 0);
                }));
            }
            command::CREATE => self.create(&parts, strict)?,
            command::DESTROY => self.destroy(parts.name, strict)?,
            command::FLUSH => match parts.name {
                None => self.sets.iter_mut().for_each(|(_, members)| members.clear()),
                Some(name) => self.find(name)?.1.clear(),
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

    /// Number of lists that the set is in.
    fn references(&self, name: SetName) -> u32 {
        self.sets.iter().map(|(_, members)| u32::from(members.contains(&Entry::Set(name.into())))).sum()
    }

    fn place(&self, name: SetName) -> Result<usize, Denial> {
        self.sets.iter().position(|(info, _)| info.set.name() == name).ok_or(ENOENT.into())
    }

    fn find(&mut self, name: SetName) -> Result<&mut (SetInfo, Members), Denial> {
        self.sets.iter_mut().find(|(info, _)| info.set.name() == name).ok_or(ENOENT.into())
    }

    fn create(&mut self, parts: &Parts<'_>, strict: bool) -> Result<(), Denial> {
        let kind = kind_of(parts)?;
        let mut new = parts.info()?;
        complete(kind, new.revision, &mut new.options)?;
        // The values that the kernel compares.
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
        self.sets.push((new, Members::new(kind)));
        Ok(())
    }

    /// Names and numbers stay, contents are exchanged.
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
        let sets: Vec<_> = self.sets.iter().map(|(info, _)| (info.set.name(), info.set.kind())).collect();
        let (info, members) = self.find(name)?;
        let asked = members_of(info.set.kind(), attributes)?;
        for (member, line) in asked.iter().zip(1..) {
            members.carry_out(command, strict, &info.options, member, &sets).map_err(|denial| Denial {
                // With several entries, the kernel repeats the request and names the wrong one in it.
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
        // The kernel lists the members of a list before the list.
        let (lists, others): (Vec<_>, Vec<_>) =
            self.sets.iter().partition(|(info, _)| info.set.kind() == Kind::ListSet);
        for (info, members) in others.into_iter().chain(lists) {
            if name.is_some_and(|name| name != info.set.name()) {
                continue;
            }
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
                    out.u32_net(SetAttr::References, self.references(info.set.name()));
                    out.u32_net(SetAttr::MemSize, 0);
                    out.u32_net(SetAttr::Elements, u32::try_from(members.count()).unwrap_or(u32::MAX));
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

/// The attribute has the number of the type's name.
fn second_name(parts: &Parts<'_>) -> Result<SetName, Denial> {
    parts.kind.and_then(|name| SetName::any(name).ok()).ok_or(error::PROTOCOL.into())
}

fn kind_of(parts: &Parts<'_>) -> Result<Kind, Denial> {
    parts.kind.and_then(|name| name.parse().ok()).ok_or(error::FIND_TYPE.into())
}

/// Types of which one set can take the place of another are of one such type.
fn stands_for(kind: Kind) -> Kind {
    match kind {
        Kind::HashNetPortNet => Kind::HashIpPortNet,
        Kind::BitmapIp => Kind::HashIp,
        Kind::BitmapIpMac => Kind::HashIpMac,
        kind => kind,
    }
}

/// Completes the options of a new set by the kernel's defaults.
fn complete(kind: Kind, revision: u8, options: &mut SetOptions) -> Result<(), Denial> {
    if options.netmask.is_some() || options.bitmask.is_some() {
        return Err(Denial::not_modelled("sets with masks of addresses"));
    }
    match kind.method() {
        Method::Hash => {
            options.hashsize = Some(options.hashsize.unwrap_or(1024).max(64).next_power_of_two());
            options.maxelem = options.maxelem.or(Some(65536));
            // In requests it is in network order, unlike in what is read elsewhere.
            options.markmask = (kind == Kind::HashIpMark).then(|| options.markmask.map_or(u32::MAX, u32::from_be));
            if revision == kind.revision() {
                options.bucketsize = options.bucketsize.or(Some(12));
                options.initval = options.initval.or(Some(0));
            }
        }
        Method::Bitmap => {
            options.range = options.range.map(|range| range.stored(None));
            match options.range {
                Some(BitmapRange::Addresses(first, last)) if last.to_bits() - first.to_bits() >= LARGEST_BITMAP => {
                    return Err(error::RANGE_SIZE.into());
                }
                _ => {}
            }
        }
        Method::List => options.size = Some(options.size.unwrap_or(8).max(4)),
    }
    Ok(())
}
