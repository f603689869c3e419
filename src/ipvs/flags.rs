//! Flags of services, and flags as text.

use std::fmt;
use std::str::FromStr;

use super::numbers::{HASHED, PERSISTENT};
use crate::net::InvalidText;

bitflags::bitflags! {
    /// Flags of a service that the user sets (`IP_VS_SVC_F_*`).
    ///
    /// The flag of persistence is set by [`Persistence`] instead.
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct ServiceFlags: u32 {
        /// Schedule every packet by itself (`IP_VS_SVC_F_ONEPACKET`). UDP only.
        #[doc(alias = "IP_VS_SVC_F_ONEPACKET")]
        const ONE_PACKET = 0x4;
        /// The scheduler's first flag (`IP_VS_SVC_F_SCHED1`).
        #[doc(alias = "IP_VS_SVC_F_SCHED1")]
        const SCHEDULER_1 = 0x8;
        /// The scheduler's second flag (`IP_VS_SVC_F_SCHED2`).
        #[doc(alias = "IP_VS_SVC_F_SCHED2")]
        const SCHEDULER_2 = 0x10;
        /// The scheduler's third flag (`IP_VS_SVC_F_SCHED3`). No scheduler of Linux 7.3 uses it.
        #[doc(alias = "IP_VS_SVC_F_SCHED3")]
        const SCHEDULER_3 = 0x20;

        /// Flags without a name here are kept.
        const _ = !(PERSISTENT | HASHED);
    }
}

impl ServiceFlags {
    /// `sh` and `mh`: take another destination when the hashed one is unavailable (`IP_VS_SVC_F_SCHED_SH_FALLBACK`,
    /// `IP_VS_SVC_F_SCHED_MH_FALLBACK`).
    #[doc(alias("IP_VS_SVC_F_SCHED_SH_FALLBACK", "IP_VS_SVC_F_SCHED_MH_FALLBACK"))]
    pub const FALLBACK: Self = Self::SCHEDULER_1;
    /// `sh` and `mh`: hash the client's port, too (`IP_VS_SVC_F_SCHED_SH_PORT`, `IP_VS_SVC_F_SCHED_MH_PORT`).
    #[doc(alias("IP_VS_SVC_F_SCHED_SH_PORT", "IP_VS_SVC_F_SCHED_MH_PORT"))]
    pub const PORT: Self = Self::SCHEDULER_2;
}

/// Terms of `ipvsadm(8)`.
const WORDS: &[(&str, ServiceFlags)] = &[
    ("ops", ServiceFlags::ONE_PACKET),
    ("flag-1", ServiceFlags::SCHEDULER_1),
    ("flag-2", ServiceFlags::SCHEDULER_2),
    ("flag-3", ServiceFlags::SCHEDULER_3),
    ("sh-fallback", ServiceFlags::FALLBACK),
    ("sh-port", ServiceFlags::PORT),
    ("mh-fallback", ServiceFlags::FALLBACK),
    ("mh-port", ServiceFlags::PORT),
];

impl fmt::Display for ServiceFlags {
    /// Writes the terms of `ipvsadm(8)`, with commas: `ops,flag-1`. No flag is `none`, flags without a name are a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_words(f, WORDS.iter().map(|(word, flags)| (*word, flags.bits())), self.bits(), "none")
    }
}

impl FromStr for ServiceFlags {
    type Err = InvalidText;

    /// Reads words with commas. A word of one scheduler, such as `sh-port` or `mh-port`, is the flag of that number.
    ///
    /// ```
    /// # use lvs::ipvs::ServiceFlags;
    /// assert_eq!("ops,sh-port".parse(), Ok(ServiceFlags::ONE_PACKET | ServiceFlags::PORT));
    /// assert_eq!(ServiceFlags::PORT.to_string(), "flag-2");
    /// ```
    fn from_str(text: &str) -> Result<Self, InvalidText> {
        read_words(WORDS.iter().map(|(word, flags)| (*word, flags.bits())), text, "none")
            .map(Self::from_bits_retain)
            .ok_or_else(|| InvalidText::new(text, "flags such as ops,flag-1,sh-port, or none"))
    }
}

/// Writes the words of the bits that are set, and the other bits as a number.
pub(super) fn write_words<'a>(
    f: &mut fmt::Formatter<'_>,
    words: impl Iterator<Item = (&'a str, u32)>,
    bits: u32,
    none: &str,
) -> fmt::Result {
    if bits == 0 {
        return f.write_str(none);
    }
    let (mut rest, mut comma) = (bits, "");
    for (word, bit) in words {
        if rest & bit != 0 {
            write!(f, "{comma}{word}")?;
            (rest, comma) = (rest & !bit, ",");
        }
    }
    if rest == 0 { Ok(()) } else { write!(f, "{comma}{rest:#x}") }
}

/// Reads the text of [`write_words`].
pub(super) fn read_words<'a>(
    words: impl Iterator<Item = (&'a str, u32)> + Clone,
    text: &str,
    none: &str,
) -> Option<u32> {
    if text == none {
        return Some(0);
    }
    text.split(',').try_fold(0, |bits, part| {
        let named = words.clone().find(|(word, _)| *word == part).map(|(_, bit)| bit);
        let digits = part.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        named.or_else(|| u32::from_str_radix(digits?, 16).ok()).map(|bit| bits | bit)
    })
}

serde_text!(ServiceFlags);
