//! Turns the draft of an attempt into a unit of work: assigns ids and times, and writes the
//! journal.

use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Journal, Read, Settled, Write};
use wingbeat_core::{
    CorrelationId, Dialog, Envelope, Key, Kind, MessageId, Name, RuntimeExt as _, Timestamp,
    TraceParent, Unit, sabotage,
};

use super::Meta;
use super::changes::Written;
use super::draft::{Draft, Taped};
use super::entries::Entries;
use super::records::{
    CALLS, CallRecord, DELAYED, DelayedRecord, TimerRecord, counter, due, remove, text,
};
use crate::effects::{DelayedEffect, Outgoing, PlannedCall};
use crate::encode;
use crate::recording::{self, Recorder};
use crate::trust::Commands;

/// The attempt whose draft is sealed.
pub(super) struct Sealing<'a> {
    pub(super) service: Name,
    pub(super) runtime: &'a SharedRuntime,
    pub(super) trust: Option<&'a Commands>,
    pub(super) recorder: Option<&'a Recorder>,
    pub(super) at: Timestamp,
    pub(super) meta: &'a Meta,
    /// The parent span of everything that the unit causes.
    pub(super) trace: TraceParent,
}

impl Sealing<'_> {
    pub(super) fn unit(self, draft: Draft, settles: Vec<Settled>) -> Unit {
        let Draft {
            correlation,
            reads,
            seen,
            mut writes,
            moves,
            appends,
            rows,
            effects,
            timers,
            mut counts,
            statements,
            transaction,
            taped,
            states: _,
        } = draft;
        let correlation = correlation.unwrap_or(self.meta.correlation);
        let mut entries = Entries::new(self.at, self.causation().map(|id| id.0));
        let messages = self.messages(effects.messages, correlation, &mut entries);
        // No handler takes replies, so no audit compares their number with what was handled.
        for message in messages.iter().filter(|it| !is_reply(it)) {
            counts.push((counter("published", &message.kind), 1));
        }
        for call in effects.calls {
            let record = self.call(call, correlation);
            entries.push("call", &record.name, record.id);
            let key = Key::new(CALLS, record.operation.clone());
            writes.push(due(key, encode(&record), self.at));
        }
        for (key, delay, timer) in timers {
            let record = self.timer(timer, correlation);
            entries.push("timer", &record.message, record.id);
            replace(&mut writes, self.after(delay, key, &record));
        }
        for effect in effects.delayed {
            replace(&mut writes, self.delayed(effect, correlation, &mut entries));
        }
        if let Some(first) = settles.first() {
            let handled = counter("handled", first.queue.as_str()); // All are of one queue.
            counts.push((handled, i64::try_from(settles.len()).unwrap_or(i64::MAX)));
        }
        let written = Written {
            reads: &reads,
            writes: &writes,
            appends: &appends,
            moves: &moves,
        };
        written.note(correlation, &mut entries);
        let journal = entries
            .into_body()
            .map(|body| Journal { correlation, body });
        let unit = Unit {
            id: self.runtime.id().into(),
            service: self.service,
            at: self.at,
            settles,
            reads: validated(reads),
            seen: seen.unwrap_or_default(),
            writes,
            appends,
            rows,
            messages,
            journal,
            counts,
            statements,
            transaction,
        };
        recorded(unit, taped, correlation, self.recorder)
    }

    /// Makes the messages, and notes those that are new.
    fn messages(
        &self,
        outgoing: Vec<Outgoing>,
        correlation: CorrelationId,
        entries: &mut Entries,
    ) -> Vec<Envelope> {
        let mut messages = Vec::with_capacity(outgoing.len());
        for message in outgoing {
            let is_past = message.is_replayed(); // The journal has it already.
            let message = self.message(message, correlation);
            if !is_past {
                entries.push(entry_kind(message.role), &message.kind, message.id.0);
            }
            messages.push(message);
        }
        messages
    }

    fn causation(&self) -> Option<MessageId> {
        self.meta.message
    }

    fn message(&self, message: Outgoing, correlation: CorrelationId) -> Envelope {
        let stamp = message.stamp;
        let replayed = stamp.filter(|it| it.replayed);
        // Outboxes identify messages by their ids, and the original may be in one, too. So a copy
        // has an id of its own, and that of the original as its correlation id.
        let own = stamp.filter(|it| !it.replayed);
        let id = own.map_or_else(|| self.runtime.id(), |it| it.id);
        let mut envelope = Envelope {
            id: id.into(),
            source: self.service.as_str().into(),
            kind: message.name.into(),
            role: message.kind,
            key: message.key,
            time: replayed.map_or(self.at, |it| it.at),
            correlation: replayed.map_or(correlation, |it| it.id.into()),
            causation: self.causation(),
            sequence: message.sequence,
            operation: message.operation,
            traceparent: Some(self.trace.child_of_id(id)),
            propagation: self.meta.propagation.clone(),
            signature: None,
            dialog: message.dialog,
            body: message.body,
        };
        if let (Some(trust), Kind::Command) = (self.trust, envelope.role) {
            trust.sign(self.service, &mut envelope);
        }
        envelope
    }

    fn call(&self, call: PlannedCall, correlation: CorrelationId) -> CallRecord {
        CallRecord {
            id: self.runtime.id(),
            name: call.name.into(),
            operation: call.operation,
            correlation,
            first_at: self.at,
            attempts: 0,
            traceparent: Some(self.trace),
            propagation: self.meta.propagation.clone(),
            body: text(&call.body),
        }
    }

    /// Returns the write that delays a message or cancels it.
    fn delayed(
        &self,
        effect: DelayedEffect,
        correlation: CorrelationId,
        entries: &mut Entries,
    ) -> Write {
        let key = |id| Key::new(DELAYED, id);
        match effect {
            DelayedEffect::Cancel { id } => remove(key(id)),
            DelayedEffect::Send { id, delay, message } => {
                let record = DelayedRecord {
                    id: self.runtime.id(),
                    message: message.name.into(),
                    command: message.kind == Kind::Command,
                    key: message.key,
                    at: self.at,
                    correlation,
                    causation: self.causation(),
                    sequence: message.sequence,
                    operation: message.operation,
                    traceparent: Some(self.trace),
                    propagation: self.meta.propagation.clone(),
                    body: text(&message.body),
                };
                entries.push("timer", &record.message, record.id);
                due(key(id), encode(&record), self.at + delay)
            }
        }
    }

    fn timer(&self, timer: TimerRecord, correlation: CorrelationId) -> TimerRecord {
        TimerRecord {
            correlation,
            traceparent: Some(self.trace),
            propagation: self.meta.propagation.clone(),
            ..timer
        }
    }

    fn after(&self, delay: Duration, key: Key, timer: &TimerRecord) -> Write {
        due(key, encode(timer), self.at + delay)
    }
}

