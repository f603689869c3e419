//! The acceptance table: each row is a test of its name.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod destinations;
mod endpoints;
mod input;
mod keys;
mod lab;
mod objects;
mod rules;
mod worked;
