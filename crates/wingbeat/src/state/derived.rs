//! The rows that a table's records show: their definition, and their derivation from a record.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use wingbeat_core::store::ServiceStore;
use wingbeat_core::{Error, Name, Record, Result};

use super::view::{CheckRow, CheckedView, View, ViewRow, check_row};
use crate::unit::{Fold, Scope};

/// A view that shows the records of a table, with its index columns.
///
/// [`Entity::VIEWS`](crate::Entity::VIEWS) and [`Aggregate::VIEWS`](crate::Aggregate::VIEWS) list
/// them, so that a new release recognizes new columns and fills them.
///
/// ```
/// use wingbeat::ViewColumns;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Line { title: String }
/// # impl wingbeat::View for Line { const NAME: &'static str = "books"; }
///
/// const VIEWS: &[ViewColumns] = &[ViewColumns::of::<Line>(&["title"])];
/// # assert_eq!(VIEWS.len(), 1);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ViewColumns {
    view: &'static str,
    columns: &'static [&'static str],
    check: CheckRow,
}

impl PartialEq for ViewColumns {
    fn eq(&self, other: &Self) -> bool {
        (self.view, self.columns) == (other.view, other.columns)
    }
}

impl Eq for ViewColumns {}

impl ViewColumns {
    /// Lists all columns that [`View::columns`](crate::View::columns) returns for any row.
    #[must_use]
    pub const fn of<V: View>(columns: &'static [&'static str]) -> Self {
        Self {
            view: V::NAME,
            columns,
            check: check_row::<V>,
        }
    }

    /// Checks that `views` list the view and the columns of a row that a table shows.
    ///
    /// # Errors
    ///
    /// `rows_undeclared`.
    pub(super) fn check(views: &[Self], table: &str, row: &ViewRow) -> Result<()> {
        let view = row.view.as_str();
        let Some(listed) = views.iter().find(|it| it.view == view) else {
            let text = format!("`VIEWS` of {table} does not list the view {view}");
            return Err(Error::reject("rows_undeclared", text));
        };
        let is_listed = |column: &Name| listed.columns.contains(&column.as_str());
        match row.row.columns.iter().find(|(it, _)| !is_listed(it)) {
            None => Ok(()),
            Some((column, _)) => {
                let text =
                    format!("`VIEWS` of {table} does not list the column {column} of {view}");
                Err(Error::reject("rows_undeclared", text))
            }
        }
    }
}

/// Views and their index columns, by name.
pub(crate) type Columns = BTreeMap<String, BTreeSet<String>>;

/// The definition of the rows that a table's records show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// The number that increases if the same columns are derived in another way.
    pub(crate) number: u32,
    pub(crate) views: Columns,
    /// The versions of the projections that fold the events of this table, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) projections: BTreeMap<String, u32>,
}

impl Definition {
    /// Returns whether nothing is derived from the records.
    pub(crate) fn is_empty(&self) -> bool {
        self.views.is_empty() && self.projections.is_empty()
    }

    pub(super) fn new(number: u32, views: &[ViewColumns]) -> Self {
        let named = |it: &ViewColumns| {
            let columns = it.columns.iter().map(|&column| column.to_owned());
            (it.view.to_owned(), columns.collect())
        };
        Self {
            number,
            views: views.iter().map(named).collect(),
            projections: BTreeMap::new(),
        }
    }
}

/// Writes the rows of one record again, in the unit of the scope.
type Derive = Arc<dyn Fn(Scope, String) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Checks that a stored record can be decoded, and that what is derived from it agrees with it.
/// Returns what is wrong; an error if the store cannot be read.
pub(crate) type CheckRecord = Arc<
    dyn Fn(ServiceStore, String, Record) -> BoxFuture<'static, Result<Vec<Error>>> + Send + Sync,
>;

/// The rows of a table, with their derivation, and the check of its records.
#[derive(Clone)]
pub(crate) struct Derived {
    /// `entity` or `aggregate`.
    pub(crate) kind: &'static str,
    pub(crate) table: Name,
    pub(crate) definition: Definition,
    pub(crate) derive: Derive,
    pub(crate) check: CheckRecord,
    /// Folds histories to past states; `None` for records without a history.
    pub(crate) past: Option<Fold>,
    /// The views in which its records show rows.
    pub(crate) views: Vec<CheckedView>,
}

/// A [`Derived`] or [`CheckedView`] without its type, for descriptions, which know no units.
type Erased = Arc<dyn Any + Send + Sync>;

impl Derived {
    pub(super) fn new<F>(
        (kind, table): (&'static str, &'static str),
        definition: Definition,
        check: CheckRecord,
        derive: impl Fn(Scope, String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            kind,
            table: Name::new(table),
            definition,
            derive: Arc::new(move |scope, id| Box::pin(derive(scope, id))),
            check,
            past: None,
            views: Vec::new(),
        }
    }

    pub(super) fn with_past(mut self, past: Fold) -> Self {
        self.past = Some(past);
        self
    }

    pub(super) fn with_views(mut self, views: &[ViewColumns]) -> Self {
        let checked = |it: &ViewColumns| CheckedView {
            view: Name::new(it.view),
            check: it.check,
        };
        self.views = views.iter().map(checked).collect();
        self
    }

    pub(crate) fn erased(self) -> Erased {
        Arc::new(self)
    }

    /// Returns the tables among descriptions.
    pub(crate) fn among<'a>(erased: impl Iterator<Item = &'a Erased>) -> Vec<Self> {
        erased
            .filter_map(|it| it.downcast_ref::<Self>())
            .cloned()
            .collect()
    }
}
