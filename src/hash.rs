//! Sets of keys that the kernel lists, for the bars of lists and of the director: the standard hasher would take a
//! tenth of the instructions of a list.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A set of short keys.
pub(crate) type KeySet<K> = HashSet<K, Keyed>;

/// A hasher with a secret of its own: clients of a cluster choose addresses and ports.
#[derive(Clone, Debug)]
pub(crate) struct Keyed(u64);

/// Multiplies each number with a constant and folds the product.
#[derive(Debug)]
pub(crate) struct KeyHasher(u64);

impl Default for Keyed {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.0)
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_ne_bytes(padded));
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
    fn write_u64(&mut self, number: u64) {
        // The digits of the golden ratio: an odd number, with as many ones as zeros.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_are_apart_in_the_bits_that_a_table_uses() {
        let keyed = Keyed::default();
        let hashes: Vec<_> = (0u64..4096).map(|number| keyed.hash_one(number)).collect();
        for bits in [|hash: u64| hash % 4096, |hash: u64| hash >> 52] {
            let distinct: HashSet<_> = hashes.iter().map(|hash| bits(*hash)).collect();
            // As many as of random numbers, 2,589, or nearly.
            assert!(distinct.len() > 2300, "{}", distinct.len());
        }
    }

    #[test]
    fn bytes_count_in_their_order() {
        let keyed = Keyed::default();
        let texts = ["", "a", "b", "ab", "ba", "abcdefgh", "abcdefghi", "bcdefgha"];
        let hashes: HashSet<_> = texts.iter().map(|text| keyed.hash_one(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
