//! Generic netlink: the header of every family, and the look-up of a family's number.

use super::{Attrs, Writer, kinds, reader::required};
use crate::error::DecodeError;

/// The message type of the controller, the family that lists the others (`GENL_ID_CTRL`).
pub(crate) const CONTROLLER: u16 = 16;
/// `CTRL_CMD_NEWFAMILY`.
#[cfg(feature = "testing")]
const NEW_FAMILY: u8 = 1;
/// `CTRL_CMD_GETFAMILY`.
const GET_FAMILY: u8 = 3;
/// Version of the controller's messages.
const VERSION: u8 = 2;

/// The length of the header.
const HEADER: usize = 4;

kinds! {
    /// Attributes of the controller about a family (`linux/genetlink.h`).
    Controller "CTRL_ATTR" {
        FamilyId = 1 "CTRL_ATTR_FAMILY_ID",
        FamilyName = 2 "CTRL_ATTR_FAMILY_NAME",
    }
}

/// Writes the generic netlink header.
pub(crate) fn write_header(out: &mut Writer<'_>, command: u8, version: u8) {
    out.raw(&[command, version, 0, 0]);
}

/// Splits a body into the command and the attributes after the header.
pub(crate) fn split(body: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let wrong = DecodeError::Length { attribute: "genlmsghdr", wanted: HEADER, got: body.len() };
    let (&[command, ..], attributes) = body.split_first_chunk::<HEADER>().ok_or(wrong)?;
    Ok((command, attributes))
}

/// The body of the request for the number of the family called `name`.
pub(crate) fn family_request(name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    write_header(&mut out, GET_FAMILY, VERSION);
    out.text(Controller::FamilyName, name);
    body
}

/// The family's number in the controller's reply.
///
/// Unknown attributes are skipped, since later kernels add attributes.
pub(crate) fn family_reply(body: &[u8]) -> Result<u16, DecodeError> {
    let (_, attributes) = split(body)?;
    let mut id = None;
    for attr in Attrs::<Controller>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            Controller::FamilyId => id = Some(attr.u16_ne()?),
            Controller::FamilyName => {}
        }
    }
    required(id, Controller::FamilyId)
}

/// The body of the controller's reply.
#[cfg(feature = "testing")]
pub(crate) fn family_reply_of(name: &str, number: u16) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    write_header(&mut out, NEW_FAMILY, VERSION);
    out.text(Controller::FamilyName, name);
    out.u16_ne(Controller::FamilyId, number);
    body
}

/// Writes the body of the request, sent as a dump, for all families.
pub(crate) fn write_families_request(out: &mut Writer<'_>) {
    write_header(out, GET_FAMILY, 1);
}

/// The family's name in the controller's reply.
pub(crate) fn family_name(body: &[u8]) -> Result<&str, DecodeError> {
    let (_, attributes) = split(body)?;
    for attr in Attrs::<Controller>::new(attributes) {
        let attr = attr?;
        if attr.kind == Controller::FamilyName {
            return attr.text();
        }
    }
    required(None, Controller::FamilyName)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_generic::GenlMessage;
    use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs};

    use super::*;
    use crate::wire::Kind;

    #[test]
    fn the_request_names_the_family() {
        let body = family_request("IPVS");
        let nlas = vec![GenlCtrlAttrs::FamilyName("IPVS".to_owned())];
        let theirs = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
        let mut bytes = vec![0; Emitable::buffer_len(&theirs)];
        theirs.emit(&mut bytes);
        assert_eq!(body, bytes);
        assert_eq!(body[0], 3);
        assert_eq!(body[4..], [&9u16.to_ne_bytes()[..], &2u16.to_ne_bytes(), b"IPVS\0\0\0\0"].concat());
    }

    #[test]
    fn a_reply_with_unknown_attributes_is_understood() {
        let unknown = [&8u16.to_ne_bytes()[..], &500u16.to_ne_bytes(), &[1; 4]].concat();
        let id = [&6u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), &258u16.to_ne_bytes(), &[0; 2]].concat();
        let body = [&[1, 2, 0, 0][..], &unknown, &id].concat();
        assert_eq!(family_reply(&body), Ok(258));
        assert_eq!(family_reply(&body[..12]), Err(DecodeError::Missing { attribute: Controller::FamilyId.name() }));
        assert!(family_reply(&[1, 2]).is_err());
    }
}
