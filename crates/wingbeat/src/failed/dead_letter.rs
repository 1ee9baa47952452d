//! Parked deliveries and dead letters: the message, its failures, and their cause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::envelope::KIND_MAX;
use wingbeat_core::text::printable;
use wingbeat_core::transport::{Broken, Undecodable};
use wingbeat_core::unit::Write;
use wingbeat_core::{
    CorrelationId, Envelope, Error, Key, Kind, LogLimit, MessageId, Name, Propagation, Result,
    Timestamp,
};

use super::summary::{MARKS, Summary};
use crate::encode;
use crate::retry::Taken;
use crate::unit::{self, Attempt, OwnTable, Scope, ServiceContext, counter};

/// The table of parked deliveries.
pub(crate) const PARKED: Name = Name::new("wb.parked");
/// The table of dead letters.
pub(super) const DEAD_LETTERS: Name = Name::new("wb.dead");

/// Dead letters, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<DeadLetter>(DEAD_LETTERS);

/// The failures of one delivery so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failures {
    /// The number of attempts.
    pub attempts: u32,
    /// The number of times that it was parked.
    pub parked: u32,
    /// The time of the first failure.
    pub first_at: Option<Timestamp>,
    /// The first error.
    pub first_error: Option<String>,
    /// The steps that were taken by rules of the retry policy.
    #[serde(default, skip_serializing_if = "Taken::is_empty")]
    pub(crate) taken: Taken,
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) queue: String,
    pub(crate) failures: Failures,
    /// See [`Work`](crate::dispatch::Work).
    #[serde(default)]
    pub(crate) admitted: bool,
    #[serde(default)]
    pub(crate) suspect: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<bool>,
    /// The envelope, in hexadecimal.
    pub(crate) envelope: String,
    /// The reason why the delivery cannot be decoded, if it cannot.
    #[serde(default)]
    pub(crate) broken: Option<Broken>,
    /// Set if it is a dead letter that is handled again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retried: Option<Retried>,
}

/// The dead letter that a delivery was before it was retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retried {
    /// Its id. The delivery becomes the same dead letter if it fails again.
    pub(crate) letter: Uuid,
    /// The number of times that it was retried.
    pub(crate) times: u32,
    /// The retry of many dead letters that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Uuid>,
}

/// A dead letter: a delivery that failed for good. A person decides whether to retry or discard it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// The queue that it came from, `<service>.<subscription>`.
    pub subscription: String,
    /// The message's wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error code, for example `undecodable`.
    pub reason: String,
    /// The last error message.
    pub error: String,
    /// The failures before it became a dead letter.
    pub failures: Failures,
    /// The time at which it became a dead letter.
    pub last_at: Timestamp,
    /// Dead letters with the same fingerprint have the same cause: queue, type, code and shape of
    /// the error.
    pub fingerprint: String,
    /// Set if a person has discarded it. It is no longer listed, but still counted.
    pub discarded: bool,
    /// The number of times that a person had it handled again.
    #[serde(default)]
    pub retries: u32,
    /// The time of the last change of its body by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// The retry of many dead letters that it was last part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Uuid>,
    /// The id of its mark. Dead letters of earlier releases have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<Uuid>,
    /// The reason why the delivery cannot be decoded, and its original headers.
    #[serde(default)]
    pub broken: Option<Broken>,
    /// Set if the signature of the command was verified.
    #[serde(default)]
    pub(crate) admitted: bool,
    /// Set if it is a delivery that was forged.
    #[serde(default)]
    pub(crate) suspect: bool,
    /// See [`Work`](crate::dispatch::Work).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<bool>,
    /// The envelope, in hexadecimal.
    pub(crate) envelope: String,
}

/// The longest error message of a dead letter, in bytes.
const ERROR_MAX: usize = 4 << 10;
/// The largest body of a harmless copy.
const HARMLESS_BODY_MAX: usize = 64 << 10;
/// The source of messages whose source is unknown.
pub(crate) const UNKNOWN_SOURCE: &str = "unknown";
/// Limits the log lines about messages that could not be published.
static LINES: LogLimit = LogLimit::new(50, Duration::from_millis(200));

/// The subscription in dead letters of messages that could not be published.
const OUTBOX: Name = Name::new("wb.outbox");

