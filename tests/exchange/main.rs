//! Scripted conversations: the test plays the kernel, without a socket.
#![expect(clippy::unwrap_used, reason = "in a test, a failed step is a failed test")]
#![expect(clippy::panic, reason = "likewise")]
#![expect(clippy::indexing_slicing, reason = "the messages were made here")]

mod broken;
mod dumps;
mod limits;
mod many;
mod one;
mod others;
mod properties;
mod talk;
