//! The tables and views of a service, with the checks of their records and rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wingbeat_core::{Error, Result};

use super::walk::{Check, Part};
use crate::failed::{PARKED, Parked, WAITING, unpack};
use crate::saga::SagaCheck;
use crate::service::Wiring;
use crate::state::CheckRecord;
use crate::unit::{CALLS, CallRecord, DELAYED, DelayedRecord, OwnTable, TIMERS, TimerRecord};
use crate::{decode, dispatch, failed, partition, rebuild, recording, replay, schedule};

/// The kind of the runtime's own records.
const RUNTIME: &str = "runtime";

/// Returns all that a service stores, as far as its code is known.
pub(super) fn of(wiring: &Wiring) -> Vec<Part> {
    let mut parts = tables(wiring);
    parts.extend(views(wiring));
    let projections = wiring.projections.iter();
    parts.extend(projections.map(|it| Part {
        kind: "projection",
        table: it.projected().view,
        check: Check::Projection(Arc::clone(it)),
    }));
    for saga in &wiring.saga_checks {
        parts.push(Part::records("saga", saga.table, bodies(saga.record)));
    }
    let queues = wiring.subscriptions.iter().map(|it| it.queue.as_str());
    let queues: BTreeSet<&str> = queues.collect();
    let is_known = move |queue: &str| queues.contains(queue);
    let parked = bodies(move |body| check_parked(&is_known, body));
    parts.push(Part::records(RUNTIME, TIMERS, timers(&wiring.saga_checks)));
    parts.push(Part::records(RUNTIME, CALLS, calls(wiring)));
    parts.push(Part::records(RUNTIME, PARKED, Arc::clone(&parked)));
    parts.push(Part::records(RUNTIME, WAITING, parked));
    let own = own_tables().into_iter();
    parts.extend(own.map(|it| Part::records(RUNTIME, it.table, bodies(it.check))));
    parts
}

/// Returns the tables of entities and aggregates, each once.
fn tables(wiring: &Wiring) -> Vec<Part> {
    let mut seen = BTreeSet::new();
    let tables = wiring.tables.iter().filter(|it| seen.insert(it.table));
    let part = |it: &crate::state::Derived| Part::records(it.kind, it.table, Arc::clone(&it.check));
    tables.map(part).collect()
}

/// Returns the views that handlers write and records show, each once.
fn views(wiring: &Wiring) -> Vec<Part> {
    let shown = wiring.tables.iter().flat_map(|it| &it.views);
    let mut seen = BTreeSet::new();
    let views = wiring.views.iter().chain(shown);
    let views = views.filter(|it| seen.insert(it.view));
    let part = |it: &crate::state::CheckedView| Part {
        kind: "view",
        table: it.view,
        check: Check::Rows(it.check),
    };
    views.map(part).collect()
}

fn own_tables() -> Vec<OwnTable> {
    let mut tables = vec![
        OwnTable::of::<DelayedRecord>(DELAYED),
        schedule::STORED,
        dispatch::STORED,
        dispatch::LIMITS_STORED,
        rebuild::STORED,
        crate::state::PROJECTIONS_STORED,
        OwnTable {
            table: recording::TABLE,
            check: recording::check,
        },
    ];
    tables.extend(failed::STORED);
    tables.extend(replay::STORED);
    tables.extend(partition::STORED);
    #[cfg(feature = "http")]
    tables.push(crate::http::STORED);
    #[cfg(feature = "personal")]
    tables.push(crate::state::STORED);
    tables
}

/// A check of bodies alone.
fn bodies(check: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static) -> CheckRecord {
    Arc::new(move |_, _, record| {
        let found = check(&record.body).err().into_iter().collect();
        Box::pin(std::future::ready(Ok(found)))
    })
}

fn timers(sagas: &[SagaCheck]) -> CheckRecord {
    let checks = sagas.iter().map(|it| (it.queue.as_str(), it.timer));
    let checks: BTreeMap<&str, _> = checks.collect();
    bodies(move |body| {
        let timer: TimerRecord = decode(body)?;
        let check = checks.get(timer.queue.as_str());
        let check = check.ok_or_else(|| unknown_queue(&timer.queue))?;
        check(&timer.message, timer.body.get().as_bytes())
    })
}

fn calls(wiring: &Wiring) -> CheckRecord {
    let executors = wiring.executors.iter();
    let checks: BTreeMap<&str, _> = executors.map(|it| (it.name, it.check)).collect();
    bodies(move |body| {
        let call: CallRecord = decode(body)?;
        let check = checks.get(call.name.as_str()).ok_or_else(|| {
            let text = format!("no executor for the call {}", call.name);
            Error::reject("unknown_call", text)
        })?;
        check(call.body.get().as_bytes())
    })
}

fn check_parked(is_known: &impl Fn(&str) -> bool, body: &[u8]) -> Result<()> {
    let parked: Parked = decode(body)?;
    if unpack(&parked.envelope).is_none() {
        let text = "a parked envelope cannot be read";
        return Err(Error::reject("undecodable", text));
    }
    if is_known(&parked.queue) {
        Ok(())
    } else {
        Err(unknown_queue(&parked.queue))
    }
}

fn unknown_queue(queue: &str) -> Error {
    Error::reject("unknown_queue", format!("there is no subscription {queue}"))
}
