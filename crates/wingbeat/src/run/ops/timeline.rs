//! The timeline of a correlation id: the effects in all services, causes before effects.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::run::host::Host;
use crate::{CorrelationId, Entry, Result, Timestamp};

/// A step of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TimelineStep")]
#[non_exhaustive]
pub struct Step {
    /// The time of the effect.
    pub at: Timestamp,
    /// The service.
    pub service: String,
    /// `event`, `command`, `timer` or `call`; `unknown` if a newer release wrote the step, and this
    /// one cannot read it.
    #[schemars(extend("enum" = ["event", "command", "timer", "call", "unknown"]))]
    pub kind: String,
    /// The wire type, or the name of a timer or call.
    pub name: String,
    /// The id of the message, timer or call; nil if it is unknown.
    pub id: Uuid,
    /// The id of the message that caused it.
    pub causation_id: Option<Uuid>,
}

/// A timeline, from the services that answered.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Timeline {
    /// The steps.
    pub items: Vec<Step>,
    /// Services that did not answer: their steps are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

/// Collects the timeline of a correlation id from all services of a process.
pub async fn story(host: &Host, story: CorrelationId) -> Timeline {
    let (mut items, mut away) = (Vec::new(), Vec::new());
    for service in host.services() {
        let entries: Result<Vec<Entry>> =
            async { host.reads(service)?.timeline(story).await }.await;
        match entries {
            Ok(entries) => items.extend(entries.into_iter().map(|entry| step_of(service, entry))),
            Err(_) => away.push(service.to_owned()),
        }
    }
    let items = in_order(items);
    Timeline { items, away }
}

fn step_of(service: &str, entry: Entry) -> Step {
    Step {
        at: entry.at,
        service: service.into(),
        kind: entry.kind,
        name: entry.name,
        id: entry.id,
        causation_id: entry.causation_id,
    }
}

/// Sorts steps by time, and each effect after its cause even if the services' clocks disagree.
pub fn in_order(mut items: Vec<Step>) -> Vec<Step> {
    items.sort_by_key(|item| (item.at, item.id));
    let mut pending: BTreeSet<Uuid> = items.iter().map(|item| item.id).collect();
    let mut waiting = BTreeMap::<Uuid, Vec<Step>>::new();
    let mut ordered = Vec::with_capacity(items.len());
    for item in items {
        match item.causation_id.filter(|cause| pending.contains(cause)) {
            Some(cause) if cause != item.id => waiting.entry(cause).or_default().push(item),
            _ => {
                let mut ready = vec![item];
                while let Some(next) = ready.pop() {
                    pending.remove(&next.id);
                    let effects = waiting.remove(&next.id).unwrap_or_default();
                    ready.extend(effects.into_iter().rev());
                    ordered.push(next);
                }
            }
        }
    }
    ordered.extend(waiting.into_values().flatten()); // Steps that cause each other.
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: i64, id: u128, cause: Option<u128>) -> Step {
        Step {
            at: Timestamp::from_micros(at),
            service: "orders".into(),
            kind: "event".into(),
            name: format!("{id}"),
            id: Uuid::from_u128(id),
            causation_id: cause.map(Uuid::from_u128),
        }
    }

    fn names(items: Vec<Step>) -> Vec<String> {
        in_order(items).into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn an_effect_never_comes_before_its_cause() {
        let items = vec![step(3, 1, None), step(1, 2, Some(1)), step(2, 3, Some(2))];
        assert_eq!(names(items), ["1", "2", "3"]);
    }

    #[test]
    fn a_step_whose_cause_is_missing_is_shown() {
        let items = vec![step(2, 1, Some(9)), step(1, 2, None)];
        assert_eq!(names(items), ["2", "1"]);
    }

    #[test]
    fn steps_that_cause_each_other_are_shown() {
        let items = vec![
            step(1, 1, Some(2)),
            step(2, 2, Some(1)),
            step(3, 3, Some(3)),
        ];
        assert_eq!(names(items).len(), 3);
    }
}
