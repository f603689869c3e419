//! Where objects come from.

#[cfg(feature = "api-server")]
pub mod cluster;
pub mod file;
pub mod follow;

use std::collections::HashSet;
use std::sync::mpsc::Sender;

use thiserror::Error;

use crate::model::ObjectName;
use crate::objects::{Kind, Object, Objects};

/// A message to the loop of `run`.
#[derive(Debug)]
pub enum Update {
    /// An object was added or changed.
    Put(Object),
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
    /// The source ended: what was read is complete.
    End,
    /// Text for standard error.
    Line(String),
    /// A virtual IP may be lost.
    Lost,
    /// The program ends.
    Stop,
}

/// The sending end of the updates.
pub type Updates = Sender<Update>;

/// The names that were listed, to recognise an empty answer that is no answer.
#[derive(Clone, Debug)]
pub struct Known {
    names: HashSet<ObjectName>,
    /// Whether services existed before the first list.
    table: bool,
    allow_empty: bool,
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
}

impl Known {
    /// Nothing is listed yet. `table` means that the kernel has services of an earlier run.
    pub fn new(table: bool, allow_empty: bool) -> Self {
        Self { names: HashSet::new(), table, allow_empty }
    }

    /// Takes a complete list; false if it is refused, because it is empty and the table is not.
    pub fn list(&mut self, names: impl IntoIterator<Item = ObjectName>) -> bool {
        let names: HashSet<_> = names.into_iter().collect();
        if names.is_empty() && !self.allow_empty && (self.table || !self.names.is_empty()) {
            return false;
        }
        self.table = false;
        self.names = names;
        true
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
    pub fn put(&mut self, name: ObjectName) {
        self.names.insert(name);
    }

    /// Forgets an object.
    pub fn delete(&mut self, name: &ObjectName) {
        self.names.remove(name);
    }
}
