//! The director: say what should be, and have it so.

mod apply;
mod client;
mod desired;
mod drain;
mod owner;
mod plan;
mod snapshot;
mod step;

pub use apply::{BatchError, End, Failure, Report};
pub use client::{Director, Pace};
pub use desired::{Desired, InvalidDesired, Mistake, Role, WantedService, WantedSet};
pub use drain::{Connections, Drain, Draining, Drains, Until};
pub use owner::{Owner, Ranges};
pub use plan::{Conflict, Plan, plan};
pub use snapshot::{Event, FoundService, FoundSet, Snapshot};
pub use step::{Before, Change, Phase, Step};
