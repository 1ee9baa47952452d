//! The rows that a projection should have, and their comparison with those that it has.

use std::collections::{BTreeMap, BTreeSet};

use wingbeat_core::store::{Page, Position, Query, Select, ServiceStore};
use wingbeat_core::unit::Row;
use wingbeat_core::{Error, Name, Result};

/// The rows that are read at once.
const PAGE: usize = 64;
/// The errors that are returned.
pub(super) const FOUND_MAX: usize = 256;

/// The keys behind `after`, up to `until`; all if both are `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) after: Option<String>,
    pub(crate) until: Option<String>,
}

impl Keys {
    pub(crate) fn contain(&self, key: &str) -> bool {
        let is_behind = self.after.as_deref().is_none_or(|after| key > after);
        is_behind && self.until.as_deref().is_none_or(|until| key <= until)
    }
}

/// The rows that the histories fold to, up to their checkpoints.
pub(crate) struct Recount {
    /// The keys of which this contains all rows. The first ones, if there are more than fit.
    pub(crate) keys: Keys,
    pub(crate) rows: BTreeMap<String, Row>,
    /// Aggregates whose checkpoint is wrong.
    pub(crate) found: Vec<(String, Error)>,
    /// Every checkpoint and its history could be read, so the rows are right.
    pub(crate) is_whole: bool,
}

/// Returns a page of a stored view, by key.
pub(super) async fn page(
    store: &ServiceStore,
    view: Name,
    after: Option<&str>,
    limit: usize,
) -> Result<Page> {
    let after = after.map(|key| Position {
        value: String::new(),
        key: key.to_owned(),
    });
    let query = Query {
        view,
        select: Select::All,
        after,
        limit,
    };
    store.rows(query).await
}

impl Recount {
    /// Compares the stored rows with these. Returns the differences by key, at most 256.
    ///
    /// # Errors
    ///
    /// A store error.
    pub(crate) async fn differences(
        &self,
        store: &ServiceStore,
        rows: Name,
    ) -> Result<(BTreeMap<String, WrongRow>, u64)> {
        let mut missing: BTreeSet<&str> = self.rows.keys().map(String::as_str).collect();
        let (mut found, mut compared) = (BTreeMap::new(), 0);
        let mut after = self.keys.after.clone();
        loop {
            let page = page(store, rows, after.as_deref(), PAGE).await?;
            let inside = page
                .rows
                .iter()
                .take_while(|(key, _)| self.keys.contain(key));
            for (key, row) in inside.clone() {
                missing.remove(key.as_str());
                let right = self.rows.get(key);
                if !right.is_some_and(|right| same(right, row)) && found.len() < FOUND_MAX {
                    found.insert(key.clone(), WrongRow::of(Some(row), right));
                }
            }
            let count = inside.count();
            compared += count as u64;
            after = page.next.and(page.rows.last().map(|(key, _)| key.clone()));
            if after.is_none() || count < page.rows.len() {
                break;
            }
        }
        for key in missing {
            if found.len() < FOUND_MAX {
                found.insert(key.to_owned(), WrongRow::of(None, self.rows.get(key)));
            }
        }
        Ok((found, compared))
    }
}

/// A stored row, and the one that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongRow {
    pub(crate) stored: Option<Row>,
    right: Option<Row>,
}

impl WrongRow {
    fn of(stored: Option<&Row>, right: Option<&Row>) -> Self {
        Self {
            stored: stored.cloned(),
            right: right.cloned(),
        }
    }

    pub(crate) fn error(&self) -> Error {
        let text = match (&self.stored, &self.right) {
            (None, _) => "the row is missing",
            (_, None) => "the row comes from no event",
            _ => "the row differs from the events that count",
        };
        Error::reject("row_differs", text)
    }
}

/// Compares two rows. The order of maps does not count.
fn same(one: &Row, other: &Row) -> bool {
    let json = |row: &Row| serde_json::from_slice::<serde_json::Value>(&row.body).ok();
    one.columns == other.columns && (one.body == other.body || json(one) == json(other))
}