/// Adds the recording of a unit to it, if its story is recorded.
fn recorded(
    mut unit: Unit,
    taped: Option<Box<Taped>>,
    story: CorrelationId,
    recorder: Option<&Recorder>,
) -> Unit {
    let (Some(taped), Some(recorder)) = (taped, recorder) else {
        return unit;
    };
    let Taped { tape, failed } = *taped;
    if !recorder.takes(story, failed.is_some()) {
        return unit;
    }
    let recorded = match failed {
        Some(failed) => tape.of_failure(&unit, story, failed),
        None => tape.of_unit(&unit, story),
    };
    unit.writes.push(Write {
        key: recording::key(story, unit.at, unit.id),
        body: Some(recorded.stored()),
        due_at: None,
        expires_at: Some(recorder.until(unit.at)),
    });
    unit
}

fn entry_kind(role: Kind) -> &'static str {
    match role {
        Kind::Event => "event",
        Kind::Command => "command",
    }
}

fn is_reply(message: &Envelope) -> bool {
    matches!(message.dialog, Some(Dialog::Reply { .. }))
}

/// Adds a write in place of an earlier one of its key.
fn replace(writes: &mut Vec<Write>, write: Write) {
    writes.retain(|earlier| earlier.key != write.key);
    writes.push(write);
}

/// Returns the reads that the store validates: all of them, unless a negative control removes them.
fn validated(reads: Vec<Read>) -> Vec<Read> {
    if sabotage::lacks(sabotage::READ_SET) {
        return Vec::new();
    }
    reads
}
