//! Runs the fuzzed code over the inputs of the repository. `fuzz/README.md` describes the fuzzers.
//!
//! Each module has the code of a target of `fuzz/`. The targets of the two programs are in `examples/`.
#![expect(clippy::unwrap_used, reason = "in a test, a failed step is a failed test")]
#![expect(clippy::panic, reason = "likewise")]
#![expect(clippy::indexing_slicing, reason = "the messages were made here")]

mod clients;
mod conversations;
mod exchange;
mod files;
mod ipvs;
mod procfs;
mod text;

#[test]
fn answers_to_the_clients() {
    files::each("clients", clients::run);
}

#[test]
fn datagrams_into_the_exchange() {
    files::each("exchange", exchange::run);
}

#[test]
fn messages_of_ipvs() {
    files::each("ipvs", ipvs::run);
}

#[test]
fn files_of_proc() {
    files::each("procfs", procfs::run);
}

#[test]
fn texts_of_values() {
    files::each("text", text::run);
}
