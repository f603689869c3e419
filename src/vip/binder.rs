//! Virtual IPs and the ways to bind them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::Cause;
use crate::name::{Interface, InvalidName, Name};
use crate::net::{Family, InvalidText, number, unusable_for_host};

/// A virtual IP: one address, or a prefix, which only local routes can bind.
///
/// ```
/// # use lvs::vip::Vip;
/// let one: Vip = "10.96.0.10".parse()?;
/// assert_eq!(one, Vip::from(std::net::Ipv4Addr::new(10, 96, 0, 10)));
/// let all: Vip = "10.96.0.0/12".parse()?;
/// assert_eq!((all.is_prefix(), all.length(), all.to_string()), (true, 12, "10.96.0.0/12".to_owned()));
/// # Ok::<(), lvs::vip::InvalidVip>(())
/// ```
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Vip {
    address: IpAddr,
    length: u8,
}

/// Hashes one number, as [`ServiceKey`](crate::ipvs::ServiceKey) does.
impl Hash for Vip {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.address {
            IpAddr::V4(v4) => state.write_u64(u64::from(self.length) << 32 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => state.write_u128(v6.to_bits()),
        }
    }
}

impl Vip {
    /// Returns the prefix of all addresses that begin with the first `length` bits of `address`. The other bits must be
    /// zero.
    ///
    /// # Errors
    /// When another bit is set, or the length is 0 or longer than an address.
    pub fn prefix(address: IpAddr, length: u8) -> Result<Self, InvalidVip> {
        let family = Family::of(address);
        let wrong = |problem| InvalidVip(format!("{address}/{length} {problem}"));
        if !(1..=family.bits()).contains(&length) {
            return Err(wrong("has an impossible prefix length"));
        }
        let behind = match address {
            IpAddr::V4(address) => address.to_bits().checked_shl(length.into()).unwrap_or(0) != 0,
            IpAddr::V6(address) => address.to_bits().checked_shl(length.into()).unwrap_or(0) != 0,
        };
        if behind { Err(wrong("has bits after its prefix")) } else { Ok(Self { address, length }) }
    }

    /// Returns the address, or the first address of the prefix.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the prefix length in bits: 32 or 128 for one address.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether it has more than one address.
    pub fn is_prefix(&self) -> bool {
        self.length < self.family().bits()
    }

    pub(crate) fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Whether it contains all addresses of `other`.
    pub fn contains(&self, other: Self) -> bool {
        let first = |address: IpAddr| match address {
            IpAddr::V4(address) => address.to_bits().checked_shr(32 - u32::from(self.length)).map(u128::from),
            IpAddr::V6(address) => address.to_bits().checked_shr(128 - u32::from(self.length)),
        };
        self.family() == other.family() && self.length <= other.length && first(self.address) == first(other.address)
    }
}

impl From<IpAddr> for Vip {
    fn from(address: IpAddr) -> Self {
        Self { address, length: Family::of(address).bits() }
    }
}

impl From<Ipv4Addr> for Vip {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Vip {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

/// Values that convert to a virtual IP: a [`Vip`], an address, or a reference to either.
///
/// ```
/// # use lvs::vip::{IntoVip, Vip};
/// let address = std::net::Ipv4Addr::new(10, 96, 0, 10);
/// assert_eq!(address.into_vip(), Vip::from(address));
/// assert_eq!((&address).into_vip(), Vip::from(address));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a virtual IP",
    label = "neither an address nor a `Vip`",
    note = "to read a virtual IP from text, write `text.parse::<Vip>()?`",
    note = "the virtual IP of a socket address is `address.ip()`"
)]
pub trait IntoVip {
    /// Converts the value to the virtual IP.
    fn into_vip(self) -> Vip;
}

macro_rules! into_vip {
    ($($type:ty),+) => {
        $(
            impl IntoVip for $type {
                fn into_vip(self) -> Vip {
                    self.into()
                }
            }

            impl IntoVip for &$type {
                fn into_vip(self) -> Vip {
                    (*self).into()
                }
            }
        )+
    };
}

into_vip!(Vip, IpAddr, Ipv4Addr, Ipv6Addr);

impl FromStr for Vip {
    type Err = InvalidVip;

    fn from_str(text: &str) -> Result<Self, InvalidVip> {
        let wrong = || InvalidVip(format!("{text:?} is neither an address nor a prefix"));
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(number(length).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        length.map_or(Ok(address.into()), |length| Self::prefix(address, length))
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_prefix() {
            true => f.pad(&format!("{}/{}", self.address, self.length)),
            false => self.address.fmt(f),
        }
    }
}

impl fmt::Debug for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vip({self})")
    }
}

