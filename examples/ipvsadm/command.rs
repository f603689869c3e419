//! Commands, and mistakes in command lines.

use std::borrow::Cow;

use lvs::ipvs::{Change, ServiceKey};

/// Command of a command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    Help,
    Version,
    Change(Change),
    /// A change of a server of this service that the library has no words for, because no kernel makes it: a lower
    /// threshold without an upper one.
    OutOfRange(ServiceKey),
    List(Listing),
    ListTimeouts,
    ListDaemons,
    ListConnections {
        numeric: bool,
        /// With what persistence engines know.
        engines: bool,
    },
    Save {
        numeric: bool,
    },
    Restore,
}

/// Content and format of a listing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Listing {
    /// This service only.
    pub(crate) service: Option<ServiceKey>,
    pub(crate) mode: Mode,
    pub(crate) numeric: bool,
    /// Numbers in full length.
    pub(crate) exact: bool,
    pub(crate) sorted: bool,
}

/// Columns of a listing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Settings,
    Tunnels,
    Thresholds,
    PersistentConnections,
    Stats,
    Rates,
}

/// Why a command line is not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mistake {
    /// It does not begin with a command.
    NoCommand,
    /// An option is not written as options are.
    Syntax(String),
    /// An option has an illegal value, or is in the wrong place.
    Refused(String),
}

impl Mistake {
    /// Returns the text for standard error.
    pub(crate) fn text<'a>(&'a self, program: &str) -> Cow<'a, str> {
        match self {
            Self::NoCommand => format!("Try `{program} -h' or '{program} --help' for more information.").into(),
            Self::Syntax(text) | Self::Refused(text) => text.into(),
        }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::NoCommand | Self::Syntax(_) => 255,
            Self::Refused(_) => 2,
        }
    }
}
