//! Parked deliveries and dead letters: what failed, why, how often, and the message itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::transport::Undecodable;
use wingbeat_core::{CorrelationId, Envelope, Kind, Name, Timestamp};

/// Where parked deliveries wait.
pub(crate) const PARKED: Name = Name::new("wb.parked");
/// Where dead letters lie.
pub const TABLE: Name = Name::new("wb.dead");

/// What went wrong so far with one delivery.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failures {
    /// Attempts in all.
    pub attempts: u32,
    /// Times it was parked.
    pub parked: u32,
    /// When it first failed.
    pub first_at: Option<Timestamp>,
    /// The first error.
    pub first_error: Option<String>,
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) queue: String,
    pub(crate) failures: Failures,
    /// The envelope, in hexadecimal.
    pub(crate) envelope: String,
}

/// A delivery that the runtime gave up on. An incident for a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// The queue it came from.
    pub subscription: String,
    /// The message's wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short code such as `undecodable`.
    pub reason: String,
    /// The last error in words.
    pub error: String,
    /// What failed before.
    pub failures: Failures,
    /// When it was given up.
    pub last_at: Timestamp,
    /// Letters with the same fingerprint are one incident.
    pub fingerprint: String,
    /// A person has discarded it; it leaves the lists and stays in the counts.
    pub discarded: bool,
    /// The envelope, in hexadecimal.
    pub(crate) envelope: String,
}

impl DeadLetter {
    /// The message with its attributes.
    #[must_use]
    pub fn message(&self) -> Option<Envelope> {
        unpack(&self.envelope)
    }
}

pub(crate) fn pack(envelope: &Envelope) -> String {
    hex::encode(envelope.encode())
}

pub(crate) fn unpack(text: &str) -> Option<Envelope> {
    Envelope::decode(&Bytes::from(hex::decode(text).ok()?))
}

/// Same queue, type, reason and shape of error: digits are left out, since ids differ.
pub(crate) fn fingerprint(queue: &str, kind: &str, reason: &str, error: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let shape: String = error
        .chars()
        .filter(|c| !c.is_ascii_hexdigit())
        .take(200)
        .collect();
    let digest = Sha256::digest(format!("{queue}\n{kind}\n{reason}\n{shape}"));
    hex::encode(&digest[..8])
}

/// Stands in for a message that could not be decoded, so that it can be shown and counted.
pub(crate) fn envelope_of(broken: &Undecodable, now: Timestamp) -> Envelope {
    Envelope {
        id: broken.id,
        source: "unknown".into(),
        kind: "undecodable".into(),
        role: Kind::Event,
        key: broken.id.to_string(),
        time: now,
        correlation: CorrelationId(broken.id.0),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        body: broken.raw.clone(),
    }
}