/// A text or prefix that is no virtual IP.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidVip(String);

/// A way to make addresses local, which also identifies the addresses that it owns. See [the module](super) for the
/// choice.
///
/// It is a value only: an interface is created when the first address is bound.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Binder(pub(super) Way);

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Way {
    Dummy(Interface),
    Routes(u8),
    Label { interface: Interface, label: Name<15>, protocol: u8 },
}

/// Numbers up to this belong to the kernel and the administrator (`RTPROT_STATIC`; `IFAPROT_KERNEL_LL` is below).
const LAST_RESERVED: u8 = 4;

impl Binder {
    /// Returns a binder of addresses on a dummy interface of its own. The interface is created when the first address
    /// is bound. It stays down, since its addresses are local even then.
    ///
    /// It owns every host address (`/32`, `/128`) of that interface, whoever added it.
    ///
    /// # Errors
    /// When no interface can have this name, or the name has a `%`: the kernel treats it as a pattern and creates an
    /// interface of another name. The kernel reserves `all` and `default`.
    #[doc(alias("IFLA_INFO_KIND", "RTM_NEWLINK"))]
    pub fn dummy(name: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
        let name = Interface::new(name)?;
        match name.as_bytes() {
            bytes @ (b"all" | b"default") => {
                Err(InvalidName::new("interface name", bytes, "is reserved by the kernel"))
            }
            bytes if bytes.contains(&b'%') => {
                Err(InvalidName::new("interface name", bytes, "has a %, which the kernel treats as a pattern"))
            }
            _ => Ok(Self(Way::Dummy(name))),
        }
    }

    /// Returns a binder of routes of type `local` in the table `local`, for addresses and for prefixes.
    ///
    /// It owns the routes of this protocol number (`RTPROT_*`). Choose any number from 5 to 255 that no other program on
    /// the machine uses: `/etc/iproute2/rt_protos` lists those of routing daemons. Lower numbers belong to the kernel and
    /// the administrator: [`Vips::bind`](super::Vips::bind) refuses them as invalid input.
    #[doc(alias("RTN_LOCAL", "RT_TABLE_LOCAL", "RTPROT"))]
    pub const fn local_routes(protocol: u8) -> Self {
        Self(Way::Routes(protocol))
    }

