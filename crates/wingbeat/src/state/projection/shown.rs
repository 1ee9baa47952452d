//! Reads the rows of the version that readers see.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use wingbeat_core::store::{Page, Query, ServiceStore};
use wingbeat_core::unit::Row;
use wingbeat_core::{Error, Name, Result, Timestamp};

use super::control::{Control, Parts};
use crate::decode;
use crate::unit::Projected;

/// The times that a read is repeated because another version is shown meanwhile.
const ATTEMPTS: usize = 8;

/// The version that readers see.
#[derive(PartialEq, Eq)]
struct Shown {
    version: u32,
    began: Timestamp,
    columns: BTreeSet<String>,
}

impl Shown {
    async fn read(store: &ServiceStore, view: Name) -> Result<Self> {
        let control = Control::read(store, view).await?;
        let shown = control
            .shown
            .and_then(|version| Some((version, control.versions.get(&version)?)));
        let (version, built) = shown.ok_or_else(|| incomplete(view, "are being built"))?;
        Ok(Self {
            version,
            began: built.began,
            columns: built.columns.clone(),
        })
    }
}

fn incomplete(view: Name, what: &str) -> Error {
    Error::retry("index_incomplete", format!("the rows of {view} {what}"))
}

/// Returns a row of a projection, and the version that it is of.
///
/// # Errors
///
/// A store error; `index_incomplete` while no version is complete.
pub(in crate::state) async fn row(
    store: &ServiceStore,
    projected: &Projected,
    key: &str,
) -> Result<(u32, Option<Row>)> {
    stable(store, projected.view, None, |rows| store.row(rows, key)).await
}

/// Returns a page of a projection's rows, and the version that they are of.
///
/// # Errors
///
/// As for [`row`]; `index_incomplete` as well if the rows lack the column.
pub(in crate::state) async fn rows(
    store: &ServiceStore,
    projected: &Projected,
    column: Option<Name>,
    query: Query,
) -> Result<(u32, Page)> {
    let read = |view| {
        store.rows(Query {
            view,
            ..query.clone()
        })
    };
    stable(store, projected.view, column, read).await
}

/// Reads from the rows of the version that is shown before and after: a version that is no longer
/// shown loses its rows.
async fn stable<T, F>(
    store: &ServiceStore,
    view: Name,
    column: Option<Name>,
    read: impl Fn(Name) -> F,
) -> Result<(u32, T)>
where
    F: Future<Output = Result<T>>,
{
    let mut shown = Shown::read(store, view).await?;
    for _ in 0..ATTEMPTS {
        if let Some(column) = column
            && !shown.columns.contains(column.as_str())
        {
            let text = format!(
                "are being rebuilt: version {} lacks {column}",
                shown.version
            );
            return Err(incomplete(view, &text));
        }
        let found = read(Parts::of(view.as_str(), shown.version).rows).await?;
        let now = Shown::read(store, view).await?;
        if now == shown {
            return Ok((shown.version, found));
        }
        shown = now;
    }
    Err(incomplete(view, "change too often"))
}

/// Decodes a row that may be of another version, which is `index_incomplete` if it does not fit.
pub(in crate::state) fn decoded<V: DeserializeOwned>(
    projected: &Projected,
    version: u32,
    row: &Row,
) -> Result<V> {
    decode(&row.body).map_err(|why| {
        if version == projected.version {
            return why;
        }
        let text = format!("are being rebuilt: version {version} has another form: {why}");
        incomplete(projected.view, &text)
    })
}
