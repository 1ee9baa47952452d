//! The recording of one attempt while it runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use wingbeat_core::outgoing::Response;
use wingbeat_core::store::{Page, Record};
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Envelope, Error, Key, Name, Result, Timestamp, Unit};

use super::unit::content;
use super::{
    Appended, Body, Effect, Exchange, Failed, Input, Listed, Outcome, Put, RECORDED_MAX,
    ReadRecord, RecordedMessage, RecordedUnit, Recorder, SUBJECTS, Sent, Shown, is_effect,
};

/// The tables of timers, calls and delayed messages.
const WAITING: [Name; 3] = [
    Name::new("wb.timer"),
    Name::new("wb.call"),
    Name::new("wb.delayed"),
];
/// Their fields about the trace, which differ in each attempt.
const TRACE: [&str; 2] = ["traceparent", "propagation"];

/// The input and the reads of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    pub(crate) input: Input,
    reads: Vec<ReadRecord>,
    lists: Vec<Listed>,
    /// The time of the attempt that began it.
    at: Option<Timestamp>,
    /// The message types with personal data.
    personal: Arc<BTreeSet<&'static str>>,
    /// The writes of the runtime before the handler ran, such as the removal of a timer.
    before: Vec<Write>,
}

impl Tape {
    pub(crate) fn new(recorder: &Recorder, input: Input) -> Self {
        Self {
            input,
            at: None,
            personal: Arc::clone(&recorder.personal),
            reads: Vec::new(),
            lists: Vec::new(),
            before: Vec::new(),
        }
    }

    /// A tape of messages. The bodies of some types are left out.
    pub(crate) fn of_messages<'a>(
        recorder: &Recorder,
        queue: &str,
        messages: impl IntoIterator<Item = &'a Envelope>,
    ) -> Self {
        let recorded = |it: &Envelope| {
            let withheld = recorder.personal.contains(&*it.kind);
            RecordedMessage::of(it, withheld)
        };
        let input = Input::Messages {
            queue: queue.to_owned(),
            messages: messages.into_iter().map(recorded).collect(),
        };
        Self::new(recorder, input)
    }

    /// Notes the time, and the writes that are none of the handler.
    pub(crate) fn begin(&mut self, at: Timestamp, before: &[Write]) {
        self.at.get_or_insert(at);
        self.before = before.to_vec();
    }

    /// Notes a record as it was read.
    pub(crate) fn read(&mut self, key: &Key, version: u64, body: Option<&Bytes>) {
        let known = |it: &ReadRecord| it.table == key.table.as_str() && it.id == key.id;
        if self.reads.iter().any(known) {
            return;
        }
        self.reads.push(ReadRecord {
            table: key.table.to_string(),
            id: key.id.clone(),
            version,
            body: body.map(|body| record(key.table, body, &self.personal)),
        });
    }

    /// Notes the rows that a query returned.
    pub(crate) fn listed(&mut self, query: &str, page: &Page) {
        let rows = page.rows.iter();
        let rows = rows.map(|(key, row)| (key.clone(), 0, Body::of(&row.body)));
        self.list(query, rows.collect());
        if let (Some(last), Some(next)) = (self.lists.last_mut(), &page.next) {
            last.next = Some((next.value.clone(), next.key.clone()));
        }
    }

    /// Notes the records that a scan returned.
    pub(crate) fn scanned(&mut self, query: &str, records: &[(String, Record)]) {
        let rows = records.iter();
        let rows = rows.map(|(id, it)| (id.clone(), it.version, Body::of(&it.body)));
        self.list(query, rows.collect());
    }

    /// Notes the answer of an outside system.
    pub(crate) fn answered(&mut self, answer: &Result<Response>) {
        if let Input::Call { answers, .. } = &mut self.input {
            answers.push(Exchange::of(answer));
        }
    }

    /// Notes that the call is given up.
    pub(crate) fn gave_up(&mut self, why: &Error) {
        if let Input::Call { gave_up, .. } = &mut self.input {
            *gave_up = Some(Failed::of(why));
        }
    }

    fn list(&mut self, query: &str, rows: Vec<(String, u64, Body)>) {
        self.lists.push(Listed {
            query: query.to_owned(),
            rows,
            next: None,
        });
    }

    /// Returns the recording of a unit, with the effects that it has so far.
    pub(crate) fn of_unit(self, unit: &Unit, correlation: CorrelationId) -> RecordedUnit {
        let done = Outcome::Done(effect(unit, &self.before, &self.personal));
        self.ended(unit, correlation, done)
    }

    /// Returns the recording of an attempt that failed.
    pub(crate) fn of_failure(
        self,
        unit: &Unit,
        correlation: CorrelationId,
        failed: Failed,
    ) -> RecordedUnit {
        // The dead letter has a unit of its own, later.
        let at = self.at.unwrap_or(unit.at);
        RecordedUnit {
            at,
            ..self.ended(unit, correlation, Outcome::Failed(failed))
        }
    }

    fn ended(self, unit: &Unit, correlation: CorrelationId, outcome: Outcome) -> RecordedUnit {
        RecordedUnit {
            service: unit.service.to_string(),
            unit: unit.id.0,
            at: unit.at,
            correlation,
            input: self.input,
            reads: self.reads,
            lists: self.lists,
            outcome,
        }
    }
}

