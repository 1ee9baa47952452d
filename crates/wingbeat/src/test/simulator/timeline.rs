//! The timeline of a violation: the messages about its subject, their causes, and the faults in the
//! same period.

use std::collections::{BTreeMap, BTreeSet};

use crate::Timestamp;
use crate::unit::decode_entries;
use uuid::Uuid;
use wingbeat_core::{Kind, MessageId};

use super::world::World;
use crate::test::model::Committed;

/// The limit of lines. A note replaces the omitted lines in the middle.
const LINES_MAX: usize = 48;

/// Returns the timeline of all events that mention `subject`.
pub(super) fn timeline(world: &World, subject: &str) -> Vec<String> {
    let log = world.model().store.log();
    let chain = chain(&log, subject);
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for unit in &log {
        for message in unit.messages.iter().filter(|it| chain.contains(&it.id)) {
            let verb = match message.role {
                Kind::Event => "publishes",
                Kind::Command => "sends",
            };
            let cause = cause_of(&log, message.causation);
            let line = format!("{} {verb} {}{cause}", unit.service, message.kind);
            lines.push((unit.at, line));
        }
        lines.extend(timers_and_calls(unit, &chain));
    }
    let (first, last) = match (lines.first(), lines.last()) {
        (Some((first, _)), Some((last, _))) => (*first, *last),
        _ => (world.start_time(), Timestamp::from_micros(i64::MAX)),
    };
    let near = |at: &Timestamp| *at >= first && *at <= last;
    let faults = world.model().injector.events();
    lines.extend(
        faults
            .into_iter()
            .filter(|(at, _)| near(at))
            .map(|(at, event)| (at, format!("*** {event}"))),
    );
    for exchange in world.history() {
        let mentions = |text: &str| !subject.is_empty() && text.contains(subject);
        if mentions(&format!("{:?}", exchange.answer)) || mentions(&exchange.ask.path) {
            let line = format!(
                "client {}: {} {} -> {}",
                exchange.client,
                exchange.ask.method,
                exchange.ask.path,
                exchange.answer.status()
            );
            lines.push((exchange.answered_at, line));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    shortened(lines, first)
}

fn shortened(lines: Vec<(Timestamp, String)>, first: Timestamp) -> Vec<String> {
    let omitted = lines.len().saturating_sub(LINES_MAX);
    let mut timeline: Vec<String> = lines
        .into_iter()
        .map(|(at, line)| format!("{:>9.3} s  {line}", at.since(first).as_secs_f64()))
        .collect();
    if omitted > 0 {
        let half = LINES_MAX / 2;
        timeline.splice(half..half + omitted, [format!("… {omitted} more")]);
    }
    timeline
}

/// Returns the messages about the subject and all messages that caused them.
fn chain(log: &[Committed], subject: &str) -> BTreeSet<MessageId> {
    let mut causes = BTreeMap::new();
    let mut open = Vec::new();
    for message in log.iter().flat_map(|unit| &unit.messages) {
        causes.insert(message.id, message.causation);
        let body = String::from_utf8_lossy(&message.body);
        if !subject.is_empty() && (message.key == subject || body.contains(subject)) {
            open.push(message.id);
        }
    }
    let mut chain = BTreeSet::new();
    while let Some(id) = open.pop() {
        if chain.insert(id) {
            open.extend(causes.get(&id).copied().flatten());
        }
    }
    chain
}

fn cause_of(log: &[Committed], cause: Option<MessageId>) -> String {
    let Some(cause) = cause else {
        return String::new();
    };
    let mut messages = log.iter().flat_map(|unit| &unit.messages);
    match messages.find(|message| message.id == cause) {
        Some(message) => format!(" because of {}", message.kind),
        None => " because of a timer, a call or an outside message".into(),
    }
}

/// Returns the timers and calls that a unit of the timeline recorded.
fn timers_and_calls(unit: &Committed, chain: &BTreeSet<MessageId>) -> Vec<(Timestamp, String)> {
    let belongs = |id: Uuid| chain.contains(&MessageId(id));
    let entries = unit
        .journal
        .as_ref()
        .and_then(|journal| decode_entries(journal, unit.at).ok());
    entries
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| matches!(entry.kind.as_str(), "call" | "timer"))
        .filter(|entry| entry.causation_id.is_some_and(belongs))
        .map(|entry| {
            let line = format!("{} records the {} {}", unit.service, entry.kind, entry.name);
            (unit.at, line)
        })
        .collect()
}
