//! Netfilter netlink: the header that every subsystem shares.

use super::Writer;
use crate::error::DecodeError;

/// The length of the header (`struct nfgenmsg`).
pub(crate) const HEADER: usize = 4;

/// The type of a message: subsystem and command.
pub(crate) const fn message_type(subsystem: u8, command: u8) -> u16 {
    u16::from_be_bytes([subsystem, command])
}

/// Writes the header: family, version 0, resource 0.
pub(crate) fn write_header(out: &mut Writer<'_>, family: u8) {
    out.raw(&[family, 0, 0, 0]);
}

/// The attributes after the header.
pub(crate) fn attributes(body: &[u8]) -> Result<&[u8], DecodeError> {
    body.get(HEADER..).ok_or(DecodeError::Length { attribute: "nfgenmsg", wanted: HEADER, got: body.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsystem_is_the_high_byte() {
        assert_eq!(message_type(6, 2), 0x0602);
    }

    #[test]
    fn attributes_stand_behind_the_header() {
        assert_eq!(attributes(&[2, 0, 0, 0, 9]), Ok(&[9][..]));
        assert!(attributes(&[2, 0, 0]).is_err());
    }
}
