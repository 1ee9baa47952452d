//! `/console/sagas`: sagas by state, the instances of one saga, and one instance step by step.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use uuid::Uuid;

use super::frame::{Frame, instead, page as reply, parameter, see_other};
use super::lists::{Listed, list as listed};
use super::source::read;
use super::words::{self, encode, indented, plain, since};
use super::{Console, Refused};
use crate::Timestamp;
use crate::run::ops::{
    Breaker, InstancePage, Items, Sagas, Step, StoryRecord, Timeline, WholeInstance,
};

const HERE: &str = "/console/sagas";
/// The number of instances on a page.
const LIMIT: usize = 50;
/// The state of instances that have ended.
const ENDED: &str = "ended";
/// The most unanswered steps that a page names.
const OPEN_MAX: usize = 5;

fn path(service: &str, saga: &str) -> String {
    format!("{HERE}/{}/{}", encode(service), encode(saga))
}

/// A state of a saga type.
struct Count {
    state: String,
    number: u64,
    link: String,
}

/// A saga type.
struct Type {
    service: String,
    saga: String,
    link: String,
    /// Instances that have not ended.
    open: u64,
    counts: Vec<Count>,
}

impl Type {
    fn of(sagas: Sagas) -> Self {
        let link = path(sagas.service.as_str(), &sagas.saga);
        let count = |(state, number): (String, i64)| Count {
            link: format!("{link}?state={}", encode(&state)),
            number: number.unsigned_abs(),
            state,
        };
        let mut counts: Vec<Count> = sagas.states.into_iter().map(count).collect();
        // Those that wait come first, the most first.
        counts.sort_by_key(|it| (it.state == ENDED, std::cmp::Reverse(it.number)));
        let open = counts.iter().filter(|it| it.state != ENDED);
        Self {
            open: open.map(|it| it.number).sum(),
            service: sagas.service.to_string(),
            saga: sagas.saga,
            counts,
            link,
        }
    }
}

#[derive(Template)]
#[template(path = "console/sagas.html")]
struct Types<'a> {
    frame: Frame<'a>,
    types: Listed<Type>,
}

/// `GET /console/sagas`.
pub(super) async fn types(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let found = listed::<Sagas>(&*console.source, "/sagas", &visitor).await;
    let found = match found {
        Ok(found) => found,
        Err(refused) => return instead(&console, &visitor, refused),
    };
    let mut types: Vec<Type> = found.items.into_iter().map(Type::of).collect();
    types.sort_by(|a, b| (&a.service, &a.saga).cmp(&(&b.service, &b.saga)));
    let types = Types {
        frame: Frame::new(&console, &visitor, HERE),
        types: Listed {
            items: types,
            away: found.away,
            failed: found.failed,
        },
    };
    reply(StatusCode::OK, &types)
}

/// An instance in a list.
struct Row {
    id: String,
    link: String,
    in_state: String,
    is_ended: bool,
    timers: Vec<String>,
    updated_at: Timestamp,
}

#[derive(Template)]
#[template(path = "console/saga_list.html")]
struct List<'a> {
    frame: Frame<'a>,
    service: String,
    saga: String,
    here: String,
    in_state: Option<String>,
    states: Vec<Count>,
    rows: Vec<Row>,
    is_first: bool,
    next: Option<String>,
    missing: Option<String>,
    now: Timestamp,
}

/// `GET /console/sagas/{service}/{saga}`.
pub(super) async fn list(
    State(console): State<Arc<Console>>,
    Path((service, saga)): Path<(String, String)>,
    visitor: Parts,
) -> Response {
    let here = path(&service, &saga);
    if let Some(id) = parameter(&visitor, "id") {
        return see_other(&format!("{here}/{}", encode(id.trim())));
    }
    match instances(&console, (service, saga), here, &visitor).await {
        Ok(list) => reply(StatusCode::OK, &list),
        Err(refused) => instead(&console, &visitor, refused),
    }
}

