//! The committed units, in order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wingbeat_core::unit::Settled;
use wingbeat_core::{Envelope, MessageId, Name, Timestamp, Unit};

/// A committed unit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Committed {
    /// The time of the commit.
    pub at: Timestamp,
    /// The service.
    pub service: Name,
    /// The deliveries that it settled.
    pub settled: Vec<Settled>,
    /// The unit's journal entry.
    pub journal: Option<Bytes>,
    /// The messages that it published.
    pub messages: Vec<Envelope>,
}

impl Committed {
    pub(super) fn of(unit: &Unit, at: Timestamp) -> Self {
        Self {
            at,
            service: unit.service,
            settled: unit.settles.clone(),
            journal: unit.journal.as_ref().map(|journal| journal.body.clone()),
            messages: unit.messages.clone(),
        }
    }

    /// Returns the message, timer or call that caused the unit's messages.
    fn cause(&self) -> Option<MessageId> {
        self.messages.first().and_then(|message| message.causation)
    }
}

/// Returns the deliveries, timers and calls that took effect more than once.
///
/// `messages` are the ids of all messages: any other id belongs to a timer or a call.
pub(crate) fn repeated_effects(
    log: &[Committed],
    messages: &BTreeSet<MessageId>,
) -> Vec<(MessageId, String)> {
    let mut deliveries = BTreeMap::<(Name, &str, MessageId), u32>::new();
    let mut causes = BTreeMap::<(Name, MessageId), u32>::new();
    for unit in log {
        for settled in &unit.settled {
            *deliveries
                .entry((settled.queue, &settled.source, settled.message))
                .or_default() += 1;
        }
        if unit.settled.is_empty()
            && let Some(cause) = unit.cause()
            && !messages.contains(&cause)
        {
            *causes.entry((unit.service, cause)).or_default() += 1;
        }
    }
    let deliveries = deliveries
        .into_iter()
        .map(|((queue, _, id), times)| (id, times, format!("a delivery of {queue}")));
    let causes = causes
        .into_iter()
        .map(|((service, id), times)| (id, times, format!("a timer or call of {service}")));
    deliveries
        .chain(causes)
        .filter(|(_, times, _)| *times > 1)
        .map(|(id, times, what)| (id, format!("{what} took effect {times} times")))
        .collect()
}
