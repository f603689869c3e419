//! Handles of sets, and sets as the kernel lists them.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::entry::{read_address, set_name};
use super::kind::{AnyType, Kind, Method, SetType};
use super::new_set::SetAttr;
use super::numbers::{Command, family, flag};
use super::options::{BitmapRange, SetOptions};
use super::parts::SetName;
use super::ports::Ports;
use crate::error::DecodeError;
use crate::net::Family;
use crate::wire::reader::required;
use crate::wire::{Attr, Attrs, Kind as Attribute};

/// Handle of an existing set: its name, its type, and the family of its addresses.
///
/// A handle is only a name: after a rename or swap it refers to the set that now has the name.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Set<T: SetType> {
    name: SetName,
    kind: Kind,
    family: Option<Family>,
    of: PhantomData<T>,
}

impl<T: SetType> Set<T> {
    pub(crate) fn new(name: SetName, kind: Kind, family: Option<Family>) -> Self {
        Self { name, kind, family, of: PhantomData }
    }

    /// Returns its name.
    pub fn name(&self) -> SetName {
        self.name
    }

    /// Returns its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the family of its addresses, if its type has one.
    pub fn family(&self) -> Option<Family> {
        self.family
    }

    /// Returns the type-erased handle.
    pub fn any(&self) -> Set<AnyType> {
        Set::new(self.name, self.kind, self.family)
    }
}

impl<T: SetType> fmt::Display for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// A set as the kernel lists it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct SetInfo {
    /// The set.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub set: Set<AnyType>,
    /// The revision of its type with which it was created.
    #[doc(alias = "IPSET_ATTR_REVISION")]
    pub revision: u8,
    /// The number by which rules of packet filters refer to it; `None` on kernels before Linux 4.20.
    #[doc(alias = "IPSET_ATTR_INDEX")]
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub index: Option<u16>,
    /// Options of the set, and its present size.
    #[cfg_attr(feature = "serde", serde(default))]
    pub options: SetOptions,
    /// Number of rules and lists that refer to it.
    #[doc(alias = "IPSET_ATTR_REFERENCES")]
    #[cfg_attr(feature = "serde", serde(default))]
    pub references: u32,
    /// Its memory in bytes.
    #[doc(alias = "IPSET_ATTR_MEMSIZE")]
    #[cfg_attr(feature = "serde", serde(rename = "memsize", default))]
    pub memory: u32,
    /// Number of entries.
    #[doc(alias = "IPSET_ATTR_ELEMENTS")]
    #[cfg_attr(feature = "serde", serde(rename = "numentries", default))]
    pub entries: u32,
}

// The bytes.

pub(crate) fn family_number(family: Option<Family>) -> u8 {
    match family {
        None => family::UNSPECIFIED,
        Some(Family::Inet) => family::INET,
        Some(Family::Inet6) => family::INET6,
    }
}

