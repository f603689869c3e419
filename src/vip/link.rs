//! Messages about interfaces: requests, and the parts of the answers that this crate uses.

use crate::error::DecodeError;
use crate::name::Interface;
use crate::wire::{Attrs, Writer, kinds};

/// The kind of a dummy interface (`IFLA_INFO_KIND`).
pub(crate) const DUMMY: &str = "dummy";

/// `RTM_*`.
pub(crate) const NEW_LINK: u16 = 16;
pub(crate) const DELETE_LINK: u16 = 17;
pub(crate) const GET_LINK: u16 = 18;

/// The length of `struct ifinfomsg`.
pub(crate) const HEADER: usize = 16;

/// `IFF_UP`.
pub(crate) const UP: u32 = 1;
/// Omits the counters from the answer (`RTEXT_FILTER_SKIP_STATS`).
const SKIP_STATS: u32 = 8;

kinds! {
    /// Attributes of an interface (`linux/if_link.h`).
    LinkAttr "IFLA" {
        Name = 3 "IFLA_IFNAME",
        Lower = 5 "IFLA_LINK",
        Master = 10 "IFLA_MASTER",
        Info = 18 "IFLA_LINKINFO",
        ExtMask = 29 "IFLA_EXT_MASK",
        TxQueues = 31 "IFLA_NUM_TX_QUEUES",
        LowerNamespace = 37 "IFLA_LINK_NETNSID",
    }
}

kinds! {
    /// Attributes of the kind of an interface.
    InfoAttr "IFLA_LINKINFO" {
        Kind = 1 "IFLA_INFO_KIND",
        SlaveKind = 4 "IFLA_INFO_SLAVE_KIND",
    }
}

/// A request about an interface.
#[derive(Clone, Copy, Debug)]
pub(super) enum LinkRequest<'a> {
    /// The interface of this name, without its counters (`RTM_GETLINK`).
    Get(&'a [u8]),
    /// The interface with this index, without its counters (`RTM_GETLINK`).
    GetIndex(u32),
    /// All interfaces, without their counters (`RTM_GETLINK`).
    All,
    /// A new dummy interface of this name, which the kernel leaves down (`RTM_NEWLINK`).
    NewDummy(&'a [u8]),
    /// A dummy interface that no kernel creates: it has more queues than an interface can have (`RTM_NEWLINK`).
    ImpossibleDummy,
    /// Deletes the interface with this index (`RTM_DELLINK`).
    Delete(u32),
}

impl LinkRequest<'_> {
    /// The type of the message.
    pub(super) fn kind(self) -> u16 {
        match self {
            Self::Get(_) | Self::GetIndex(_) | Self::All => GET_LINK,
            Self::NewDummy(_) | Self::ImpossibleDummy => NEW_LINK,
            Self::Delete(_) => DELETE_LINK,
        }
    }

    /// Writes the body of the message.
    pub(super) fn write(self, out: &mut Writer<'_>) {
        let index = match self {
            Self::GetIndex(index) | Self::Delete(index) => index,
            Self::Get(_) | Self::All | Self::NewDummy(_) | Self::ImpossibleDummy => 0,
        };
        out.raw(&[0; 4]);
        out.raw(&index.to_ne_bytes());
        out.raw(&[0; 8]);
        match self {
            Self::Get(name) => {
                out.text(LinkAttr::Name, name);
                out.u32_ne(LinkAttr::ExtMask, SKIP_STATS);
            }
            Self::GetIndex(_) | Self::All => out.u32_ne(LinkAttr::ExtMask, SKIP_STATS),
            Self::NewDummy(name) => {
                out.text(LinkAttr::Name, name);
                write_kind(out);
            }
            Self::ImpossibleDummy => {
                out.text(LinkAttr::Name, b"impossible");
                out.u32_ne(LinkAttr::TxQueues, u32::MAX);
                write_kind(out);
            }
            Self::Delete(_) => {}
        }
    }
}

fn write_kind(out: &mut Writer<'_>) {
    out.nest(LinkAttr::Info, |out| out.text(InfoAttr::Kind, DUMMY));
}

/// An interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: Option<Interface>,
    /// `None`: hardware, or the loopback interface.
    pub(crate) kind: Option<String>,
    pub(super) is_up: bool,
    /// Part of a bridge, a bond or a VRF.
    pub(super) has_master: bool,
    /// Part of a VRF, whose table has the local routes of its addresses.
    pub(super) is_in_vrf: bool,
    /// Index of the interface that this one is on top of.
    pub(super) lower: Option<u32>,
}

