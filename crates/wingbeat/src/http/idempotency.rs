//! The parts of idempotency that routes share which store their reply themselves.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use super::request::IdempotencyKey;

/// For routes that are not one unit of work and store their reply themselves.
impl IdempotencyKey {
    /// The time for which the reply to a key is stored. The documented promise is 24 hours.
    pub const KEPT_FOR: Duration = Duration::from_secs(48 * 3600);

    /// Returns the SHA-256 hash of a body with sorted keys, so that equal JSON has one hash.
    ///
    /// ```
    /// use wingbeat::http::IdempotencyKey;
    ///
    /// let hash = IdempotencyKey::hash_of(br#"{"a":1,"b":2}"#);
    /// assert_eq!(IdempotencyKey::hash_of(br#"{ "b":2, "a":1 }"#), hash);
    /// ```
    #[must_use]
    pub fn hash_of(body: &[u8]) -> String {
        let canonical = serde_json::from_slice::<serde_json::Value>(body)
            .map_or_else(|_| body.to_vec(), |json| json.to_string().into_bytes());
        hex::encode(Sha256::digest(canonical))
    }

    /// Returns the problem of a key that an earlier request had with another body: 422
    /// `idempotency_key_reused`.
    #[must_use]
    pub fn reused() -> Problem {
        Problem::new(
            422,
            "idempotency_key_reused",
            "an earlier request with this Idempotency-Key had another body",
        )
    }
}