/// Attributes of a message about a set that are present.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    pub(crate) name: Option<SetName>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) revision: Option<u8>,
    pub(crate) lowest_revision: Option<u8>,
    pub(crate) family: Option<u8>,
    pub(crate) index: Option<u16>,
    pub(crate) protocol: Option<u8>,
    pub(crate) line: Option<u32>,
    /// Options that the set was created with.
    pub(crate) data: Option<Attrs<'a, SetAttr>>,
    pub(crate) entries: Option<Attrs<'a, Command>>,
    /// Range of the entries in the attributes of the message; empty if it has none.
    pub(crate) range_of_entries: Range<usize>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(attributes: &'a [u8]) -> Result<Self, DecodeError> {
        let (parts, fault) = Self::read_all(attributes)?;
        fault.map_or(Ok(parts), Err)
    }

    /// Reads all attributes that can be read, with the fault of the first that cannot.
    ///
    /// # Errors
    /// When the bounds of an attribute are wrong, so that the ones after it cannot be found.
    pub(crate) fn read_all(attributes: &'a [u8]) -> Result<(Self, Option<DecodeError>), DecodeError> {
        let (mut parts, mut fault) = (Self::default(), None);
        let mut attrs = Attrs::<Command>::new(attributes);
        while let Some(attr) = attrs.next() {
            let attr = attr?;
            if attr.kind == Command::Entries {
                parts.range_of_entries = attrs.range_of(&attr);
            }
            if let Err(error) = parts.take(&attr) {
                fault = fault.or(Some(error));
            }
        }
        Ok((parts, fault))
    }

    #[inline]
    fn take(&mut self, attr: &Attr<'a, Command>) -> Result<(), DecodeError> {
        match attr.kind {
            Command::Protocol => self.protocol = Some(attr.u8()?),
            Command::SetName => self.name = Some(set_name(attr.text_bytes()?, Command::SetName)?),
            Command::TypeName => self.kind = Some(attr.text()?),
            Command::Revision => self.revision = Some(attr.u8()?),
            Command::Family => self.family = Some(attr.u8()?),
            Command::Flags => {}
            Command::Data => self.data = Some(attr.nested()),
            Command::Entries => self.entries = Some(attr.nested()),
            // In the byte order of the request.
            Command::Line => self.line = Some(attr.u32_ne()?),
            Command::LowestRevision => self.lowest_revision = Some(attr.u8()?),
            Command::Index => self.index = Some(attr.u16_be()?),
        }
        Ok(())
    }

    /// The lowest and the highest of an answer's revisions or versions.
    pub(crate) fn lowest_to(&self, highest: u8) -> Result<(u8, u8), DecodeError> {
        match self.lowest_revision.unwrap_or(highest) {
            lowest if lowest <= highest => Ok((lowest, highest)),
            lowest => Err(DecodeError::Value { attribute: Command::LowestRevision.name(), value: lowest.into() }),
        }
    }

    pub(crate) fn set(&self) -> Result<Set<AnyType>, DecodeError> {
        let name = required(self.name, Command::SetName)?;
        let kind = required(self.kind, Command::TypeName)?;
        let kind = kind.parse::<Kind>().map_err(|_| DecodeError::Text { attribute: Command::TypeName.name() })?;
        let family = match required(self.family, Command::Family)? {
            // A type without a family returns the family of the request that created it.
            _ if !kind.has_family() && kind.method() != Method::Bitmap => None,
            family::INET if kind != Kind::BitmapPort => Some(Family::Inet),
            family::INET6 if kind.has_family() => Some(Family::Inet6),
            _ if kind == Kind::BitmapPort => None,
            other => {
                return Err(DecodeError::Value { attribute: Command::Family.name(), value: other.into() });
            }
        };
        Ok(Set::new(name, kind, family))
    }

    /// Returns the set of a listing.
    pub(crate) fn info(&self) -> Result<SetInfo, DecodeError> {
        let set = self.set()?;
        let mut header = Header::default();
        for attr in required(self.data.clone(), Command::Data)? {
            header.read(&attr?)?;
        }
        header.options.family = set.family.filter(|_| set.kind.has_family());
        header.options.range = match (header.from, header.to, header.ports) {
            (Some(IpAddr::V4(first)), Some(IpAddr::V4(last)), _) => Some(BitmapRange::Addresses(first, last)),
            (_, _, (Some(first), Some(last))) => Some(BitmapRange::Ports(Ports { first, last })),
            _ => None,
        };
        Ok(SetInfo {
            set,
            revision: required(self.revision, Command::Revision)?,
            index: self.index,
            options: header.options,
            references: header.references,
            memory: header.memory,
            entries: header.entries,
        })
    }
}

#[derive(Default)]
struct Header {
    options: SetOptions,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    ports: (Option<u16>, Option<u16>),
    references: u32,
    memory: u32,
    entries: u32,
}

impl Header {
    fn read(&mut self, attr: &Attr<'_, SetAttr>) -> Result<(), DecodeError> {
        let options = &mut self.options;
        match attr.kind {
            SetAttr::Ip => self.from = Some(read_address(attr)?),
            SetAttr::IpTo => self.to = Some(read_address(attr)?),
            // Only requests have it; kernels send both ends of the range.
            SetAttr::Cidr => {}
            SetAttr::Port => self.ports.0 = Some(attr.u16_be()?),
            SetAttr::PortTo => self.ports.1 = Some(attr.u16_be()?),
            SetAttr::Timeout => options.timeout = Some(Duration::from_secs(attr.u32_be()?.into())),
            SetAttr::Flags => {
                let flags = attr.u32_be()?;
                options.counters = flags & flag::WITH_COUNTERS != 0;
                options.comment = flags & flag::WITH_COMMENT != 0;
                options.skbinfo = flags & flag::WITH_SKBINFO != 0;
                options.forceadd = flags & flag::WITH_FORCEADD != 0;
            }
            // The one number that the kernel sends in its own byte order.
            SetAttr::MarkMask => options.markmask = Some(attr.u32_ne()?),
            SetAttr::Bitmask => options.bitmask = Some(read_address(attr)?),
            SetAttr::InitVal => options.initval = Some(attr.u32_be()?),
            SetAttr::HashSize => options.hashsize = Some(attr.u32_be()?),
            SetAttr::MaxElem => options.maxelem = Some(attr.u32_be()?),
            SetAttr::Netmask => options.netmask = Some(attr.u8()?),
            SetAttr::BucketSize => options.bucketsize = Some(attr.u8()?),
            SetAttr::Size => options.size = Some(attr.u32_be()?),
            SetAttr::Elements => self.entries = attr.u32_be()?,
            SetAttr::References => self.references = attr.u32_be()?,
            SetAttr::MemSize => self.memory = attr.u32_be()?,
        }
        Ok(())
    }
}
