//! `/console/stories/{id}`: the timeline of a correlation id as a tree of causes, and the records
//! as they were after a step.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use uuid::Uuid;

use super::frame::{Frame, instead, page as reply, parameter, see_other};
use super::past::{Then, after};
use super::source::read;
use super::words::{counted, plain, since};
use super::{Console, Refused};
use crate::run::ops::{Items, Step, StoryRecord, Timeline};

const HERE: &str = "/console/stories";
/// Deeper branches are drawn at this depth, because phones are narrow.
const DEPTH_MAX: usize = 6;
/// The most steps of a story that a page shows.
const STEPS_MAX: usize = 1_000;
/// The number of colours of services.
const COLOURS: usize = 10;

/// A step in the tree.
struct Row {
    step: Step,
    depth: usize,
    /// The name of its cause, if that is not the row above.
    because: Option<String>,
    after: String,
    colour: usize,
    /// It is the step after which the records are shown.
    is_chosen: bool,
}

impl Row {
    fn name(&self) -> String {
        plain(&self.step.name)
    }

    fn kind(&self) -> &str {
        match self.step.kind.as_str() {
            "call" => "outside call",
            "unknown" => "written by a newer release",
            kind => kind,
        }
    }
}

/// Puts each step below its cause. If a step has several effects, the largest branch comes last and
/// stays in the column of its cause, so that the main path reads straight down.
fn tree(steps: Vec<Step>, chosen: Option<Uuid>) -> Vec<Row> {
    let known: BTreeMap<Uuid, usize> = steps.iter().zip(0..).map(|(it, at)| (it.id, at)).collect();
    let cause = |step: &Step| {
        let cause = step.causation_id.filter(|cause| *cause != step.id)?;
        known.get(&cause).copied()
    };
    let mut size = vec![1_usize; steps.len()];
    let mut effects = vec![Vec::new(); steps.len()];
    let mut roots = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        match cause(step) {
            // Causes come first, so each branch is complete when it is counted.
            Some(above) if above < at => {
                size[above] += size[at];
                effects[above].push(at);
            }
            _ => roots.push(at),
        }
    }
    let start = steps.iter().map(|step| step.at).min().unwrap_or_default();
    let mut colours: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::with_capacity(steps.len());
    let mut pending: Vec<(usize, usize)> = roots.into_iter().map(|at| (at, 0)).collect();
    while let Some((at, depth)) = pending.pop() {
        let mut below = std::mem::take(&mut effects[at]);
        below.sort_by_key(|effect| (std::cmp::Reverse(size[*effect]), std::cmp::Reverse(*effect)));
        let indented = |(nth, effect)| (effect, depth + usize::from(nth > 0));
        pending.extend(below.into_iter().enumerate().map(indented));
        let step = steps[at].clone();
        let above = rows.last().map(|row| row.step.id);
        let because = cause(&step).filter(|_| step.causation_id != above);
        let next = colours.len() % COLOURS;
        rows.push(Row {
            because: because.map(|cause| plain(&steps[cause].name)),
            depth: depth.min(DEPTH_MAX),
            after: since(start, step.at),
            colour: *colours.entry(step.service.clone()).or_insert(next),
            is_chosen: Some(step.id) == chosen,
            step,
        });
    }
    rows
}

#[derive(Template)]
#[template(path = "console/story.html")]
struct Story<'a> {
    frame: Frame<'a>,
    id: String,
    rows: Vec<Row>,
    cut: usize,
    away: Vec<String>,
    then: Option<Then>,
    /// The text that was searched is no id.
    is_wrong: bool,
}

