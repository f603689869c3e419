//! Fuzz targets without a public name: the decoders of messages. `tests/corpus/` has the rest.
//!
//! Here only for tests and for the targets in `fuzz/` (`--cfg fuzzing`).

pub use crate::conntrack::fuzz::run as conntrack;
pub use crate::ipset::fuzz::run as ipset;
pub use crate::vip::fuzz::run as route;
pub use crate::wire::fuzz::run as control;

#[cfg(test)]
#[path = "../tests/corpus/files.rs"]
mod files;

#[cfg(test)]
mod tests {
    use super::files;

    #[test]
    fn messages_of_the_connection_tracker() {
        files::each("conntrack", super::conntrack);
    }

    #[test]
    fn messages_of_ipset() {
        files::each("ipset", super::ipset);
    }

    #[test]
    fn messages_about_routes() {
        files::each("route", super::route);
    }

    #[test]
    fn answers_of_the_controller() {
        files::each("control", super::control);
    }
}
