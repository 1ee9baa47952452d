//! Reads the recorded units of one service.

use std::collections::BTreeMap;

use wingbeat_core::{CorrelationId, Key, Name, Result};

use super::{History, Story};
use crate::decode;
use crate::recording::{self, Body, RecordedUnit};
use crate::unit::ServiceContext;

/// The units of one service in an exported story. A story that never ends has more; the export has
/// the first ones.
const UNITS_MAX: usize = 2_000;
/// The records that are read at once.
const PAGE: usize = 200;
/// The events of one history in an export. An aggregate with more cannot be folded in a replay.
const EVENTS_MAX: usize = 10_000;

/// The length of the history that a stored snapshot covers.
#[derive(serde::Deserialize)]
struct Covered {
    v: u64,
}

/// Returns what a service has recorded of a story. Personal data is masked.
///
/// # Errors
///
/// A [store error](crate::Reads#store-errors); `undecodable` if a recording cannot be read.
pub(crate) async fn export(service: &ServiceContext, story: CorrelationId) -> Result<Story> {
    let mut exported = Story::new(story);
    exported.units = units(service, story).await?;
    exported.histories = histories(service, &exported.units).await?;
    #[cfg(feature = "personal")]
    super::mask::mask(service, &mut exported).await?;
    exported.sort();
    Ok(exported)
}

async fn units(service: &ServiceContext, story: CorrelationId) -> Result<Vec<RecordedUnit>> {
    let prefix = recording::prefix(story);
    let (mut units, mut after) = (Vec::new(), prefix.clone());
    while units.len() < UNITS_MAX {
        let page = service.store.scan(recording::TABLE, Some(after), PAGE);
        let page = page.await?;
        let is_last = page.len() < PAGE;
        let Some((last, _)) = page.last() else { break };
        after = last.clone();
        let is_over = !after.starts_with(&prefix);
        for (id, record) in page {
            if id.starts_with(&prefix) {
                units.push(decode(&record.body)?);
            }
        }
        if is_last || is_over {
            break;
        }
    }
    Ok(units)
}

/// Reads the histories of the aggregates that the units read: the code that replays them may not be
/// able to use the snapshots of the code that stored them.
async fn histories(service: &ServiceContext, units: &[RecordedUnit]) -> Result<Vec<History>> {
    let mut lengths = BTreeMap::<(&str, &str), u64>::new();
    for read in units.iter().flat_map(|unit| &unit.reads) {
        let body = read.body.as_ref().map(Body::bytes);
        let covered = body.and_then(|body| decode::<Covered>(&body).ok());
        if let Some(Covered { v }) = covered {
            let length = lengths.entry((&read.table, &read.id)).or_default();
            *length = v.max(*length);
        }
    }
    let mut histories = Vec::new();
    for ((table, id), length) in lengths {
        let key = Key::new(Name::intern(table), id);
        let limit = usize::try_from(length)
            .unwrap_or(EVENTS_MAX)
            .min(EVENTS_MAX);
        let events = service.store.history_page(&key, 0, limit).await?;
        if events.is_empty() {
            continue; // It is no aggregate.
        }
        histories.push(History {
            service: service.name.to_string(),
            table: table.to_owned(),
            id: id.to_owned(),
            events: events
                .iter()
                .map(|it| (it.at, Body::of(&it.body)))
                .collect(),
        });
    }
    Ok(histories)
}
