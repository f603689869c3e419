//! Where objects come from.

#[cfg(feature = "api-server")]
pub mod cluster;
pub mod file;
pub mod follow;

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::Sender;

use thiserror::Error;

use crate::model::ObjectName;
use crate::objects::{Kind, Object, Objects};

/// A message to the loop of `run`.
#[derive(Debug)]
pub enum Update {
    /// An object was added or changed.
    Put(Object),
    /// An object is malformed: its last valid state is kept.
    Malformed(Kind, ObjectName),
    /// An object was deleted.
    Delete(Kind, ObjectName),
    /// All objects of a kind.
    List {
        /// The kind.
        kind: Kind,
        /// The objects.
        objects: Vec<Object>,
        /// Malformed objects: their last valid state is kept.
        kept: Vec<ObjectName>,
    },
    /// The objects of a kind that were sent so far are all.
    Complete(Kind),
    /// All objects of all kinds.
    All(Objects),
    /// A value was refused: objects that were sent one by one may not be all of their kind.
    Gap,
    /// The source ended. The objects of these kinds are complete.
    End(Vec<Kind>),
    /// Text for standard error.
    Line(String),
    /// A virtual IP may be lost.
    Lost,
    /// The program ends.
    Stop,
}

/// The sending end of the updates.
pub type Updates = Sender<Update>;

/// The names that are known, to recognise an empty answer that is no answer.
#[derive(Clone, Debug)]
pub struct Known {
    kinds: BTreeMap<Kind, Names>,
    /// Whether services existed before the first list.
    table: bool,
    allow_empty: bool,
}

/// The names of a kind, and whether they were complete once.
#[derive(Clone, Debug, Default)]
struct Names {
    names: HashSet<ObjectName>,
    complete: bool,
}

/// An input without objects that every cluster has.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Empty {
    /// A file without any object.
    #[error("no Service and no EndpointSlice, while services exist: nothing was changed; --allow-empty accepts it")]
    File,
    /// A file without objects of one kind.
    #[error("no {0}, which every cluster has: nothing was changed; --allow-empty accepts it")]
    Kind(Kind),
    /// A list without objects.
    #[error("the list of {0}s is empty, while services exist: nothing was changed; --allow-empty accepts it")]
    List(Kind),
}

impl Known {
    /// Nothing is listed yet. `table` means that the kernel has services of an earlier run.
    pub fn new(table: bool, allow_empty: bool) -> Self {
        Self { kinds: BTreeMap::new(), table, allow_empty }
    }

    /// Takes a complete list.
    ///
    /// # Errors
    /// When it is empty, and the table is not.
    pub fn list(&mut self, kind: Kind, names: impl IntoIterator<Item = ObjectName>) -> Result<(), Empty> {
        let names: HashSet<_> = names.into_iter().collect();
        let known = self.kinds.entry(kind).or_default();
        let exist = !known.names.is_empty() || (self.table && !known.complete);
        if names.is_empty() && exist && !self.allow_empty {
            return Err(Empty::List(kind));
        }
        *known = Names { names, complete: true };
        Ok(())
    }

    /// Takes the objects that were put so far as a complete list.
    ///
    /// # Errors
    /// When none was put, and the table is not empty.
    pub fn complete(&mut self, kind: Kind) -> Result<(), Empty> {
        let names = self.kinds.entry(kind).or_default().names.drain().collect::<Vec<_>>();
        self.list(kind, names)
    }

    /// Whether the objects of a kind are complete when their source ends. Objects that were put one by one may be cut: they count as
    /// complete only where no service can be lost.
    pub fn is_complete(&self, kind: Kind) -> bool {
        match self.kinds.get(&kind) {
            Some(Names { complete: true, .. }) => true,
            Some(Names { names, .. }) if !names.is_empty() => !self.table,
            _ => self.allow_empty,
        }
    }

    /// Takes all objects of a file.
    ///
    /// # Errors
    /// When it has no objects while services exist, or objects of one kind only: every cluster has the Service `kubernetes` and its
    /// slice. A file of Services alone would end all endpoints.
    pub fn file(&mut self, objects: &Objects) -> Result<(), Empty> {
        let empty = match (objects.services().len(), objects.slice_count()) {
            (0, 0) => self.table.then_some(Empty::File),
            (0, _) => Some(Empty::Kind(Kind::Service)),
            (_, 0) => Some(Empty::Kind(Kind::Slice)),
            _ => None,
        };
        if let Some(empty) = empty.filter(|_| !self.allow_empty) {
            return Err(empty);
        }
        self.table = !objects.is_empty();
        Ok(())
    }

    /// Takes an object.
    pub fn put(&mut self, kind: Kind, name: ObjectName) {
        self.kinds.entry(kind).or_default().names.insert(name);
    }

    /// Forgets an object.
    pub fn delete(&mut self, kind: Kind, name: &ObjectName) {
        if let Some(known) = self.kinds.get_mut(&kind) {
            known.names.remove(name);
        }
    }
}
