//! Services, destinations and members in the style of the rust-netlink crates: an `enum` of attributes for each nest, messages
//! as vectors of them.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_TYPE_MASK, NetlinkDeserializable,
    NetlinkHeader, NetlinkSerializable, Nla, NlaBuffer, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};

/// An `enum` of attributes that each have a number and bytes.
macro_rules! attributes {
    ($name:ident { $($variant:ident($payload:ty) = $number:expr,)+ }) => {
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub(crate) enum $name {
            $($variant($payload),)+
            Other(DefaultNla),
        }

        impl Nla for $name {
            fn value_len(&self) -> usize {
                match self {
                    $(Self::$variant(payload) => payload.length(),)+
                    Self::Other(other) => other.value_len(),
                }
            }

            fn kind(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => $number,)+
                    Self::Other(other) => other.kind(),
                }
            }

            fn emit_value(&self, buffer: &mut [u8]) {
                match self {
                    $(Self::$variant(payload) => payload.put(buffer),)+
                    Self::Other(other) => other.emit_value(buffer),
                }
            }
        }

        impl<'a, T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&'a T>> for $name {
            fn parse(buffer: &NlaBuffer<&'a T>) -> Result<Self, DecodeError> {
                let payload = buffer.value();
                Ok(match buffer.kind() {
                    $(number if number == $number & NLA_TYPE_MASK => Self::$variant(Payload::get(payload)?),)+
                    _ => Self::Other(DefaultNla::parse(buffer)?),
                })
            }
        }

        impl Payload for Vec<$name> {
            fn length(&self) -> usize {
                self.as_slice().buffer_len()
            }

            fn put(&self, buffer: &mut [u8]) {
                self.as_slice().emit(buffer);
            }

            fn get(bytes: &[u8]) -> Result<Self, DecodeError> {
                NlasIterator::new(bytes).map(|attribute| $name::parse(&attribute?)).collect()
            }
        }
    };
}

/// A value that an attribute can hold.
pub(crate) trait Payload: Sized {
    fn length(&self) -> usize;
    fn put(&self, buffer: &mut [u8]);
    fn get(bytes: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Payload for $number {
            fn length(&self) -> usize {
                size_of::<Self>()
            }

            fn put(&self, buffer: &mut [u8]) {
                buffer.copy_from_slice(&self.to_ne_bytes());
            }

            fn get(bytes: &[u8]) -> Result<Self, DecodeError> {
                let bytes = bytes.try_into().map_err(|_| DecodeError::from("the length of a number"))?;
                Ok(Self::from_ne_bytes(bytes))
            }
        }
    )+};
}

numbers!(u8, u16, u32, u64);

impl Payload for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }

    fn put(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(self);
    }

    fn get(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(bytes.to_vec())
    }
}

attributes! { Stats {
    Connections(u64) = 1,
    PacketsIn(u64) = 2,
    PacketsOut(u64) = 3,
    BytesIn(u64) = 4,
    BytesOut(u64) = 5,
    ConnectionRate(u64) = 6,
    PacketRateIn(u64) = 7,
    PacketRateOut(u64) = 8,
    ByteRateIn(u64) = 9,
    ByteRateOut(u64) = 10,
} }

attributes! { Service {
    Family(u16) = 1,
    Protocol(u16) = 2,
    Address(Vec<u8>) = 3,
    Port(u16) = 4,
    FirewallMark(u32) = 5,
    Scheduler(Vec<u8>) = 6,
    Flags(Vec<u8>) = 7,
    Timeout(u32) = 8,
    Netmask(u32) = 9,
    Engine(Vec<u8>) = 11,
    Stats64(Vec<Stats>) = 12,
} }

attributes! { Destination {
    Address(Vec<u8>) = 1,
    Port(u16) = 2,
    Forwarding(u32) = 3,
    Weight(u32) = 4,
    UpperThreshold(u32) = 5,
    LowerThreshold(u32) = 6,
    ActiveConnections(u32) = 7,
    InactiveConnections(u32) = 8,
    PersistentConnections(u32) = 9,
    Family(u16) = 11,
    Stats64(Vec<Stats>) = 12,
    TunnelKind(u8) = 13,
    TunnelPort(u16) = 14,
    TunnelFlags(u16) = 15,
} }

attributes! { Ipvs {
    Service(Vec<Service>) = 1,
    Destination(Vec<Destination>) = 2,
} }

/// A command and its attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Command {
    pub(crate) command: u8,
    pub(crate) attributes: Vec<Ipvs>,
}

impl GenlFamily for Command {
    fn family_name() -> &'static str {
        "IPVS"
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Command {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Command {
    fn parse_with_param(attributes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: Payload::get(attributes)? })
    }
}

attributes! { Address {
    V4(Vec<u8>) = NLA_F_NET_BYTEORDER | 1,
} }

attributes! { Entry {
    Ip(Vec<Address>) = NLA_F_NESTED | 1,
    Line(u32) = 9,
} }

attributes! { Entries {
    Data(Vec<Entry>) = NLA_F_NESTED | 7,
} }

attributes! { Ipset {
    Protocol(u8) = 1,
    SetName(Vec<u8>) = 2,
    TypeName(Vec<u8>) = 3,
    Revision(u8) = 4,
    Family(u8) = 5,
    Data(Vec<u8>) = NLA_F_NESTED | 7,
    Entries(Vec<Entries>) = NLA_F_NESTED | 8,
    Line(u32) = 9,
} }

/// A command of ipset and its attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IpsetCommand {
    pub(crate) kind: u16,
    pub(crate) family: u8,
    pub(crate) attributes: Vec<Ipset>,
}

impl NetlinkSerializable for IpsetCommand {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        4 + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&[self.family, 0, 0, 0]);
        self.attributes.as_slice().emit(&mut buffer[4..]);
    }
}

impl NetlinkDeserializable for IpsetCommand {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let [family, _, _, _, attributes @ ..] = payload else {
            return Err(DecodeError::from("no header"));
        };
        Ok(Self { kind: header.message_type, family: *family, attributes: Payload::get(attributes)? })
    }
}
