//! Bytes and the values they stand for, through the public types and traits only.
#![expect(clippy::unwrap_used, reason = "in a test, a failed step is a failed test")]
#![expect(clippy::panic, reason = "likewise")]
#![expect(clippy::indexing_slicing, reason = "the bytes were made here, or are captures that do not change")]

mod answered;
mod broken;
#[cfg(target_endian = "little")]
mod captures;
mod interop;
mod procfs;
mod properties;
mod sent;
mod text;
mod values;

use std::ops::Range;

use ::lvs::ipvs::Message;
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

/// The attributes of a message.
fn encode(message: impl Into<Message>) -> Vec<u8> {
    let message = message.into();
    // Whatever the buffer held must not show.
    let mut bytes = vec![0xa5; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// The message that a command with these attributes is, or the error's text.
fn decode(command: u8, attributes: &[u8]) -> Result<Message, String> {
    Message::parse_with_param(attributes, GenlHeader { cmd: command, version: 1 }).map_err(|error| error.to_string())
}

/// A message to bytes and back.
fn back(message: impl Into<Message>) -> Result<Message, String> {
    let message = message.into();
    decode(message.command(), &encode(message))
}

/// One attribute, padding included.
fn attribute(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(number.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// One attribute of a list: its number without flags, and where it and its payload stand.
#[derive(Clone, Debug)]
struct Found {
    number: u16,
    payload: Range<usize>,
    /// With the padding behind it.
    whole: Range<usize>,
}

/// The attributes of a list that is known to be good.
fn attributes(list: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < list.len() {
        let length = usize::from(u16::from_ne_bytes([list[start], list[start + 1]]));
        assert!(length >= 4, "{}", hex(list));
        let number = u16::from_ne_bytes([list[start + 2], list[start + 3]]) & 0x3fff;
        let end = (start + length).next_multiple_of(4).min(list.len());
        found.push(Found { number, payload: start + 4..start + length, whole: start..end });
        start = end;
    }
    found
}

/// The payload of the attribute with this number.
#[track_caller]
fn payload(list: &[u8], number: u16) -> &[u8] {
    match attributes(list).iter().find(|found| found.number == number) {
        Some(found) => &list[found.payload.clone()],
        None => panic!("no attribute {number} in {}", hex(list)),
    }
}

/// The same list without the attributes of this number.
fn without(list: &[u8], number: u16) -> Vec<u8> {
    let kept = attributes(list).into_iter().filter(|found| found.number != number);
    kept.flat_map(|found| list[found.whole].to_vec()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}
