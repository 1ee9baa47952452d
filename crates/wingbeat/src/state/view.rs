//! Views: rows for queries, written together with the data that they show.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::unit::Row;
use wingbeat_core::{Name, Result};

use crate::describe::{RequestDescription, StoredKind, StoredName};
use crate::extract::Extract;
use crate::unit::Scope;
use crate::{decode, encode};

/// A row of a view: data in the shape in which a screen or a list needs it.
///
/// Rows are found by key, or by an index column; see [`Select`](crate::Select). They come either
/// from [`Entity::rows`](crate::Entity::rows) and [`Aggregate::rows`](crate::Aggregate::rows),
/// which write them with every change, or from handlers of other services' events, which write them
/// through [`Rows`].
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::{Entity, View, ViewColumns, ViewRow};
///
/// #[derive(Serialize, Deserialize)]
/// struct Line {
///     title: String,
/// }
///
/// impl View for Line {
///     const NAME: &'static str = "books";
///
///     fn columns(&self) -> Vec<(&'static str, String)> {
///         vec![("title", self.title.to_lowercase())] // to search without regard to case
///     }
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Book {
///     title: String,
/// }
///
/// impl Entity for Book {
///     const NAME: &'static str = "book";
///     type Id = String;
///     const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Line>(&["title"])];
///
///     fn rows(&self, id: &str) -> Vec<ViewRow> {
///         vec![ViewRow::of(id, &Line { title: self.title.clone() })]
///     }
/// }
/// # assert_eq!(Book { title: "Emma".into() }.rows("1").len(), 1);
/// ```
pub trait View: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the view. It is stored: keep it when you rename the type.
    const NAME: &'static str;

    /// Returns the index columns and their values. Values compare by their bytes, so pad numbers
    /// with zeros. The entity or aggregate that shows itself in the view lists the columns in its
    /// [`VIEWS`](crate::Entity::VIEWS).
    fn columns(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns the stored form of the row.
    fn to_row(&self) -> Row {
        let columns = self
            .columns()
            .into_iter()
            .map(|(column, value)| (Name::new(column), value))
            .collect();
        Row {
            columns,
            body: encode(self),
        }
    }
}

/// A row of a view with its key.
pub struct ViewRow {
    pub(super) view: Name,
    pub(super) key: String,
    pub(super) row: Row,
}

impl ViewRow {
    /// Creates the row `view` with the key `key`.
    pub fn of<V: View>(key: impl Into<String>, view: &V) -> Self {
        Self {
            view: Name::new(V::NAME),
            key: key.into(),
            row: view.to_row(),
        }
    }
}

/// Checks that a stored row can be decoded.
pub(crate) type CheckRow = fn(&Row) -> Result<()>;

/// Checks that a stored row is a `V`.
pub(super) fn check_row<V: View>(row: &Row) -> Result<()> {
    decode::<V>(&row.body).map(drop)
}

/// A view with the check of its rows.
#[derive(Clone, Copy)]
pub(crate) struct CheckedView {
    pub(crate) view: Name,
    pub(crate) check: CheckRow,
}

impl CheckedView {
    pub(crate) fn of<V: View>() -> Self {
        Self {
            view: Name::new(V::NAME),
            check: check_row::<V>,
        }
    }

    /// Returns the views among descriptions.
    pub(crate) fn among<'a>(
        erased: impl Iterator<Item = &'a Arc<dyn Any + Send + Sync>>,
    ) -> Vec<Self> {
        erased
            .filter_map(|it| it.downcast_ref::<Self>())
            .copied()
            .collect()
    }
}

/// An extractor that writes rows of one view.
///
/// Writes are part of the handler's unit of work, but not validated: rows are for display, so a
/// handler bases its decisions on entities and aggregates. [`Reads`](crate::Reads) reads rows.
///
/// ```
/// use wingbeat::{Result, Rows, Service};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema, View};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "catalog.price_changed", version = 1, key = sku)]
/// # struct PriceChanged { sku: String, cents: u64 }
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// # struct Price { cents: u64 }
/// # impl View for Price { const NAME: &'static str = "prices"; }
///
/// async fn show(event: PriceChanged, prices: Rows<Price>) -> Result<()> {
///     prices.put(event.sku, &Price { cents: event.cents })
/// }
///
/// let service = Service::new("storefront").on(show);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # app.publish(uuid::Uuid::nil(), &PriceChanged { sku: "tea".into(), cents: 450 });
/// # app.until_idle();
/// # let row = app.run(app.reads("storefront").row::<Price>("tea")).unwrap();
/// # assert_eq!(row, Some(Price { cents: 450 }));
/// # }
/// ```
pub struct Rows<V> {
    scope: Scope,
    of: PhantomData<fn() -> V>,
}

impl<V: View, S> Extract<Scope, S> for Rows<V> {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self {
            scope: scope.clone(),
            of: PhantomData,
        })
    }

    fn describe(request: &mut RequestDescription) {
        request.stored(StoredName::new(StoredKind::View, V::NAME));
        request.tables.push(Arc::new(CheckedView::of::<V>()));
    }
}

impl<V: View> Rows<V> {
    /// Returns the rows in the unit of `scope`, for code that has a [`Scope`] instead of an
    /// extractor.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            of: PhantomData,
        }
    }

    /// Creates or replaces a row.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn put(&self, key: impl Into<String>, row: &V) -> Result<()> {
        self.scope
            .put_row(Name::new(V::NAME), key.into(), Some(row.to_row()))
    }

    /// Removes a row. Removing an absent row has no effect.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn remove(&self, key: impl Into<String>) -> Result<()> {
        self.scope.put_row(Name::new(V::NAME), key.into(), None)
    }
}