    /// Returns a binder of addresses on an interface with other addresses. They have a label such as `eth0:1`: the part
    /// before the first colon is the interface.
    ///
    /// It owns the host addresses of that interface with this protocol number (`IFA_PROTO`, since Linux 5.18): any from
    /// 5 to 255. IPv4 addresses must also have the label. IPv6 addresses have no labels: binders with several
    /// labels on one interface need a number each.
    ///
    /// # Errors
    /// When no interface can have the name before the colon, the part after it is empty, or the label is longer than 15
    /// bytes.
    #[doc(alias("IFA_LABEL", "IFA_PROTO"))]
    pub fn label(label: impl AsRef<[u8]>, protocol: u8) -> Result<Self, InvalidName> {
        let label = label.as_ref();
        let mut parts = label.splitn(2, |byte| *byte == b':');
        let (interface, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let interface = Interface::new(interface)?;
        if number.is_empty() {
            return Err(InvalidName::new("label", label, "is not an interface, a colon and at least one byte"));
        }
        Ok(Self(Way::Label { interface, label: Name::new("label", label)?, protocol }))
    }

    /// Refuses a virtual IP that the binder cannot bind, before anything is sent.
    pub(super) fn check(&self, vip: Vip) -> Result<(), Cause> {
        let wrong = |problem: String| Err(Cause::InvalidInput(problem.into()));
        self.check_protocol()?;
        // A prefix that begins with 0.0.0.0 or `::` has addresses of hosts.
        let begins_with_zeros = vip.is_prefix() && vip.address.is_unspecified();
        if let Some(problem) = unusable_for_host(vip.address).filter(|_| !begins_with_zeros) {
            return wrong(problem);
        }
        match self.0 {
            Way::Dummy(_) | Way::Label { .. } if vip.is_prefix() => {
                wrong(format!("only local routes can bind a prefix such as {vip}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_protocol(&self) -> Result<(), Cause> {
        match self.0 {
            Way::Routes(protocol) | Way::Label { protocol, .. } if protocol <= LAST_RESERVED => {
                let problem = format!(
                    "the protocol number {protocol} is reserved for the kernel or the administrator: use one above 4"
                );
                Err(Cause::InvalidInput(problem.into()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Binder {
    /// Writes the text of errors: `vip0`, `the local routes of protocol 77`, `eth0:1`.
    ///
    /// The alternate form `{:#}` is complete, and [`FromStr`] reads it: `dummy vip0`, `local-routes 77`,
    /// `label eth0:1 77`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, f.alternate()) {
            (Way::Dummy(name), false) => write!(f, "{name}"),
            (Way::Routes(protocol), false) => write!(f, "the local routes of protocol {protocol}"),
            (Way::Label { label, .. }, false) => f.write_str(&label.lossy()),
            (Way::Dummy(name), true) => write!(f, "dummy {name}"),
            (Way::Routes(protocol), true) => write!(f, "local-routes {protocol}"),
            (Way::Label { label, protocol, .. }, true) => write!(f, "label {} {protocol}", label.lossy()),
        }
    }
}

impl FromStr for Binder {
    type Err = InvalidText;

    /// Reads the alternate form of [`Display`](fmt::Display).
    ///
    /// ```
    /// # use lvs::vip::Binder;
    /// let binder: Binder = "local-routes 77".parse()?;
    /// assert_eq!(binder, Binder::local_routes(77));
    /// assert_eq!(format!("{binder:#}"), "local-routes 77");
    /// # Ok::<(), lvs::InvalidText>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let parsed = match text.split_once(' ') {
            Some(("dummy", name)) => Self::dummy(name).ok(),
            Some(("local-routes", protocol)) => number(protocol).map(Self::local_routes),
            Some(("label", rest)) => {
                rest.rsplit_once(' ').and_then(|(label, protocol)| Self::label(label, number(protocol)?).ok())
            }
            _ => None,
        };
        parsed.ok_or_else(|| InvalidText::new(text, "a binder such as dummy vip0, local-routes 77 or label eth0:1 77"))
    }
}

serde_text!(Vip, Binder);

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(text: &str) -> Vip {
        text.parse().unwrap()
    }

    #[test]
    fn text_reads_back() {
        for text in ["10.96.0.10", "10.96.0.0/12", "128.0.0.0/1", "fd00:96::a", "fd00:96::/64", "8000::/1"] {
            assert_eq!(vip(text).to_string(), text);
        }
        assert_eq!(vip("10.96.0.10/32"), vip("10.96.0.10"));
        assert_eq!(vip("fd00::1/128"), vip("fd00::1"));
    }

    #[test]
    fn invalid_prefixes_are_refused() {
        for text in [
            "",
            "10.96.0",
            "10.96.0.1/31",
            "10.96.0.0/33",
            "0.0.0.0/0",
            "fd00::1/127",
            "fd00::/129",
            "::/0",
            "10.0.0.0/-8",
            "10.0.0.0/+8",
            "fd00::/+16",
            "10.0.0.0/x",
        ] {
            assert!(text.parse::<Vip>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_its_addresses_and_longer_prefixes() {
        assert!(vip("10.96.0.0/12").contains(vip("10.111.255.255")));
        assert!(vip("10.96.0.0/12").contains(vip("10.96.0.0/12")));
        assert!(!vip("10.96.0.0/12").contains(vip("10.112.0.0")));
        assert!(!vip("10.96.0.0/12").contains(vip("10.0.0.0/8")));
        assert!(vip("fd00::/16").contains(vip("fd00:1::/64")));
        assert!(!vip("fd00::/16").contains(vip("10.0.0.1")));
        assert!(vip("fd00::1").contains(vip("fd00::1")) && !vip("fd00::1").contains(vip("fd00::2")));
    }

    #[test]
    fn a_label_begins_with_its_interface() {
        let binder = Binder::label("eth0:1", 77).unwrap();
        let Way::Label { interface, .. } = binder.0 else { panic!("{binder:?}") };
        assert_eq!((interface.as_bytes(), binder.to_string().as_str()), (&b"eth0"[..], "eth0:1"));
        for label in ["eth0", "eth0:", ":1", "", "eth0:1234567890a", "a b:1"] {
            assert!(Binder::label(label, 77).is_err(), "{label}");
        }
    }

    #[test]
    fn binders_read_back_from_their_alternate_text() {
        for text in
            ["dummy vip0", "dummy caf\u{e9}", "local-routes 0", "local-routes 255", "label eth0:1 77", "label a:b c 5"]
        {
            assert_eq!(text.parse::<Binder>().map(|binder| format!("{binder:#}")).as_deref(), Ok(text));
        }
        for text in [
            "",
            "vip0",
            "dummy",
            "dummy ",
            "dummy a b",
            "local-routes 256",
            "local-routes +1",
            "label eth0 7",
            "label e:1",
        ] {
            assert_eq!(text.parse::<Binder>().map_err(|error| error.text().to_owned()), Err(text.to_owned()));
        }
    }
}