impl DeadLetter {
    /// Creates a dead letter for a message of `queue`, with the reason (code, message).
    pub(crate) fn new(
        scope: &Scope,
        queue: Name,
        envelope: &Envelope,
        (reason, error): (&str, &str),
        mut failures: Failures,
    ) -> Self {
        failures.attempts = failures.attempts.max(1);
        failures.first_at.get_or_insert(scope.now());
        Self {
            id: scope.new_id(),
            subscription: queue.to_string(),
            kind: envelope.kind.to_string(),
            reason: reason.into(),
            error: bounded(error),
            failures,
            last_at: scope.now(),
            fingerprint: fingerprint(queue.as_str(), &envelope.kind, reason, error),
            discarded: false,
            retries: 0,
            edited_at: None,
            run: None,
            mark: Some(scope.new_id()),
            broken: None,
            admitted: false,
            suspect: false,
            timer: None,
            envelope: pack(envelope),
        }
    }

    /// Logs the dead letter, unless too many lines were logged before.
    pub(crate) fn log(&self, limit: &LogLimit, now: Duration) {
        let Some(suppressed) = limit.admit(now) else {
            return;
        };
        let Self {
            id,
            subscription,
            reason,
            error,
            ..
        } = self;
        let message = self.message().map(|message| message.id.0);
        let message = message.unwrap_or_default();
        tracing::error!(queue = subscription, %message, reason, suppressed, "dead letter {id}: {error}");
    }

    /// Makes it the dead letter that the delivery was before it was retried.
    pub(crate) fn again(&mut self, retried: &Retried) {
        self.id = retried.letter;
        self.retries = retried.times;
        self.run = retried.run;
    }

    /// Records the dead letter in the unit of `scope`, and counts it.
    pub(crate) fn record(&self, scope: &Scope) -> Result<()> {
        self.write(scope)?;
        scope.count(counter("dead", &self.subscription), 1)
    }

    /// Writes the dead letter, and its mark if it is not sorted yet.
    pub(super) fn write(&self, scope: &Scope) -> Result<()> {
        scope.write(Write {
            key: Key::new(DEAD_LETTERS, self.id.to_string()),
            body: Some(encode(self)),
            due_at: None,
            expires_at: None,
        })?;
        let Some(mark) = self.mark else { return Ok(()) };
        scope.write(Write {
            key: Key::new(MARKS, mark.to_string()),
            body: Some(encode(&self.summary())),
            due_at: None,
            expires_at: None,
        })
    }

    fn summary(&self) -> Summary {
        let message = self.message();
        let summary = Summary {
            id: self.id,
            subscription: self.subscription.clone(),
            kind: self.kind.clone(),
            key: message.map(|message| message.key).unwrap_or_default(),
            reason: self.reason.clone(),
            error: self.error.clone(),
            attempts: self.failures.attempts,
            retries: self.retries,
            first_at: self.failures.first_at,
            last_at: self.last_at,
            fingerprint: self.fingerprint.clone(),
        };
        summary.bounded()
    }

    /// Replaces the body of the message.
    ///
    /// # Errors
    ///
    /// `undecodable`, `not_editable`.
    pub(super) fn edited(&mut self, body: Bytes, now: Timestamp) -> Result<&Self> {
        let refused = |text: &str| Err(Error::reject("not_editable", text));
        let Some(message) = self.message() else {
            let text = "the message of the dead letter cannot be read";
            return Err(Error::reject("undecodable", text));
        };
        if self.suspect {
            return refused("its signature was not verified");
        }
        if crate::bodies::is_stored(&message) {
            return refused("its body is stored outside the message");
        }
        #[cfg(feature = "personal")]
        if super::personal::is_encrypted(&message) {
            return refused("its body is encrypted");
        }
        self.envelope = pack(&Envelope { body, ..message });
        self.edited_at = Some(now);
        Ok(self)
    }

    /// Returns about how many bytes the message has.
    pub(super) fn size(&self) -> usize {
        self.envelope.len() / 2
    }

    /// Returns the message with its attributes, or `None` if a newer release wrote it in a form
    /// that this one cannot read.
    #[must_use]
    pub fn message(&self) -> Option<Envelope> {
        unpack(&self.envelope)
    }
}

/// Returns an error message as a dead letter keeps it: printable, and of a limited size.
pub(crate) fn bounded(error: &str) -> String {
    printable(error, ERROR_MAX)
}

/// Returns a copy of a message that any store can keep: the texts are printable and short, and the
/// body is cut off. For a dead letter that the store has refused.
pub(crate) fn harmless(envelope: &Envelope) -> Envelope {
    let kept = envelope.body.len().min(HARMLESS_BODY_MAX);
    Envelope {
        source: UNKNOWN_SOURCE.into(),
        kind: printable(&envelope.kind, KIND_MAX).into(),
        key: printable(&envelope.key, KIND_MAX),
        operation: None,
        propagation: Propagation::default(),
        body: envelope.body.slice(..kept),
        ..envelope.clone()
    }
}

