//! Messages of IPVS: what can be read is written so that it reads as the same.
//!
//! An input is a message's body: the generic netlink header and the attributes.

use lvs::ipvs::{Answer, Message};
use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

pub(crate) fn run(data: &[u8]) {
    let Some((&[command, ..], attributes)) = data.split_first_chunk::<4>() else { return };
    let message = match read(command, attributes) {
        Ok(message) => message,
        Err(error) => return assert!(!error.is_empty()),
    };
    assert!(!format!("{message:?}").is_empty());
    match message {
        Message::Change(change) => {
            assert!(!change.to_string().is_empty());
            let _ = change.check();
        }
        Message::Query(query) => assert!(!query.to_string().is_empty()),
        _ => {}
    }
    let mut bytes = vec![0xa5; message.buffer_len()];
    message.emit(&mut bytes);
    assert_eq!(read(message.command(), &bytes), Ok(message));
    if let Message::Answer(Answer::Service(info)) = message {
        assert_eq!(info.key(), info.service.key);
    }
}

fn read(command: u8, attributes: &[u8]) -> Result<Message, String> {
    Message::parse_with_param(attributes, GenlHeader { cmd: command, version: 1 }).map_err(|error| error.to_string())
}