async fn instances<'a>(
    console: &'a Console,
    (service, saga): (String, String),
    here: String,
    visitor: &Parts,
) -> Result<List<'a>, Refused> {
    let source = &*console.source;
    let (cursor, in_state) = (parameter(visitor, "cursor"), parameter(visitor, "state"));
    let filter = in_state
        .as_deref()
        .map(|it| format!("&in_state={}", encode(it)));
    let filter = filter.unwrap_or_default();
    let after = cursor
        .as_deref()
        .map(|it| format!("&cursor={}", encode(it)));
    let api = format!("/sagas/{}/{}", encode(&service), encode(&saga));
    let api = format!("{api}?limit={LIMIT}{filter}{}", after.unwrap_or_default());
    let found: InstancePage = read(source, &api, visitor).await?;
    let types = listed::<Sagas>(source, "/sagas", visitor).await?;
    let missing = types.missing();
    let is_it = |it: &Sagas| it.service.as_str() == service && it.saga == saga;
    let states = types.items.into_iter().find(is_it).map(Type::of);
    let row = |it: crate::run::ops::Instance| Row {
        link: format!("{here}/{}", encode(&it.id)),
        id: it.id,
        in_state: it.in_state,
        is_ended: it.ended,
        timers: it.timers.iter().map(|it| plain(it)).collect(),
        updated_at: it.updated_at,
    };
    let state = in_state
        .as_deref()
        .map(|it| format!("&state={}", encode(it)));
    let next = found.next_cursor.map(|cursor| {
        let (cursor, state) = (cursor.to_string(), state.unwrap_or_default());
        format!("{here}?cursor={}{state}", encode(&cursor))
    });
    Ok(List {
        frame: Frame::new(console, visitor, HERE),
        rows: found.items.into_iter().map(row).collect(),
        states: states.map_or_else(Vec::new, |it| it.counts),
        is_first: cursor.is_none(),
        now: console.runtime.now(),
        service,
        saga,
        here,
        in_state,
        next,
        missing,
    })
}

/// A step of an instance.
struct Move {
    at: Timestamp,
    /// The time since the first step.
    after: String,
    moved_to: String,
    /// The message that caused it.
    because: Option<String>,
    /// The kind and name of each effect.
    effects: Vec<(String, String)>,
    /// The records after this step.
    then: Option<String>,
}

/// A step of the story that nothing has followed.
struct Open {
    step: Step,
    /// The breakers of its service that are not closed, if it is a call.
    breakers: Vec<Breaker>,
}

#[derive(Template)]
#[template(path = "console/saga.html")]
struct One<'a> {
    frame: Frame<'a>,
    service: String,
    saga: String,
    here: String,
    whole: WholeInstance,
    state: String,
    moves: Vec<Move>,
    open: Vec<Open>,
    missing: Option<String>,
    now: Timestamp,
}

/// `GET /console/sagas/{service}/{saga}/{id}`.
pub(super) async fn one(
    State(console): State<Arc<Console>>,
    Path((service, saga, id)): Path<(String, String, String)>,
    visitor: Parts,
) -> Response {
    match whole(&console, (service, saga, id), &visitor).await {
        Ok(one) => reply(StatusCode::OK, &one),
        Err(refused) => instead(&console, &visitor, refused),
    }
}

