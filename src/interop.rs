//! The traits of the rust-netlink crates on this crate's message types, for a
//! [`GenlMessage`](netlink_packet_generic::GenlMessage) with `netlink-proto` and `genetlink`.
//!
//! No other public item of this crate names a type of another crate, except that flags have the traits of `bitflags`.

use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use crate::ipvs;
use crate::wire::Writer;

impl ipvs::Message {
    fn attributes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_attributes(&mut Writer::new(&mut bytes));
        bytes
    }
}

impl GenlFamily for ipvs::Message {
    fn family_name() -> &'static str {
        ipvs::FAMILY
    }

    fn command(&self) -> u8 {
        ipvs::Message::command(self)
    }

    fn version(&self) -> u8 {
        ipvs::VERSION
    }
}

impl Emitable for ipvs::Message {
    fn buffer_len(&self) -> usize {
        self.attributes().len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let bytes = self.attributes();
        if let Some(room) = buffer.get_mut(..bytes.len()) {
            room.copy_from_slice(&bytes);
        }
    }
}

impl ParseableParametrized<[u8], GenlHeader> for ipvs::Message {
    fn parse_with_param(attributes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Self::read_attributes(header.cmd, attributes).map_err(|error| DecodeError::from(error.to_string()))
    }
}
