//! State that is stored as one record.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::derived::ViewColumns;
use super::view::ViewRow;

/// State that is stored as one record, without a history.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use wingbeat::Entity;
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// impl Entity for Cart {
///     const NAME: &'static str = "cart";
///     type Id = u64;
///
///     fn retention(&self) -> Option<Duration> {
///         Some(Duration::from_secs(30 * 24 * 3600)) // abandoned carts are deleted
///     }
/// }
/// # assert!(Cart { items: Vec::new() }.retention().is_some());
/// ```
pub trait Entity: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the table. It is stored: keep it when you rename the type.
    const NAME: &'static str;
    /// The identity of one entity. Its text is stored.
    type Id: ToString + Send + Sync;

    /// The views of which [`rows`](Self::rows) returns rows, with all of their index columns. Add a
    /// new column here, too: the next release then fills it in the background
    /// (`docs/evolution.md`).
    const VIEWS: &'static [ViewColumns] = &[];
    /// The version of [`rows`](Self::rows). Increase it if `rows` derives other rows from the same
    /// entities, so that they are written again. Changed [`VIEWS`](Self::VIEWS) are recognized
    /// without it.
    const ROWS: u32 = 0;

    /// Returns the view rows that show this entity. [`Table`](crate::Table) writes them with every
    /// change. [`VIEWS`](Self::VIEWS) must list their views and columns.
    ///
    /// A row that a later state no longer returns remains until
    /// [`Rows::remove`](crate::Rows::remove).
    fn rows(&self, _id: &str) -> Vec<ViewRow> {
        Vec::new()
    }

    /// Returns the time after the last change at which the store may delete the entity; `None` to
    /// keep it forever.
    fn retention(&self) -> Option<Duration> {
        None
    }
}
