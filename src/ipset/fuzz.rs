//! Fuzzed messages of ipset: a value that can be read and sent is written so that it reads as the same.

use super::entry::EntryAttr;
use super::entry::Member;
use super::kind::{AnyType, Kind};
use super::new_set::NewSet;
use super::numbers::Command;
use super::set::{Parts, SetInfo, family_number};
use crate::wire::writer::written;
use crate::wire::{Attrs, nfnetlink};

/// An input is a message's body: the header and the attributes. If it names no set type, as the next message of a
/// listing, the header's last byte does.
pub fn run(data: &[u8]) {
    let Ok(attributes) = nfnetlink::attributes(data) else { return };
    let Ok(parts) = Parts::read(attributes) else { return };
    let set = parts.set();
    if let Ok(info) = parts.info() {
        assert!(!format!("{info:?}").is_empty());
        set_reads_back(&info);
    }
    let selected = data.get(nfnetlink::HEADER - 1).and_then(|at| Kind::ALL.get(usize::from(*at) % Kind::ALL.len()));
    let kind = set.as_ref().map(|set| set.kind()).ok().or(selected.copied());
    let family = set.ok().and_then(|set| set.family());
    let (Some(kind), Some(entries)) = (kind, parts.entries) else { return };
    for entry in entries {
        let Ok(member) = entry.and_then(|entry| Member::read(kind, entry.nested())) else { continue };
        member_reads_back(kind, &member);
        let _ = member.check(kind, family);
    }
}

/// Also one that the set could not hold: the bytes do not depend on that.
fn member_reads_back(kind: Kind, member: &Member<AnyType>) {
    assert!(!format!("{} {member:?}", member.entry).is_empty());
    // The kernel sends no longer timeout than it takes, so that a longer one is never sent back.
    if member.timeout.is_some_and(|timeout| super::check::seconds(timeout).is_err()) {
        return;
    }
    let bytes = written(|out| member.write(out, Some(1)));
    let back = Member::read(kind, Attrs::<EntryAttr>::new(&bytes));
    assert_eq!(back.as_ref(), Ok(member));
}

fn set_reads_back(info: &SetInfo) {
    let mut options = info.options;
    // The one number that kernels send in another byte order than they take it.
    options.markmask = options.markmask.map(u32::to_be);
    let new = NewSet::<AnyType>::new(info.set.kind(), options);
    if new.check().is_err() {
        return;
    }
    let _ = new.needs();
    let bytes = written(|out| {
        out.text(Command::SetName, info.set.name().as_bytes());
        out.text(Command::TypeName, info.set.kind().name());
        out.u8(Command::Revision, info.revision);
        out.u8(Command::Family, family_number(info.set.family()));
        out.marked_nest(Command::Data, |out| new.write(out));
    });
    let back = Parts::read(&bytes).and_then(|parts| parts.info());
    assert_eq!(back.map(|back| (back.set, back.revision, back.options)), Ok((info.set, info.revision, info.options)));
}
