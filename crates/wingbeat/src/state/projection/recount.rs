//! Folds histories again, as far as they count, into the rows that a projection should have.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use wingbeat_core::store::ServiceStore;
use wingbeat_core::{Error, Key, Name, Result};

use super::super::aggregate::Aggregate;
use super::super::view::View;
use super::Projection;
use super::applying::{Applying, Checkpoint, fold};
use super::changes::Changes;
use super::comparison::{FOUND_MAX, Keys, Recount, page};
use crate::decode;

/// The rows that are folded at once. More rows take another fold of all histories.
const ROWS: usize = 4_096;
/// The checkpoints that are read at once.
const CHECKPOINTS: usize = 64;
/// The events that are read at once.
const EVENTS: usize = 64;
/// The rows during a fold. The memory is bounded: of more rows, the first ones stay.
struct Window<R> {
    keys: Keys,
    rows: BTreeMap<String, Option<R>>,
    max: usize,
}

impl<R: View> Window<R> {
    fn change(&mut self, changes: Changes<R>) {
        for (key, changes) in changes.into_parts() {
            if !self.keys.contain(&key) {
                continue;
            }
            let row = self.rows.remove(&key).flatten();
            let row = changes.into_iter().fold(row, |row, change| change(row));
            self.rows.insert(key, row);
            if self.rows.len() > self.max {
                self.rows.pop_last();
                self.keys.until = self.rows.last_key_value().map(|(key, _)| key.clone());
            }
        }
    }
}

impl<P: Projection> Applying<P> {
    /// Folds all histories up to their checkpoints.
    ///
    /// # Errors
    ///
    /// A store error.
    pub(super) async fn recount_all(store: &ServiceStore, keys: Keys) -> Result<Recount> {
        let mut window = Window::<P::Row> {
            keys,
            rows: BTreeMap::new(),
            max: ROWS,
        };
        let (mut found, mut is_whole, mut after) = (Vec::new(), true, None);
        loop {
            let progress = Self::parts().progress;
            let page = page(store, progress, after.as_deref(), CHECKPOINTS).await?;
            for (id, row) in &page.rows {
                let counted = Self::recount_one(store, id, &row.body, &mut window);
                let counted = AssertUnwindSafe(counted).catch_unwind().await;
                let wrong = counted.unwrap_or_else(|_| Ok(Some((panicked(), false))))?;
                let Some((why, is_counted)) = wrong else {
                    continue;
                };
                is_whole &= is_counted;
                if found.len() < FOUND_MAX {
                    found.push((id.clone(), why));
                }
            }
            after = page.next.and(page.rows.last().map(|(id, _)| id.clone()));
            if after.is_none() {
                break;
            }
        }
        let rows = window.rows.into_iter();
        let rows = rows.filter_map(|(key, row)| Some((key, row?.to_row())));
        Ok(Recount {
            rows: rows.collect(),
            keys: window.keys,
            found,
            is_whole,
        })
    }

    /// Folds the history of one aggregate up to its checkpoint. Returns what is wrong with the
    /// checkpoint, and whether its events were counted nevertheless.
    async fn recount_one(
        store: &ServiceStore,
        id: &str,
        stored: &[u8],
        window: &mut Window<P::Row>,
    ) -> Result<Option<(Error, bool)>> {
        let stored: Checkpoint<P> = match decode(stored) {
            Ok(stored) => stored,
            Err(why) => return Ok(Some((why, false))),
        };
        let key = Key::new(Name::new(P::Aggregate::NAME), id.to_owned());
        let mut counted = Checkpoint::<P>::default();
        while counted.sequence < stored.sequence {
            let missing = usize::try_from(stored.sequence - counted.sequence);
            let limit = missing.map_or(EVENTS, |missing| missing.min(EVENTS));
            let events = store.history_page(&key, counted.sequence, limit).await?;
            if events.is_empty() {
                let (at, last) = (stored.sequence, counted.sequence);
                let text = format!("{at} events count, but the history ends at {last}");
                return Ok(Some((Error::reject("history_gap", text), false)));
            }
            let mut changes = Changes::new();
            counted = match fold(id, counted, &events, &mut changes) {
                Ok(counted) => counted,
                Err(why) => return Ok(Some((why, false))),
            };
            window.change(changes);
        }
        let json = |it: &Checkpoint<P>| serde_json::to_value(it).ok();
        if json(&counted) == json(&stored) {
            return Ok(None);
        }
        let text = "what the projection remembers differs from the events that count";
        Ok(Some((Error::reject("row_differs", text), true)))
    }
}

fn panicked() -> Error {
    Error::reject("panicked", "the code that folds the history panicked")
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Count(u32);

    impl View for Count {
        const NAME: &'static str = "counts";
    }

    #[test]
    fn of_more_rows_than_fit_the_first_ones_are_complete() {
        let mut keys = Keys::default();
        let mut counts = Vec::new();
        loop {
            let mut window = Window::<Count> {
                keys: keys.clone(),
                rows: BTreeMap::new(),
                max: 2,
            };
            for key in ["d", "b", "e", "a", "c", "b", "e", "b", "d"] {
                let mut changes = Changes::new();
                changes.update(key, |row: &mut Count| row.0 += 1);
                window.change(changes);
            }
            let rows = window.rows.into_iter();
            counts.extend(rows.map(|(key, row)| (key, row.unwrap_or_default().0)));
            keys.after = window.keys.until;
            if keys.after.is_none() {
                break;
            }
        }
        let right = [("a", 1), ("b", 3), ("c", 1), ("d", 2), ("e", 2)];
        assert_eq!(counts, right.map(|(key, count)| (key.to_owned(), count)));
    }
}
