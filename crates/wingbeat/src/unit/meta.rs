use wingbeat_core::{CorrelationId, Envelope, MessageId, Propagation, Timestamp};

/// The end of the types of replayed messages. A type that a service declares ends in its version.
pub(crate) const REPLAYED: &str = ".replayed";

/// Metadata of the message that is being handled.
///
/// A unit that no message caused (an HTTP command, a schedule) has no `message`, `operation` or
/// `sequence`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "hotel.checked_in", version = 1, key = room)]
/// struct CheckedIn {
///     room: String,
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct LastSeen(String);
///
/// impl Entity for LastSeen {
///     const NAME: &'static str = "last_seen";
///     type Id = String;
/// }
///
/// /// Records when the event was published, not when it arrived.
/// async fn remember(event: CheckedIn, meta: Meta, seen: Table<LastSeen>) -> Result<()> {
///     seen.put(&event.room, LastSeen(meta.time.to_string()))
/// }
/// # drop(Service::new("hotel").on(remember));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Meta {
    /// The correlation id: all messages that descend from one cause share it.
    pub correlation: CorrelationId,
    /// The id of the message. That of a replayed message is the id under which it was published.
    pub message: Option<MessageId>,
    /// The operation that the message carries out. A resend keeps it.
    pub operation: Option<String>,
    /// The version of the aggregate that published the message, if the publisher set one.
    pub sequence: Option<u64>,
    /// The time at which the publisher recorded the message.
    pub time: Timestamp,
    /// `tracestate` and `baggage` of the cause. Everything that the unit causes carries them.
    pub propagation: Propagation,
    /// The message was published before the subscription existed, and its owner repeats it; see
    /// [`Handler::from_beginning`](crate::Handler::from_beginning).
    pub replayed: bool,
}

impl Meta {
    /// Metadata of a unit that no message caused.
    pub(crate) fn without_message(correlation: CorrelationId, time: Timestamp) -> Self {
        Self {
            correlation,
            message: None,
            operation: None,
            sequence: None,
            time,
            propagation: Propagation::default(),
            replayed: false,
        }
    }
}

/// Returns the id under which a message was published first. The events of a replay have ids of
/// their own, and that of their original as correlation id.
pub(crate) fn original_id(envelope: &Envelope) -> MessageId {
    let is_copy = envelope.kind.ends_with(REPLAYED) && envelope.sequence.is_some();
    if is_copy {
        return MessageId(envelope.correlation.0);
    }
    envelope.id
}

impl From<&Envelope> for Meta {
    fn from(envelope: &Envelope) -> Self {
        let replayed = envelope.kind.ends_with(REPLAYED);
        Self {
            correlation: envelope.correlation,
            message: Some(original_id(envelope)),
            // That of a replayed message is the runtime's.
            operation: envelope.operation.clone().filter(|_| !replayed),
            sequence: envelope.sequence,
            time: envelope.time,
            propagation: envelope.propagation.clone(),
            replayed,
        }
    }
}
