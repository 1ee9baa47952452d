//! The signature of claims on a flash sale.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;
use uuid::Uuid;
use wingbeat::Timestamp;

use crate::{ClaimId, SaleId, UserId};

/// The bits of an id that contain the signature: its last six bytes.
const TAG_BITS: u32 = 48;
/// The bits of `nonce` that an id contains between its time and its signature.
const NONCE_BITS: u32 = 26;

/// The key that signs the claims of one flash sale.
///
/// The id of a claim is a UUID of version 7: the time of the claim, random bits, and a signature
/// (HMAC-SHA256, 48 bits) of both, the sale and the user. Whoever has the key recognizes a claim
/// that the cache granted and lost before the store recorded it. The key proves nothing more: only
/// a recorded claim is a unit.
///
/// ```
/// use shop_contracts::{ClaimKey, SaleId, UserId};
/// use uuid::Uuid;
/// use wingbeat::Timestamp;
///
/// let key = ClaimKey::new([7; 32]);
/// let sale = SaleId(Uuid::from_u128(1));
/// let (ann, eve) = (UserId(Uuid::from_u128(2)), UserId(Uuid::from_u128(3)));
/// let claim = key.sign(sale, ann, Timestamp::from_millis(1_700_000_000_000), 99);
/// assert!(key.has_signed(claim, sale, ann));
/// assert!(!key.has_signed(claim, sale, eve));
/// assert_eq!(ClaimKey::time(claim), Timestamp::from_millis(1_700_000_000_000));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct ClaimKey([u8; 32]);

/// The error of a text that is not a key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a key is 64 hexadecimal digits")]
pub struct InvalidClaimKey;

impl ClaimKey {
    /// The time after the end of a sale in which its claims are recognized without a record.
    pub const RECOGNIZED_FOR: Duration = Duration::from_secs(24 * 3600);

    /// Creates a key from random bytes.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Creates the id of a claim. `nonce` is random.
    #[must_use]
    pub fn sign(&self, sale: SaleId, user: UserId, at: Timestamp, nonce: u64) -> ClaimId {
        let millis = u128::from(at.as_millis().unsigned_abs());
        let nonce = u128::from(nonce) & ((1 << NONCE_BITS) - 1);
        // The layout of RFC 9562, section 5.7: 12 bits of the nonce follow the version, and 14
        // follow the variant.
        let unsigned = (millis << 80)
            | (7 << 76)
            | ((nonce >> 14) << 64)
            | (0b10 << 62)
            | ((nonce & 0x3fff) << TAG_BITS);
        let tag = self.mac(unsigned, sale, user).finalize().into_bytes();
        let tag = tag[..6]
            .iter()
            .fold(0, |tag, byte| (tag << 8) | u128::from(*byte));
        ClaimId(Uuid::from_u128(unsigned | tag))
    }

    /// Returns whether this key has signed a claim of this user on this sale.
    #[must_use]
    pub fn has_signed(&self, claim: ClaimId, sale: SaleId, user: UserId) -> bool {
        let (unsigned, tag) = (
            claim.0.as_u128() >> TAG_BITS << TAG_BITS,
            &claim.0.as_bytes()[10..],
        );
        claim.0.get_version_num() == 7
            && self
                .mac(unsigned, sale, user)
                .verify_truncated_left(tag)
                .is_ok()
    }

    /// Returns the time of a claim.
    #[must_use]
    pub fn time(claim: ClaimId) -> Timestamp {
        let millis = claim.0.as_u128() >> 80;
        Timestamp::from_millis(i64::try_from(millis).unwrap_or_default())
    }

    /// Returns the earliest end of a sale whose key can have signed this claim, and whose claims
    /// are recognized now. A claim is made before the end of its sale, and contains its time.
    #[must_use]
    pub fn earliest_end(claim: ClaimId, now: Timestamp) -> Timestamp {
        Self::time(claim).min(now).max(now - Self::RECOGNIZED_FOR)
    }

    fn mac(&self, unsigned: u128, sale: SaleId, user: UserId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(&unsigned.to_be_bytes());
        mac.update(sale.0.as_bytes());
        mac.update(user.0.as_bytes());
        mac
    }
}

impl fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimKey(..)")
    }
}

impl TryFrom<String> for ClaimKey {
    type Error = InvalidClaimKey;

    fn try_from(text: String) -> Result<Self, InvalidClaimKey> {
        let mut secret = [0; 32];
        hex::decode_to_slice(text, &mut secret).map_err(|_| InvalidClaimKey)?;
        Ok(Self(secret))
    }
}

impl From<ClaimKey> for String {
    fn from(key: ClaimKey) -> Self {
        hex::encode(key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALE: SaleId = SaleId(Uuid::from_u128(1));
    const ANN: UserId = UserId(Uuid::from_u128(2));
    const AT: Timestamp = Timestamp::from_millis(1_764_000_000_123);

    fn key() -> ClaimKey {
        ClaimKey::new(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_claim_is_a_uuid_of_version_7_with_its_time() {
        for nonce in [0, 1, 1 << 20, u64::MAX] {
            let claim = key().sign(SALE, ANN, AT, nonce);
            assert_eq!(claim.0.get_version_num(), 7);
            assert_eq!(claim.0.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(ClaimKey::time(claim), AT);
            assert!(key().has_signed(claim, SALE, ANN));
        }
    }

    #[test]
    fn a_claim_with_one_other_bit_is_forged() {
        let claim = key().sign(SALE, ANN, AT, 77);
        for bit in 0..128 {
            let forged = ClaimId(Uuid::from_u128(claim.0.as_u128() ^ (1 << bit)));
            assert!(!key().has_signed(forged, SALE, ANN), "bit {bit}");
        }
    }

    #[test]
    fn a_claim_is_of_its_sale_its_user_and_its_key() {
        let claim = key().sign(SALE, ANN, AT, 77);
        assert!(!key().has_signed(claim, SaleId::default(), ANN));
        assert!(!key().has_signed(claim, SALE, UserId::default()));
        assert!(!ClaimKey::new([0; 32]).has_signed(claim, SALE, ANN));
    }

    #[test]
    fn a_claim_is_of_a_sale_that_ends_after_it_and_not_long_ago() {
        let claim = key().sign(SALE, ANN, AT, 77);
        let (hour, day) = (Duration::from_secs(3600), ClaimKey::RECOGNIZED_FOR);
        let made = ClaimKey::time(claim);
        assert_eq!(ClaimKey::earliest_end(claim, made + hour), made);
        assert_eq!(
            ClaimKey::earliest_end(claim, made + day + hour),
            made + hour
        );
        assert_eq!(ClaimKey::earliest_end(claim, made - hour), made - hour);
        let id = ClaimId(Uuid::max());
        assert_eq!(ClaimKey::earliest_end(id, AT), AT, "no claim");
    }

    #[test]
    fn two_claims_of_one_moment_differ() {
        let ids = [1, 2].map(|nonce| key().sign(SALE, ANN, AT, nonce));
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let text = String::from(key());
        assert_eq!(ClaimKey::try_from(text.clone()), Ok(key()));
        for wrong in [&text[1..], "", &text.replace('a', "g")] {
            assert_eq!(ClaimKey::try_from(wrong.to_owned()), Err(InvalidClaimKey));
        }
        assert_eq!(format!("{:?}", key()), "ClaimKey(..)");
    }
}