/// Stores a message that no broker accepts as a dead letter of its service.
///
/// # Errors
///
/// `unknown_service` if its service does not run here; those of the commit.
pub(crate) async fn keep_unsendable(
    services: &BTreeMap<Name, Arc<ServiceContext>>,
    envelope: &Envelope,
    why: &str,
) -> Result<()> {
    let name = Name::intern(&envelope.source);
    let service = services
        .get(&name)
        .ok_or_else(|| Error::reject("unknown_service", format!("{name} does not run here")))?;
    unit::run(service, || async {
        let scope = Scope::of(Arc::clone(service), envelope);
        let reason = ("impossible", why);
        let mut letter = DeadLetter::new(&scope, OUTBOX, envelope, reason, Failures::default());
        // Doing it again finds the same dead letter.
        letter.id = envelope.id.0;
        letter.log(&LINES, service.runtime.elapsed());
        let answer = keep_once(&scope, &letter).await;
        Attempt {
            scope,
            settles: None,
            answer,
        }
    })
    .await
}

async fn keep_once(scope: &Scope, letter: &DeadLetter) -> Result<()> {
    let key = Key::new(DEAD_LETTERS, letter.id.to_string());
    if scope.load(&key).await?.body.is_some() {
        return Ok(());
    }
    letter.record(scope)
}

/// The key of a parked delivery. Each delivery has one record. That of a suspect one is apart: a
/// forged command may have the source and the id of a real one that is parked.
pub(crate) fn parked_key(queue: Name, envelope: &Envelope, suspect: bool) -> Key {
    let source = if suspect {
        UNKNOWN_SOURCE
    } else {
        &envelope.source
    };
    key_of(queue, source, envelope.id)
}

/// The key of the parked delivery of the message with this source and id.
pub(super) fn key_of(queue: Name, source: &str, id: MessageId) -> Key {
    Key::new(PARKED, format!("{queue}/{source}/{id}"))
}

/// Encodes an envelope as text, for records in JSON.
pub(crate) fn pack(envelope: &Envelope) -> String {
    hex::encode(envelope.encode())
}

pub(crate) fn unpack(text: &str) -> Option<Envelope> {
    Envelope::decode(&Bytes::from(hex::decode(text).ok()?))
}

/// Returns a hash of queue, type, reason and the error's text without hexadecimal digits, which are
/// part of ids.
fn fingerprint(queue: &str, kind: &str, reason: &str, error: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let shape: String = error
        .chars()
        .filter(|c| !c.is_ascii_hexdigit())
        .take(200)
        .collect();
    let digest = Sha256::digest(format!("{queue}\n{kind}\n{reason}\n{shape}"));
    hex::encode(&digest[..8])
}

/// Returns an envelope in place of a message that cannot be decoded, for lists and counters.
pub(crate) fn stand_in(broken: &Undecodable, now: Timestamp) -> Envelope {
    let kind = match broken.kind.as_str() {
        "" => "undecodable".to_owned(),
        kind => printable(kind, KIND_MAX),
    };
    Envelope {
        id: broken.id,
        source: UNKNOWN_SOURCE.into(),
        kind: kind.into(),
        role: Kind::Event,
        key: broken.id.to_string(),
        time: now,
        correlation: CorrelationId(broken.id.0),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        dialog: None,
        body: broken.raw.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parked delivery as releases without the field `timer` stored it.
    const PARKED_BEFORE: &str = r#"{"queue":"a.b","failures":{"attempts":1,"parked":1,
        "first_at":null,"first_error":null},"admitted":true,"suspect":false,"envelope":"00",
        "broken":null}"#;

    #[test]
    fn records_of_earlier_releases_do_not_tell_whether_they_are_timers() {
        let before: Parked = serde_json::from_str(PARKED_BEFORE).unwrap();
        assert_eq!((before.timer, before.admitted), (None, true));
        for timer in [Some(true), Some(false)] {
            let now = Parked {
                timer,
                ..serde_json::from_str(PARKED_BEFORE).unwrap()
            };
            let stored = serde_json::to_string(&now).unwrap();
            let read: Parked = serde_json::from_str(&stored).unwrap();
            assert_eq!(read.timer, timer);
        }
        let letter: DeadLetter = serde_json::from_str(
            r#"{"id":"00000000-0000-0000-0000-000000000001","subscription":"a.b","type":"a.c.v1",
                "reason":"forged","error":"it fails","failures":{"attempts":1,"parked":0,
                "first_at":null,"first_error":null},"last_at":"2026-01-02T03:04:05.000006Z",
                "fingerprint":"0","discarded":false,"envelope":"00"}"#,
        )
        .unwrap();
        assert_eq!(letter.timer, None);
    }
}
