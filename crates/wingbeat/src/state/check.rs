//! Checks of stored data: it can be decoded, and what is derived from it agrees with it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use wingbeat_core::store::ServiceStore;
use wingbeat_core::{Error, Key, Name, Record, Result};

use super::aggregate::{Aggregate, Snapshot};
use super::derived::CheckRecord;
use super::entity::Entity;
use super::view::ViewRow;
use crate::{decode, encode};

/// The events that are read at once.
const EVENTS: usize = 256;
/// The findings that are reported for one record.
const FOUND_MAX: usize = 8;
/// The checks of a record that changes meanwhile.
const ATTEMPTS: usize = 8;

/// Returns the check of the entities of one type.
pub(super) fn of_entity<E: Entity>() -> CheckRecord {
    Arc::new(|store, id, record| {
        Box::pin(async move {
            match decode::<E>(&record.body) {
                Ok(entity) => rows(&store, entity.rows(&id)).await,
                Err(why) => Ok(vec![why]),
            }
        })
    })
}

/// Returns the check of the aggregates of one type: the history has no gap, its events can be
/// decoded, and snapshot and rows agree with it.
pub(super) fn of_aggregate<A: Aggregate>() -> CheckRecord {
    Arc::new(|store, id, record| {
        Box::pin(async move {
            let key = Key::new(Name::new(A::NAME), id);
            let Folded { state, mut found } = fold::<A>(&store, &key, &record.body).await?;
            if let Some(state) = state {
                found.extend(rows(&store, state.rows(&key.id)).await?);
            }
            found.truncate(FOUND_MAX);
            Ok(found)
        })
    })
}

/// Runs the check of a record until the record does not change meanwhile. Reads are not from one
/// moment, so only then is what was found wrong.
pub(crate) async fn settled(
    check: &CheckRecord,
    store: &ServiceStore,
    table: Name,
    (id, mut record): (String, Record),
) -> Result<Vec<Error>> {
    let key = Key::new(table, id);
    for _ in 0..ATTEMPTS {
        let checking = check(store.clone(), key.id.clone(), record.clone());
        let checked = AssertUnwindSafe(checking).catch_unwind().await;
        let found = checked.unwrap_or_else(|_| {
            let text = "the code that reads the record panicked";
            Ok(vec![Error::reject("panicked", text)])
        })?;
        if found.is_empty() {
            return Ok(found);
        }
        match store.load(&key).await? {
            Some(now) if now.version == record.version => return Ok(found),
            Some(now) => record = now,
            None => break, // It was removed.
        }
    }
    Ok(Vec::new())
}

/// The result of folding the history of an aggregate.
struct Folded<A> {
    /// `None` if the history cannot be folded.
    state: Option<A>,
    found: Vec<Error>,
}

async fn fold<A: Aggregate>(store: &ServiceStore, key: &Key, body: &[u8]) -> Result<Folded<A>> {
    let (mut state, mut last, mut found) = (A::default(), 0, Vec::new());
    let upcasts = A::upcasts();
    loop {
        let page = store.history_page(key, last, EVENTS).await?;
        for event in &page {
            if event.sequence != last + 1 && found.len() < FOUND_MAX {
                found.push(gap(last + 1, event.sequence));
            }
            last = event.sequence;
            match upcasts.read(&event.body) {
                // What follows an unreadable event cannot be folded.
                Ok(event) if found.is_empty() => state.apply(&event),
                Err(why) if found.len() < FOUND_MAX => {
                    let text = format!("event {last}: {why}");
                    found.push(Error::reject(why.code(), text));
                }
                _ => {}
            }
        }
        if page.len() < EVENTS {
            break;
        }
    }
    let is_whole = found.is_empty();
    found.extend(snapshot(body, &state, last, is_whole).err());
    let state = is_whole.then_some(state);
    Ok(Folded { state, found })
}

fn gap(expected: u64, next: u64) -> Error {
    let missing = match next - expected {
        1 => format!("event {expected} is missing"),
        _ => format!("the events {expected} to {} are missing", next - 1),
    };
    Error::reject("history_gap", missing)
}

/// Compares a stored snapshot with the state that the whole history has.
fn snapshot<A: Aggregate>(body: &[u8], state: &A, last: u64, is_whole: bool) -> Result<()> {
    let covered = Snapshot::<A>::covers(body)?;
    if covered > last {
        let text = format!("the snapshot covers {covered} events, but the history ends at {last}");
        return Err(Error::reject("history_gap", text));
    }
    if covered < last {
        let text = format!("the snapshot covers {covered} of {last} events");
        return Err(Error::reject("snapshot_differs", text));
    }
    // Readers fold the history themselves if the snapshot is of another release.
    let Some(snapshot) = Snapshot::<A>::stored(body).filter(|_| is_whole) else {
        return Ok(());
    };
    if same(state, &snapshot.state) {
        return Ok(());
    }
    let text = "the snapshot differs from its history";
    Err(Error::reject("snapshot_differs", text))
}

/// Compares two states as they are stored. The order of maps does not count.
fn same<A: Aggregate>(one: &A, other: &A) -> bool {
    let json = |state: &A| serde_json::to_value(state).ok();
    encode(one) == encode(other) || json(one) == json(other)
}

/// Compares the rows that a record shows with those in the store.
async fn rows(store: &ServiceStore, expected: Vec<ViewRow>) -> Result<Vec<Error>> {
    let mut found = Vec::new();
    for expected in expected {
        let stored = store.row(expected.view, &expected.key).await?;
        let found_as = match stored {
            Some(row) if row == expected.row => continue,
            Some(_) => "differs",
            None => "is missing",
        };
        let text = format!("row {} of view {} {found_as}", expected.key, expected.view);
        found.push(Error::reject("row_differs", text));
        if found.len() == FOUND_MAX {
            break;
        }
    }
    Ok(found)
}