async fn whole<'a>(
    console: &'a Console,
    (service, saga, id): (String, String, String),
    visitor: &Parts,
) -> Result<One<'a>, Refused> {
    let source = &*console.source;
    let api = format!(
        "/sagas/{}/{}/{}",
        encode(&service),
        encode(&saga),
        encode(&id)
    );
    let whole: WholeInstance = read(source, &api, visitor).await?;
    let (mut moves, mut open, mut missing) = (Vec::new(), Vec::new(), None);
    if let Some(story) = whole.instance.story {
        let timeline: Timeline = read(source, &format!("/stories/{story}"), visitor).await?;
        let records = format!("/stories/{story}/records");
        let records: Items<StoryRecord> = read(source, &records, visitor).await?;
        let mut away: Vec<String> = timeline.away.into_iter().chain(records.away).collect();
        away.sort();
        away.dedup();
        missing = (!away.is_empty()).then(|| away.join(", "));
        let is_it = |it: &StoryRecord| {
            it.service == service && it.saga() == Some(&saga) && it.id == whole.instance.id
        };
        let mut own: Vec<StoryRecord> = records.items.into_iter().filter(is_it).collect();
        own.sort_by_key(|it| (it.at, it.version));
        if !whole.instance.ended {
            let last = own.last().map_or(&[][..], |it| &it.effects);
            open = unanswered(&timeline.items, last);
        }
        moves = own
            .iter()
            .map(|it| step(it, &own, &timeline.items, story))
            .collect();
    }
    let breakers = if open.iter().any(|it| it.kind == "call") {
        listed::<Breaker>(source, "/breakers", visitor).await?.items
    } else {
        Vec::new()
    };
    let open = open.into_iter().map(|step| Open {
        breakers: shut(&step, &breakers),
        step,
    });
    Ok(One {
        frame: Frame::new(console, visitor, HERE),
        here: path(&service, &saga),
        state: indented(&whole.instance.state.to_string()),
        open: open.collect(),
        now: console.runtime.now(),
        service,
        saga,
        whole,
        moves,
        missing,
    })
}

fn step(record: &StoryRecord, own: &[StoryRecord], steps: &[Step], story: Uuid) -> Move {
    let of = |id: &Uuid| steps.iter().find(|step| step.id == *id);
    let because = record.causation_id.as_ref();
    let effects: Vec<&Step> = record.effects.iter().filter_map(of).collect();
    let then = effects.first().map(|step| step.id);
    Move {
        at: record.at,
        after: since(own.first().map_or(record.at, |it| it.at), record.at),
        moved_to: record.moved_to.clone().unwrap_or_default(),
        because: because.and_then(of).map(|step| plain(&step.name)),
        effects: effects
            .into_iter()
            .map(|step| (step.kind.clone(), plain(&step.name)))
            .collect(),
        then: then.map(|step| format!("/console/stories/{story}?step={step}#then")),
    }
}

/// Returns the commands and calls that follow from `effects` and that nothing has followed so far.
fn unanswered(steps: &[Step], effects: &[Uuid]) -> Vec<Step> {
    let causes: BTreeSet<Uuid> = steps.iter().filter_map(|it| it.causation_id).collect();
    let mut reached: BTreeSet<Uuid> = effects.iter().copied().collect();
    // Causes come first in a timeline.
    for step in steps {
        if step
            .causation_id
            .is_some_and(|cause| reached.contains(&cause))
        {
            reached.insert(step.id);
        }
    }
    let open = steps.iter().filter(|step| {
        let asks = matches!(step.kind.as_str(), "command" | "call");
        asks && reached.contains(&step.id) && !causes.contains(&step.id)
    });
    open.take(OPEN_MAX).cloned().collect()
}

/// Returns the breakers that delay a call.
fn shut(step: &Step, breakers: &[Breaker]) -> Vec<Breaker> {
    let is_shut = |it: &&Breaker| it.service.as_str() == step.service && it.state != "closed";
    let calls = step.kind == "call";
    breakers
        .iter()
        .filter(is_shut)
        .filter(|_| calls)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(id: u128, cause: u128, kind: &str) -> Step {
        serde_json::from_value(json!({
            "at": Timestamp::default(), "service": "payments", "kind": kind, "name": "a.b.v1",
            "id": Uuid::from_u128(id), "causation_id": Uuid::from_u128(cause),
        }))
        .expect("a step")
    }

    #[test]
    fn a_saga_waits_for_the_last_commands_and_calls_of_its_branch() {
        let steps = [
            at(2, 1, "command"),
            at(3, 2, "call"),
            at(4, 1, "command"),
            at(5, 4, "event"),
            at(6, 9, "command"),
        ];
        let effects = [2, 4].map(Uuid::from_u128);
        let open = unanswered(&steps, &effects);
        let open: Vec<Uuid> = open.iter().map(|it| it.id).collect();
        assert_eq!(
            open,
            [Uuid::from_u128(3)],
            "4 was answered, 6 is of another branch"
        );
    }
}