impl RecordedUnit {
    /// Returns the stored form. A unit that is too large keeps only what identifies it.
    pub(crate) fn stored(mut self) -> Bytes {
        let encode = |it: &Self| serde_json::to_vec(it).expect("all keys are strings");
        let whole = encode(&self);
        if whole.len() <= RECORDED_MAX {
            return whole.into();
        }
        self.outcome = Outcome::TooLarge;
        self.reads.clear();
        self.lists.clear();
        match &mut self.input {
            Input::Messages { messages, .. } => {
                messages.truncate(1);
                for it in messages {
                    it.body = Body::withheld("too_large");
                }
            }
            Input::Call { body, answers, .. } => {
                *body = Body::withheld("too_large");
                answers.clear();
            }
            Input::Schedule { .. } | Input::Request { .. } => {}
        }
        encode(&self).into()
    }
}

/// Returns the effects of a unit, apart from the writes `before` that its runtime made.
pub(crate) fn effect(unit: &Unit, before: &[Write], personal: &BTreeSet<&'static str>) -> Effect {
    let writes = unit.writes.iter();
    let writes = writes.filter(|it| is_effect(it.key.table.as_str()) && !before.contains(it));
    let text = |it: &wingbeat_core::Statement| format!("{} {:?}", it.text, it.params);
    Effect {
        records: writes.map(|it| put(it, personal)).collect(),
        events: unit.appends.iter().map(appended).collect(),
        rows: unit.rows.iter().map(shown).collect(),
        messages: unit.messages.iter().map(|it| sent(it, personal)).collect(),
        statements: unit.statements.iter().map(text).collect(),
    }
}

fn put(write: &Write, personal: &BTreeSet<&'static str>) -> Put {
    let table = write.key.table;
    let body = write.body.as_ref();
    Put {
        table: table.to_string(),
        id: write.key.id.clone(),
        body: body.map(|body| record(table, body, personal)),
        due_at: write.due_at,
        expires_at: write.expires_at,
    }
}

/// Returns the recorded content of a record: without keys of subjects, and without the messages
/// with personal data that wait in timers.
fn record(table: Name, body: &Bytes, personal: &BTreeSet<&'static str>) -> Body {
    if !WAITING.map(|it| it.as_str()).contains(&table.as_str()) {
        return content(body, table == SUBJECTS);
    }
    let body = content(body, false);
    let Value::Object(mut fields) = body.value() else {
        return body;
    };
    let message = fields.get("message").and_then(Value::as_str);
    if message.is_some_and(|it| personal.contains(it)) {
        return Body::withheld("personal");
    }
    for name in TRACE {
        fields.remove(name);
    }
    Body::of_value(&Value::Object(fields))
}

fn appended(append: &wingbeat_core::unit::Append) -> Appended {
    Appended {
        table: append.key.table.to_string(),
        id: append.key.id.clone(),
        sequence: append.sequence,
        body: Body::of(&append.body),
    }
}

fn shown(write: &wingbeat_core::unit::RowWrite) -> Shown {
    let columns = write.row.iter().flat_map(|row| &row.columns);
    Shown {
        view: write.view.to_string(),
        key: write.key.clone(),
        columns: columns
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
        body: write.row.as_ref().map(|row| Body::of(&row.body)),
    }
}

fn sent(message: &Envelope, personal: &BTreeSet<&'static str>) -> Sent {
    Sent {
        kind: message.kind.to_string(),
        key: message.key.clone(),
        sequence: message.sequence,
        operation: message.operation.clone(),
        body: content(&message.body, personal.contains(&*message.kind)),
    }
}
