//! The result of an operation that succeeds also with nothing to do.

use std::fmt;

/// The result of an operation that ends in a state: an object exists as asked, or is absent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Outcome {
    /// The object was absent, and was added.
    Added,
    /// The object existed, and was set to what was asked. The kernel does not report whether that changed anything.
    Updated,
    /// The object existed, and was deleted.
    Deleted,
    /// Everything was as asked already.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        })
    }
}

impl Outcome {
    /// Whether the kernel's table may differ from before.
    ///
    /// ```
    /// # use lvs::Outcome;
    /// assert!(Outcome::Updated.is_change() && !Outcome::Unchanged.is_change());
    /// ```
    pub fn is_change(self) -> bool {
        self != Self::Unchanged
    }

    /// The outcome of adding what may exist.
    pub(crate) fn of_adding(bound: bool) -> Self {
        if bound { Self::Added } else { Self::Unchanged }
    }

    /// The outcome of deleting what may be absent.
    pub(crate) fn of_deleting(deleted: bool) -> Self {
        if deleted { Self::Deleted } else { Self::Unchanged }
    }
}
