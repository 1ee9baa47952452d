//! The changes of rows that events cause.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use wingbeat_core::store::ServiceStore;
use wingbeat_core::unit::Row;
use wingbeat_core::{Error, Name, Result};

use super::super::view::View;
use crate::decode;
use crate::unit::Scope;

/// The reads of the store at the same time.
pub(super) const CONCURRENT: usize = 16;

pub(super) type Change<R> = Box<dyn FnOnce(Option<R>) -> Option<R> + Send>;

/// The changes of rows that a [`Projection`](crate::Projection) derives from events.
///
/// The rows themselves are read later, for many events at once, so a change is a function of the
/// row.
#[must_use]
pub struct Changes<R> {
    by_key: BTreeMap<String, Vec<Change<R>>>,
}

impl<R: View> Changes<R> {
    pub(super) const fn new() -> Self {
        Self {
            by_key: BTreeMap::new(),
        }
    }

    /// Changes the row with this key. A row that is absent starts with its default.
    pub fn update(&mut self, key: impl Into<String>, change: impl FnOnce(&mut R) + Send + 'static)
    where
        R: Default,
    {
        self.replace(key, |row| {
            let mut row = row.unwrap_or_default();
            change(&mut row);
            Some(row)
        });
    }

    /// Replaces the row with this key by the result of `change`; `None` stands for an absent row.
    pub fn replace(
        &mut self,
        key: impl Into<String>,
        change: impl FnOnce(Option<R>) -> Option<R> + Send + 'static,
    ) {
        let changes = self.by_key.entry(key.into()).or_default();
        changes.push(Box::new(change));
    }

    /// Returns the changes of each row, in their order.
    pub(super) fn into_parts(self) -> BTreeMap<String, Vec<Change<R>>> {
        self.by_key
    }

    /// Reads the rows of the stored view `rows`, and writes them changed, in the unit of the scope.
    ///
    /// # Errors
    ///
    /// A store error; `undecodable` if a row has another form; `rows_undeclared` if a row has a
    /// column that is not listed.
    pub(super) async fn write(self, scope: &Scope, rows: Name, columns: &[&str]) -> Result<()> {
        let keys = self.by_key.keys().cloned().collect();
        let stored = read(&scope.service().store, rows, keys).await?;
        for ((key, changes), stored) in self.by_key.into_iter().zip(stored) {
            let before = stored.as_ref().map(|row| decode(&row.body)).transpose()?;
            let after = changes.into_iter().fold(before, |row, change| change(row));
            if stored.is_none() && after.is_none() {
                continue;
            }
            let row = after.map(|row| listed::<R>(row.to_row(), columns));
            scope.put_row(rows, key, row.transpose()?)?;
        }
        Ok(())
    }
}

/// Returns the rows with these keys.
async fn read(store: &ServiceStore, view: Name, keys: Vec<String>) -> Result<Vec<Option<Row>>> {
    let read = keys
        .into_iter()
        .map(|key| async move { store.row(view, &key).await });
    stream::iter(read).buffered(CONCURRENT).try_collect().await
}

/// Checks that the columns of a row are listed.
fn listed<R: View>(row: Row, columns: &[&str]) -> Result<Row> {
    let is_listed = |column: &Name| columns.contains(&column.as_str());
    match row.columns.iter().find(|(column, _)| !is_listed(column)) {
        None => Ok(row),
        Some((column, _)) => {
            let text = format!(
                "`COLUMNS` of the projection does not list the column {column} of {}",
                R::NAME
            );
            Err(Error::reject("rows_undeclared", text))
        }
    }
}
