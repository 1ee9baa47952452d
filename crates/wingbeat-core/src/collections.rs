//! Hash maps and sets with a reproducible iteration order.
//!
//! The standard library seeds each hash map at random, so its iteration order differs between two
//! runs and a simulation could not be repeated from its seed. The fixed hash function here offers
//! no protection against chosen keys: use a `BTreeMap` where clients choose the keys.

use std::hash::{BuildHasherDefault, Hasher};

/// A hash map with a fixed hash function.
///
/// ```
/// use wingbeat_core::HashMap;
///
/// let mut stock: HashMap<&str, u32> = HashMap::default(); // `new` is only for the random hasher
/// stock.insert("egg", 12);
/// assert_eq!(stock["egg"], 12);
/// ```
#[allow(clippy::disallowed_types, reason = "the alias sets a fixed hasher")]
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<FixedHasher>>;
/// A hash set with a fixed hash function.
#[allow(clippy::disallowed_types, reason = "the alias sets a fixed hasher")]
pub type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<FixedHasher>>;

/// A multiply-and-rotate hash over words of eight bytes, as Firefox and rustc use it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedHasher(u64);

const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

impl FixedHasher {
    fn add(&mut self, word: u64) {
        self.0 = self
            .0
            .wrapping_add(word)
            .wrapping_mul(MULTIPLIER)
            .rotate_left(26);
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.add(u64::from_le_bytes(
                chunk.try_into().expect("chunks of eight"),
            ));
        }
        let mut rest = [0_u8; 8];
        let tail = chunks.remainder();
        rest[..tail.len()].copy_from_slice(tail);
        self.add(u64::from_le_bytes(rest) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, n: u8) {
        self.add(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.add(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(20)
    }
}
