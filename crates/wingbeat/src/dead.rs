//! Parked deliveries and dead letters: what failed, why, how often, and the message itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::transport::{Broken, Undecodable};
use wingbeat_core::unit::{Outcome, Write};
use wingbeat_core::{CorrelationId, Envelope, Key, Kind, Name, Result, Timestamp};

use crate::scope::{ServiceContext, counter};
use crate::{Scope, encode};

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
    /// It is no message, and stays none.
    #[serde(default)]
    pub(crate) broken: Option<Broken>,
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
    /// What came was no message: why, and its headers as they came.
    #[serde(default)]
    pub broken: Option<Broken>,
    /// The envelope, in hexadecimal.
    pub(crate) envelope: String,
}

/// Stands for the subscription of a message that could not even be published.
pub(crate) const OUTBOX: Name = Name::new("wb.outbox");

impl DeadLetter {
    /// Gives up on a message of `queue`, for a short reason and in more words.
    pub(crate) fn new(
        scope: &Scope,
        queue: Name,
        envelope: &Envelope,
        (reason, error): (&str, &str),
        mut failures: Failures,
    ) -> Self {
        failures.attempts = failures.attempts.max(1);
        failures.first_at.get_or_insert(scope.now());
        let letter = Self {
            id: scope.new_id(),
            subscription: queue.to_string(),
            kind: envelope.kind.to_string(),
            reason: reason.into(),
            error: error.into(),
            failures,
            last_at: scope.now(),
            fingerprint: fingerprint(queue.as_str(), &envelope.kind, reason, error),
            discarded: false,
            broken: None,
            envelope: pack(envelope),
        };
        tracing::error!(%queue, message = %envelope.id, reason, "dead letter {}: {error}", letter.id);
        letter
    }

    /// Puts it where dead letters lie, and counts it as such.
    pub(crate) fn lay(&self, scope: &Scope) -> Result<()> {
        scope.write(Write {
            key: Key::new(TABLE, self.id.to_string()),
            body: Some(encode(self)),
            due_at: None,
            expires_at: None,
        })?;
        scope.count(counter("dead", &self.subscription), 1)
    }

    /// The message with its attributes.
    #[must_use]
    pub fn message(&self) -> Option<Envelope> {
        unpack(&self.envelope)
    }
}

/// Keeps a message that no broker will take with its service's dead letters; whether that is durable.
pub(crate) async fn unsendable(
    services: &BTreeMap<Name, Arc<ServiceContext>>,
    envelope: &Envelope,
    why: &str,
) -> bool {
    let Some(context) = services.get(&Name::intern(&envelope.source)) else {
        return false;
    };
    let scope = Scope::of(Arc::clone(context), envelope);
    let reason = ("impossible", why);
    let mut letter = DeadLetter::new(&scope, OUTBOX, envelope, reason, Failures::default());
    // The same one, should this be done again.
    letter.id = envelope.id.0;
    let unit = letter.lay(&scope).and_then(|()| scope.seal(None));
    match unit {
        Ok(unit) => context.committer.commit(unit).await == Outcome::Committed,
        Err(_) => false,
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
    let kind = match broken.kind.as_str() {
        "" => "undecodable",
        kind => kind,
    };
    Envelope {
        id: broken.id,
        source: "unknown".into(),
        kind: kind.to_owned().into(),
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
