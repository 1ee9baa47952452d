use wingbeat_core::{CorrelationId, Envelope, MessageId, Propagation, Timestamp};

/// Metadata of the message that is being handled.
///
/// A unit that no message caused (an HTTP command, a schedule) has no `message`, `operation` or
/// `sequence`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Meta {
    /// The correlation id: all messages that descend from one cause share it.
    pub correlation: CorrelationId,
    /// The id of the message.
    pub message: Option<MessageId>,
    /// The operation that the message carries out. A resend keeps it.
    pub operation: Option<String>,
    /// The version of the aggregate that published the message, if the publisher set one.
    pub sequence: Option<u64>,
    /// The time at which the publisher recorded the message.
    pub time: Timestamp,
    /// `tracestate` and `baggage` of the cause. Everything that the unit causes carries them.
    pub propagation: Propagation,
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
        }
    }
}

impl From<&Envelope> for Meta {
    fn from(envelope: &Envelope) -> Self {
        Self {
            correlation: envelope.correlation,
            message: Some(envelope.id),
            operation: envelope.operation.clone(),
            sequence: envelope.sequence,
            time: envelope.time,
            propagation: envelope.propagation.clone(),
        }
    }
}
