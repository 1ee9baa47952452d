//! The public state of a rebuild.

use wingbeat_core::{Name, Timestamp};

use super::state::{Release, State};

/// The state of the rows that a table's records show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebuildStatus {
    /// The service.
    pub service: Name,
    /// The table: [`Entity::NAME`](crate::Entity::NAME) or
    /// [`Aggregate::NAME`](crate::Aggregate::NAME).
    pub table: String,
    /// The index columns by which lists are refused until the rebuild is done, as `view.column`. A
    /// view without its columns stands for all of its lists.
    pub incomplete: Vec<String>,
    /// The number of records whose rows were written again.
    pub records: u64,
    /// The time at which the rebuild began; `None` while it waits for processes of another release
    /// to end, or for the rebuild of another table.
    pub began: Option<Timestamp>,
    /// The time at which it was done.
    pub done: Option<Timestamp>,
    /// The error because of which it does not go on, if it does not. It is tried again every
    /// minute.
    pub failure: Option<String>,
    /// The projection, if the rows of one are built.
    pub projection: Option<ProjectionStatus>,
}

/// The state of a version of a [projection](crate::Projection).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// The view of its rows.
    pub view: String,
    /// The version.
    pub version: u32,
    /// The version whose rows readers see.
    pub shown: Option<u32>,
    /// The number of events that its rows count.
    pub events: u64,
    /// Its rows are being removed: another version has replaced them, or it was abandoned.
    pub removing: bool,
    /// An operator has abandoned this version.
    pub abandoned: bool,
}

impl RebuildStatus {
    /// Returns the rebuilds of a release: those that are necessary, and the last one of each table.
    pub(super) fn all(service: Name, release: &Release, state: &State) -> Vec<Self> {
        let wanted = state.wanted(release);
        let statuses = release.iter().filter_map(|(table, definition)| {
            let filled = state.tables.get(table);
            let status = Self {
                service,
                table: table.clone(),
                incomplete: Vec::new(),
                records: 0,
                began: None,
                done: None,
                failure: None,
                projection: None,
            };
            if !wanted.contains(&table) {
                let last = filled?.last.as_ref()?;
                return Some(Self {
                    records: last.records,
                    began: Some(last.began),
                    done: Some(last.done),
                    ..status
                });
            }
            let pass = state.pass.as_ref().filter(|it| it.table == *table);
            let mut incomplete = Vec::new();
            for (view, columns) in &definition.views {
                let complete = filled.and_then(|it| it.views.get(view));
                let lacks = |column: &&String| complete.is_none_or(|it| !it.contains(*column));
                incomplete.extend(complete.is_none().then(|| view.clone()));
                let columns = columns.iter().filter(lacks);
                incomplete.extend(columns.map(|column| format!("{view}.{column}")));
            }
            Some(Self {
                incomplete,
                records: pass.map_or(0, |it| it.records),
                began: pass.map(|it| it.began),
                failure: pass.and_then(|it| it.failure.clone()),
                ..status
            })
        });
        statuses.collect()
    }
}
