//! Atomic replacement of the contents of a set: see [`Ipset::replace`].

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::batch::{BatchError, Failure, fill, fill_placed};
use super::client::Ipset;
use super::entry::Member;
use super::kind::{HashIp, Kind, SetType};
use super::new_set::NewSet;
use super::order::{Names, wildcards_last};
use super::parts::SetName;
use super::request::{Change, Verb};
use super::set::{Set, SetInfo};
use super::sync::listed;
use crate::error::{Cause, Error, Reason, Result};
use crate::net::Family;

/// Timeout of every marker. An empty `hash:ip` with this timeout is a marker.
const MARK: Duration = Duration::from_secs(1_819_702);

/// Names of one replacement.
struct Replacement {
    name: SetName,
    /// The set that is filled and then takes the place of `name`.
    staged: SetName,
    /// The set that marks `staged` as one of a replacement.
    marker: SetName,
    /// The marker's `maxelem`, which identifies the staged set.
    number: u32,
}

/// Replaces a set through a staged one: with the caller's name for it, or with one that no other replacement has.
pub(super) fn replace<T: SetType>(
    ipset: &mut Ipset,
    name: SetName,
    staged: Option<SetName>,
    new: &NewSet<T>,
    members: &mut impl Iterator<Item = Member<T>>,
) -> Result<Set<T>, BatchError> {
    let number = staged.map_or_else(random, |staged| hash(staged).0);
    let replacement = Replacement {
        name,
        staged: staged.unwrap_or_else(|| staged_name(name, number)),
        marker: own_name(name, format_args!("lvs-mark-{:016x}", hash(name).1)),
        number,
    };
    let aside = |error| replacement.failed(error);
    let set = replacement.prepare(ipset, new).map_err(aside)?;
    let filled = match set.kind() {
        Kind::HashNetIface => fill_in_order(ipset, &set, members),
        _ => fill(ipset, Verb::Put, &set, members),
    };
    let done =
        filled.map_err(|error| error.during(&replacement)).and_then(|_| replacement.take_place(ipset).map_err(aside));
    let cleared = replacement.clear(ipset);
    done?;
    cleared.map_err(aside)?;
    Ok(Set::new(name, set.kind(), set.family()))
}

/// As [`fill`] with the names before the wildcards that cover them.
fn fill_in_order<T: SetType>(
    ipset: &mut Ipset,
    set: &Set<T>,
    members: &mut impl Iterator<Item = Member<T>>,
) -> Result<usize, BatchError> {
    let (mut names, mut placed) = (Names::default(), Vec::new());
    for (position, member) in members.enumerate() {
        if let Err(cause) = names.add(listed(set.kind(), member.entry.into())) {
            let change = Change::Put(set.any(), member.any());
            let error = Error::new(&change, cause).at(position);
            return Err(BatchError::new("", vec![Failure::new(change, error)], 0));
        }
        placed.push((Some(position), member));
    }
    wildcards_last(&mut placed);
    fill_placed(ipset, Verb::Put, set, placed)
}

impl Replacement {
    /// Creates the marker and the staged set, after all checks.
    fn prepare<T: SetType>(&self, ipset: &mut Ipset, new: &NewSet<T>) -> Result<Set<T>> {
        new.check().map_err(|cause| Error::new(self, cause))?;
        if self.staged == self.name || self.staged == self.marker {
            let text = format!("the staged set cannot have the name {}", self.staged);
            return Err(Error::new(self, Cause::InvalidInput(text.into())));
        }
        self.compare(ipset, new)?;
        self.remove_left_over(ipset)?;
        let mark = NewSet::<HashIp>::ipv4().hashsize(64).maxelem(self.number).timeout(MARK);
        ipset.create(self.marker, &mark).map_err(|error| match error.is_already_exists() {
            true => Error::new(self, Cause::precondition(Reason::Busy, "another process replaces the set")),
            false => error,
        })?;
        ipset.create(self.staged, new).map_err(|error| {
            if error.is_already_exists() {
                let _ = ipset.remove_set(self.marker);
                return self.in_the_way(self.staged);
            }
            // Without an answer the staged set may exist all the same.
            let _ = self.clear(ipset);
            error
        })
    }

    /// Refuses to replace a set that the new one cannot be swapped with.
    fn compare<T: SetType>(&self, ipset: &mut Ipset, new: &NewSet<T>) -> Result<()> {
        let Some(there) = found(ipset.header(self.name))? else { return Ok(()) };
        let (held, wanted) = ((there.kind(), there.family()), (new.kind, new.family()));
        if (contents(held.0), held.1) == (contents(wanted.0), wanted.1) {
            return Ok(());
        }
        let text = format!("set {} exists and differs: {}, wanted {}", self.name, Described(held), Described(wanted));
        Err(Error::new(self, Cause::precondition(Reason::TypeMismatch, text)))
    }

    /// Removes the sets of a replacement that was killed.
    fn remove_left_over(&self, ipset: &mut Ipset) -> Result<()> {
        let marked = match found(ipset.set(self.marker))? {
            None => None,
            Some(info) => Some(marked(&info).ok_or_else(|| self.in_the_way(self.marker))?),
        };
        if let Some(number) = marked {
            if let Some(left_over) = self.left_over(ipset, number)? {
                once_unlisted(|| ipset.remove_set(left_over))?;
            }
        }
        if found(ipset.header(self.staged))?.is_some() {
            return Err(self.in_the_way(self.staged));
        }
        match marked {
            Some(_) => once_unlisted(|| ipset.remove_set(self.marker).map(drop)),
            None => Ok(()),
        }
    }

