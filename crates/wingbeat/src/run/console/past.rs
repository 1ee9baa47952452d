//! The records of a story as they were after one of its steps.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{encode, indented, plain};
use crate::Timestamp;
use crate::run::ops::{Step, StoryRecord};

/// The records after a step.
pub(super) struct Then {
    pub(super) step: String,
    pub(super) at: Timestamp,
    pub(super) records: Vec<Past>,
    /// The number of records that later steps write first.
    pub(super) later: usize,
}

/// A record after a step.
pub(super) struct Past {
    pub(super) service: String,
    pub(super) kind: String,
    pub(super) table: String,
    pub(super) id: String,
    pub(super) version: Option<u64>,
    pub(super) moved_to: Option<String>,
    /// The chosen step has written it.
    pub(super) is_fresh: bool,
    /// How the state is known, in words.
    pub(super) how: &'static str,
    /// The lines of the state, and whether each is new since the state before.
    pub(super) lines: Vec<(String, bool)>,
    /// The page of the saga.
    pub(super) link: Option<String>,
}

impl Past {
    pub(super) fn version(&self) -> String {
        match (self.version, self.kind.as_str()) {
            (Some(1), "aggregate") => "after 1 event".to_owned(),
            (Some(events), "aggregate") => format!("after {events} events"),
            (Some(version), _) => format!("version {version}"),
            (None, _) => "version not known".to_owned(),
        }
    }
}

/// Returns the records as they were after a step: each as its last write until then has left it.
/// Those that the step has written come first.
pub(super) fn after(step: &Step, records: &[StoryRecord]) -> Then {
    let mut by_record = BTreeMap::<_, Vec<&StoryRecord>>::new();
    for record in records {
        let key = (&record.service, &record.table, &record.id);
        by_record.entry(key).or_default().push(record);
    }
    let mut later = 0;
    let mut all = Vec::new();
    for mut writes in by_record.into_values() {
        writes.sort_by_key(|it| (it.at, it.version));
        let until = writes.iter().take_while(|it| it.at <= step.at).count();
        match writes[..until].split_last() {
            Some((last, before)) => all.push(past(step, last, before.last().copied())),
            None => later += 1,
        }
    }
    all.sort_by_key(|it| !it.is_fresh);
    Then {
        step: plain(&step.name),
        at: step.at,
        records: all,
        later,
    }
}

fn past(step: &Step, record: &StoryRecord, before: Option<&StoryRecord>) -> Past {
    let state = |it: &StoryRecord| Some(indented(&it.state.as_ref()?.to_string()));
    let known = before.and_then(state);
    let old: Option<BTreeSet<&str>> = known.as_ref().map(|text| text.lines().collect());
    let text = state(record).unwrap_or_default();
    let line = |line: &str| {
        let is_new = old.as_ref().is_some_and(|old| !old.contains(line));
        (line.to_owned(), is_new)
    };
    let service = encode(&record.service);
    Past {
        link: record.saga().map(|saga| {
            format!(
                "/console/sagas/{service}/{}/{}",
                encode(saga),
                encode(&record.id)
            )
        }),
        service: record.service.clone(),
        kind: record.kind.clone(),
        table: record.saga().unwrap_or(&record.table).to_owned(),
        id: record.id.clone(),
        version: record.version,
        moved_to: record.moved_to.clone(),
        is_fresh: record.effects.contains(&step.id),
        how: how(&record.known),
        lines: text.lines().map(line).collect(),
    }
}

/// Returns how a state is known.
fn how(known: &str) -> &'static str {
    match known {
        "history" => "Folded from its history.",
        "unchanged" => {
            "It has no history, but nothing has written it since: it still is like this."
        }
        "removed" => "This step removed it.",
        "too_long" => "Its history or its state is too long to be shown.",
        _ => "It has no history, and it was written again later: this state was not kept.",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn step(at: i64, id: u128) -> Step {
        serde_json::from_value(json!({
            "at": Timestamp::from_millis(at), "service": "orders", "kind": "event",
            "name": "orders.order_paid.v1", "id": Uuid::from_u128(id), "causation_id": null,
        }))
        .expect("a step")
    }

    fn write(at: i64, effect: u128, (id, version): (&str, u64), state: &Value) -> StoryRecord {
        serde_json::from_value(json!({
            "service": "orders", "at": Timestamp::from_millis(at), "causation_id": null,
            "effects": [Uuid::from_u128(effect)], "kind": "aggregate", "table": "order", "id": id,
            "version": version, "moved_to": null, "known": "history", "state": state,
        }))
        .expect("a record")
    }

    #[test]
    fn each_record_is_shown_as_its_last_write_until_the_step_has_left_it() {
        let records = [
            write(1, 1, ("a", 1), &json!({"paid": false, "sum": 5})),
            write(2, 2, ("a", 2), &json!({"paid": true, "sum": 5})),
            write(1, 1, ("b", 1), &json!({})),
            write(3, 3, ("c", 1), &json!({})),
        ];
        let then = after(&step(2, 2), &records);
        let told: Vec<_> = then
            .records
            .iter()
            .map(|it| (it.id.as_str(), it.version, it.is_fresh))
            .collect();
        assert_eq!(told, [("a", Some(2), true), ("b", Some(1), false)]);
        assert_eq!(then.later, 1);
        let new: Vec<_> = then.records[0].lines.iter().filter(|it| it.1).collect();
        assert_eq!(new, [&("  \"paid\": true,".to_owned(), true)]);
    }
}