/// Reads an interface; `None` if the message is about something else.
pub(crate) fn read_link(kind: u16, body: &[u8]) -> Result<Option<Link>, DecodeError> {
    if kind != NEW_LINK {
        return Ok(None);
    }
    let Some((header, attributes)) = body.split_first_chunk::<HEADER>() else {
        return Err(DecodeError::Length { attribute: "ifinfomsg", wanted: HEADER, got: body.len() });
    };
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    let is_up = u32::from_ne_bytes([f0, f1, f2, f3]) & UP != 0;
    let mut link = Link { index: u32::from_ne_bytes([i0, i1, i2, i3]), is_up, ..Link::default() };
    let mut elsewhere = false;
    for attr in Attrs::<LinkAttr>::new(attributes) {
        let attr = attr?;
        match attr.kind {
            LinkAttr::Name => {
                link.name = Some(Interface::any(attr.text_bytes()?).map_err(|_| attr.wrong_text())?);
            }
            LinkAttr::Lower => link.lower = Some(attr.u32_ne()?),
            LinkAttr::Master => link.has_master = true,
            LinkAttr::LowerNamespace => elsewhere = true,
            LinkAttr::Info => {
                for info in attr.nested::<InfoAttr>() {
                    let info = info?;
                    match info.kind {
                        InfoAttr::Kind => link.kind = Some(lossy(info.text_bytes()?)),
                        InfoAttr::SlaveKind => link.is_in_vrf = info.text_bytes()? == b"vrf",
                    }
                }
            }
            LinkAttr::ExtMask | LinkAttr::TxQueues => {}
        }
    }
    link.lower = link.lower.filter(|_| !elsewhere);
    Ok(Some(link))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, ParseableParametrized};
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};

    use super::*;
    use crate::wire::writer::written;

    fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Another crate has the same bytes for the same request.
    #[test]
    fn requests_are_the_bytes_that_netlink_packet_route_makes() {
        let name = || LinkAttribute::IfName("vip0".to_owned());
        let no_counters = || LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
        let dummy = || LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]);
        let impossible =
            vec![LinkAttribute::IfName("impossible".to_owned()), LinkAttribute::NumTxQueues(u32::MAX), dummy()];
        for (ours, theirs) in [
            (LinkRequest::Get(b"vip0"), RouteNetlinkMessage::GetLink(message(0, vec![name(), no_counters()]))),
            (LinkRequest::GetIndex(258), RouteNetlinkMessage::GetLink(message(258, vec![no_counters()]))),
            (LinkRequest::NewDummy(b"vip0"), RouteNetlinkMessage::NewLink(message(0, vec![name(), dummy()]))),
            (LinkRequest::ImpossibleDummy, RouteNetlinkMessage::NewLink(message(0, impossible))),
            (LinkRequest::Delete(258), RouteNetlinkMessage::DelLink(message(258, vec![]))),
        ] {
            let mut bytes = vec![0; theirs.buffer_len()];
            theirs.emit(&mut bytes);
            assert_eq!((ours.kind(), written(|out| ours.write(out))), (theirs.message_type(), bytes), "{ours:?}");
            let read = RouteNetlinkMessage::parse_with_param(&written(|out| ours.write(out)), ours.kind());
            assert_eq!(read.unwrap(), theirs);
        }
    }

    /// An alias (20) and an alternative name (53 in 52) may hold any byte, and do not matter.
    #[test]
    fn only_index_name_and_kind_are_read_of_an_interface() {
        let header = [&[0; 4][..], &258u32.to_ne_bytes(), &[0; 8]].concat();
        let body = [
            header,
            attr(3, b"caf\xe9\0"),
            attr(20, b"caf\xe9"),
            attr(52 | 0x8000, &attr(53, b"\xff\0")),
            attr(18, &[attr(1, b"dummy\0"), attr(2, b"\xff\xff")].concat()),
            attr(99, &[1]),
        ]
        .concat();
        let name = Interface::new(b"caf\xe9").ok();
        let link = Link { index: 258, name, kind: Some(DUMMY.to_owned()), ..Link::default() };
        assert_eq!(read_link(NEW_LINK, &body), Ok(Some(link)));
        assert_eq!(read_link(GET_LINK, &body), Ok(None));
        let bytes = |number: u32| number.to_ne_bytes();
        let with = |flags: u32, more: &[u8]| {
            let body = [&[0; 4], &bytes(258)[..], &bytes(flags), &[0; 4], more].concat();
            let link = read_link(NEW_LINK, &body).unwrap().unwrap();
            (link.is_up, link.has_master, link.lower)
        };
        assert_eq!(with(0x1003, &attr(10, &bytes(7))), (true, true, None));
        assert_eq!(with(0x1002, &attr(5, &bytes(7))), (false, false, Some(7)));
        let peer = [attr(5, &bytes(7)), attr(37, &bytes(0))].concat();
        assert_eq!(with(0, &peer), (false, false, None), "the index is one of another namespace");
        for end in 0..body.len() {
            assert!(read_link(NEW_LINK, &body[..end]).is_err() || end >= HEADER, "{end}");
        }
    }
}