impl Story<'_> {
    /// Returns the link to the records after a step.
    fn then_link(&self, row: &Row) -> String {
        format!("{HERE}/{}?step={}#then", self.id, row.step.id)
    }

    /// Returns the steps before and after the chosen one.
    fn beside(&self) -> (Option<&Row>, Option<&Row>) {
        let chosen = self.rows.iter().position(|row| row.is_chosen);
        let beside = chosen.map(|at| (at.checked_sub(1), at + 1));
        let Some((before, next)) = beside else {
            return (None, None);
        };
        (before.and_then(|at| self.rows.get(at)), self.rows.get(next))
    }

    fn steps(&self) -> String {
        counted(self.rows.len() as u64, "step")
    }

    fn written_later(&self, records: &usize) -> String {
        let records = counted(*records as u64, "record");
        format!("{records} of this story had not been written yet.")
    }

    fn later(&self) -> String {
        counted(self.cut as u64, "later step")
    }

    fn services(&self) -> Vec<(usize, &str)> {
        let mut all: Vec<(usize, &str)> = Vec::new();
        for row in &self.rows {
            let service = row.step.service.as_str();
            if !all.iter().any(|(_, name)| *name == service) {
                all.push((row.colour, service));
            }
        }
        all
    }
}

/// `GET /console/stories?id=…`: the form.
pub(super) async fn find(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let wanted = parameter(&visitor, "id").unwrap_or_default();
    if let Ok(id) = wanted.trim().parse::<Uuid>() {
        return see_other(&format!("{HERE}/{id}"));
    }
    // Nothing is read for the form, so the guard is asked here.
    if let Err(refused) = read::<serde_json::Value>(&*console.source, "/breakers", &visitor).await
        && refused.status.is_client_error()
    {
        return instead(&console, &visitor, refused);
    }
    let story = Story {
        frame: Frame::new(&console, &visitor, HERE),
        is_wrong: !wanted.is_empty(),
        id: wanted,
        rows: Vec::new(),
        cut: 0,
        away: Vec::new(),
        then: None,
    };
    reply(StatusCode::OK, &story)
}

pub(super) async fn page(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Parts,
) -> Response {
    let Ok(id) = id.parse::<Uuid>() else {
        let refused = Refused::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "it is no correlation id",
        );
        return instead(&console, &visitor, refused);
    };
    let path = format!("/stories/{id}");
    let timeline: Timeline = match read(&*console.source, &path, &visitor).await {
        Ok(timeline) => timeline,
        Err(refused) => return instead(&console, &visitor, refused),
    };
    let Timeline {
        mut items,
        mut away,
    } = timeline;
    let cut = items.len().saturating_sub(STEPS_MAX);
    items.truncate(STEPS_MAX);
    let chosen = parameter(&visitor, "step").and_then(|step| step.parse().ok());
    let chosen = chosen.filter(|id: &Uuid| !id.is_nil());
    let then = match items.iter().find(|step| Some(step.id) == chosen) {
        Some(step) => {
            let path = format!("/stories/{id}/records");
            let records: Result<Items<StoryRecord>, Refused> =
                read(&*console.source, &path, &visitor).await;
            match records {
                Ok(records) => {
                    away.extend(records.away);
                    away.sort();
                    away.dedup();
                    Some(after(step, &records.items))
                }
                Err(refused) => return instead(&console, &visitor, refused),
            }
        }
        None => None,
    };
    let story = Story {
        frame: Frame::new(&console, &visitor, HERE),
        id: id.to_string(),
        rows: tree(items, chosen),
        then,
        cut,
        away,
        is_wrong: false,
    };
    reply(StatusCode::OK, &story)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn step(id: u128, cause: u128) -> Step {
        Step {
            at: Timestamp::from_millis(i64::try_from(id).expect("small")),
            service: "orders".into(),
            kind: "event".into(),
            name: format!("orders.step_{id}.v1"),
            id: Uuid::from_u128(id),
            causation_id: (cause > 0).then(|| Uuid::from_u128(cause)),
        }
    }

    #[test]
    fn the_largest_branch_reads_straight_down_and_the_others_are_indented_before_it() {
        // 1 causes 2 and 3; 3 causes 4.
        let steps = vec![step(1, 0), step(2, 1), step(3, 1), step(4, 3)];
        let rows = tree(steps, None);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name(), row.depth, row.because.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("step 1".to_owned(), 0, None),
                ("step 2".to_owned(), 1, None),
                ("step 3".to_owned(), 0, Some("step 1")),
                ("step 4".to_owned(), 0, None),
            ]
        );
    }

    #[test]
    fn steps_that_cause_each_other_appear_once() {
        let steps = vec![step(1, 2), step(2, 1), step(3, 3)];
        assert_eq!(tree(steps, None).len(), 3);
    }
}
