//! Pairs of Ed25519 keys.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// The size of a public key in bytes.
pub(super) const PUBLIC_BYTES: usize = 32;
/// The size of a seed, from which a pair of keys is derived, in bytes.
const SEED_BYTES: usize = 32;

/// A public key.
pub(super) type PublicKey = [u8; PUBLIC_BYTES];
/// A private key: the seed of a pair.
pub(super) type Seed = [u8; SEED_BYTES];

/// Returns a new seed from the operating system. Keys are not part of a simulated run.
pub(super) fn seed() -> Seed {
    let random = ring::rand::generate(&SystemRandom::new());
    random
        .expect("the operating system has randomness")
        .expose()
}

pub(super) fn pair(seed: &Seed) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of the right size")
}

pub(super) fn public(pair: &Ed25519KeyPair) -> PublicKey {
    let key = pair.public_key().as_ref();
    key.try_into().expect("a public key has 32 bytes")
}
