//! From what was collected to a unit of work.

use std::time::Duration;

use uuid::Uuid;
use wingbeat_core::unit::{Journal, Settled, Write};
use wingbeat_core::{CorrelationId, Envelope, Key, Kind, MessageId, Name, Unit, sabotage};

use super::{Draft, Entry, Scope, counter, due, text};
use crate::call::CallRecord;
use crate::encode;
use crate::saga::TimerRecord;

/// Turns a draft into a unit: gives ids and times, and writes the journal.
pub(super) struct Sealing<'a> {
    pub(super) scope: &'a Scope,
    pub(super) correlation: CorrelationId,
    pub(super) entries: Vec<Entry>,
}

impl Sealing<'_> {
    pub(super) fn unit(mut self, draft: Draft, settles: Option<Settled>) -> Unit {
        let Draft {
            reads,
            seen,
            mut writes,
            appends,
            rows,
            effects,
            timers,
            mut counts,
            statements,
            companion,
            ..
        } = draft;
        let messages: Vec<_> = effects
            .messages
            .into_iter()
            .map(|message| self.message(message, &mut counts))
            .collect();
        for call in effects.calls {
            writes.push(self.call(call));
        }
        for (key, delay, timer) in timers {
            writes.retain(|earlier| earlier.key != key);
            writes.push(self.timer(key, delay, timer));
        }
        if let Some(settled) = &settles {
            counts.push((counter("handled", settled.queue.as_str()), 1));
        }
        let journal = (!self.entries.is_empty()).then(|| Journal {
            correlation: self.correlation,
            body: encode(&self.entries),
        });
        Unit {
            id: self.scope.new_id().into(),
            service: self.scope.0.service.name,
            at: self.scope.now(),
            settles,
            reads: match sabotage::lacks(sabotage::READ_SET) {
                true => Vec::new(),
                false => reads,
            },
            seen: seen.unwrap_or_default(),
            writes,
            appends,
            rows,
            messages,
            journal,
            counts,
            statements,
            companion,
        }
    }

    fn causation(&self) -> Option<MessageId> {
        self.scope.0.meta.message
    }

    fn enter(&mut self, kind: &str, name: &str, id: Uuid) {
        let causation_id = self.causation().map(|id| id.0);
        self.entries.push(Entry {
            at: self.scope.now(),
            kind: kind.into(),
            name: name.into(),
            id,
            causation_id,
        });
    }

    fn message(
        &mut self,
        message: crate::effects::Outgoing,
        counts: &mut Vec<(Name, i64)>,
    ) -> Envelope {
        let id = self.scope.new_id();
        self.enter(
            if message.kind == Kind::Event {
                "event"
            } else {
                "command"
            },
            message.name,
            id,
        );
        counts.push((counter("published", message.name), 1));
        Envelope {
            id: id.into(),
            source: self.scope.0.service.name.as_str().into(),
            kind: message.name.into(),
            role: message.kind,
            key: message.key,
            time: self.scope.now(),
            correlation: self.correlation,
            causation: self.causation(),
            sequence: message.sequence,
            operation: message.operation,
            traceparent: Some(self.scope.0.trace.child_of_id(id)),
            body: message.body,
        }
    }

    fn call(&mut self, call: crate::effects::PlannedCall) -> Write {
        let id = self.scope.new_id();
        self.enter("call", call.name, id);
        let record = CallRecord {
            id,
            name: call.name.into(),
            operation: call.operation.clone(),
            correlation: self.correlation,
            first_at: self.scope.now(),
            attempts: 0,
            traceparent: Some(self.scope.0.trace),
            body: text(&call.body),
        };
        due(
            Key::new(crate::call::TABLE, call.operation),
            encode(&record),
            self.scope.now(),
        )
    }

    fn timer(&mut self, key: Key, delay: Duration, mut timer: TimerRecord) -> Write {
        timer.id = self.scope.new_id();
        timer.correlation = self.correlation;
        timer.traceparent = Some(self.scope.0.trace);
        self.enter("timer", &timer.message, timer.id);
        due(key, encode(&timer), self.scope.now() + delay)
    }
}