    /// Finds the staged set with the number of a marker: its name contains the number, or has it as hash.
    fn left_over(&self, ipset: &mut Ipset, number: u32) -> Result<Option<SetName>> {
        if number == self.number {
            return Ok(Some(self.staged));
        }
        let own = staged_name(self.name, number);
        let names = ipset.names()?;
        let chosen = |name: &SetName| hash(*name).0 == number && ![self.name, self.marker].contains(name);
        Ok(names.iter().find(|name| **name == own).or_else(|| names.iter().find(|name| chosen(name))).copied())
    }

    fn take_place(&self, ipset: &mut Ipset) -> Result<()> {
        once_unlisted(|| match ipset.swap(self.staged, self.name) {
            // The staged set is first: the kernel returns another error number if that one is missing.
            Err(error) if error.is_not_found() => ipset.rename(self.staged, self.name),
            swapped => swapped,
        })
    }

    /// Removes the staged set, with the old members or those of a failed attempt, and then the marker.
    fn clear(&self, ipset: &mut Ipset) -> Result<()> {
        once_unlisted(|| ipset.remove_set(self.staged))?;
        let ours = found(ipset.set(self.marker))?.is_some_and(|info| marked(&info) == Some(self.number));
        if ours { once_unlisted(|| ipset.remove_set(self.marker).map(drop)) } else { Ok(()) }
    }

    /// The error of the replacement itself, not of a member.
    fn failed(&self, error: Error) -> BatchError {
        BatchError::aside(self.named(error), 0)
    }

    /// The error as one of the replacement.
    fn named(&self, error: Error) -> Error {
        let operation = self.to_string();
        if error.operation() == operation {
            return error;
        }
        let operation = format!("{operation}: {}", error.operation());
        error.during(operation)
    }

    fn in_the_way(&self, other: SetName) -> Error {
        let text = format!("set {other} is in the way: no replacement of {} has left it", self.name);
        Error::new(self, Cause::precondition(Reason::AlreadyExists, text))
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replace set {}", self.name)
    }
}

/// Type and family of a set.
struct Described((Kind, Option<Family>));

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            (kind, Some(family)) if kind.has_family() => write!(f, "{kind} family {family}"),
            (kind, _) => kind.fmt(f),
        }
    }
}

/// The answer about a set that may not exist.
fn found<A>(answer: Result<A>) -> Result<Option<A>> {
    match answer {
        Err(error) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    }
}

/// Returns the number in a marker; `None` if the set is no marker.
fn marked(info: &SetInfo) -> Option<u32> {
    let is_marker = info.set.kind() == Kind::HashIp
        && info.options.timeout == Some(MARK)
        && (info.entries, info.references) == (0, 0);
    info.options.maxelem.filter(|_| is_marker)
}

/// Returns one kind for all types whose sets can be swapped: their entries have the same parts.
fn contents(kind: Kind) -> Kind {
    match kind {
        Kind::BitmapIp => Kind::HashIp,
        Kind::BitmapIpMac => Kind::HashIpMac,
        Kind::HashNetPortNet => Kind::HashIpPortNet,
        other => other,
    }
}

fn staged_name(name: SetName, number: u32) -> SetName {
    own_name(name, format_args!("lvs-new-{:08x}-{number:08x}", hash(name).0))
}

/// These names have at most 25 bytes.
fn own_name(otherwise: SetName, text: fmt::Arguments<'_>) -> SetName {
    SetName::new(text.to_string()).unwrap_or(otherwise)
}

/// FNV-1a of a name, of 32 and of 64 bits.
fn hash(name: SetName) -> (u32, u64) {
    let start = (0x811c_9dc5_u32, 0xcbf2_9ce4_8422_2325_u64);
    name.as_bytes().iter().fold(start, |(short, long), byte| {
        (
            (short ^ u32::from(*byte)).wrapping_mul(0x0100_0193),
            (long ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3),
        )
    })
}

/// A number that two replacements hardly ever have in common.
fn random() -> u32 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    mixed(&RandomState::new(), process::id(), clock)
}

/// Mixes in the process and the time: after a fork both processes have the same keys of `RandomState`.
fn mixed(keys: &RandomState, process: u32, clock: Duration) -> u32 {
    let [.., a, b, c, d] = keys.hash_one((process, clock)).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Longest wait of a replacement for another process that lists one of its sets.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tries again while another process lists the set: the kernel does not report the end of a listing.
fn once_unlisted<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.is_in_use() && started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_replacement_are_documented() {
        let name = SetName::new("blocked").unwrap();
        assert_eq!(hash(SetName::new("a").unwrap()), (0xe40c_292c, 0xaf63_dc4c_8601_ec8c));
        let staged = staged_name(name, 0x0102_0304).to_string();
        assert!(staged.starts_with("lvs-new-") && staged.ends_with("-01020304"), "{staged}");
        assert_eq!(staged.len(), 25);
    }

    /// A forked process has the same keys.
    #[test]
    fn processes_with_the_same_keys_have_different_numbers() {
        let (keys, clock) = (RandomState::new(), Duration::new(1_790_000_000, 7));
        let own = mixed(&keys, 4000, clock);
        assert_ne!(own, mixed(&keys, 4001, clock));
        assert_ne!(own, mixed(&keys, 4000, clock + Duration::from_nanos(1)));
    }
}
