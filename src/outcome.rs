//! The result of an operation that also succeeds if nothing is to be done.

use std::fmt;

/// Effect of an operation such as `put_…`, `remove_…`, `bind` or `unbind`, which also succeeds if nothing is to be done.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Outcome {
    /// The object was absent, and was added.
    Added,
    /// The object existed, and was set as requested. The kernel does not report whether that changed it.
    Updated,
    /// The object existed, and was deleted.
    Deleted,
    /// The object was as requested already.
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
    /// Whether the operation may have changed the kernel's state. [`Outcome::Updated`] counts as a change.
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
