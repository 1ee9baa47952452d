//! Views: rows to be read by key, by range of an index column, or by part of a text.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::unit::Row;
use wingbeat_core::{Name, Result};

use crate::encode;
use crate::extract::Extract;
use crate::unit::Scope;

/// A row's type.
pub trait View: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The view's name; stored.
    const NAME: &'static str;

    /// Index columns and their values. Ranges compare the bytes of the values.
    fn columns(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The stored form.
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

/// A row of a view, ready to be written.
pub struct ViewRow {
    pub(super) view: Name,
    pub(super) key: String,
    pub(super) row: Row,
}

impl ViewRow {
    /// The row of `view` under `key`.
    pub fn of<V: View>(key: impl Into<String>, view: &V) -> Self {
        Self {
            view: Name::new(V::NAME),
            key: key.into(),
            row: view.to_row(),
        }
    }
}

/// Rows of one view, through this unit of work. Writing is blind: decide on entities, show with rows.
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
}

impl<V: View> Rows<V> {
    /// Rows of this view in the unit of `scope`, for handlers with more needs than arguments.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            of: PhantomData,
        }
    }

    /// Puts a row.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn put(&self, key: impl Into<String>, row: &V) -> Result<()> {
        self.scope
            .put_row(Name::new(V::NAME), key.into(), Some(row.to_row()))
    }

    /// Removes a row.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn remove(&self, key: impl Into<String>) -> Result<()> {
        self.scope.put_row(Name::new(V::NAME), key.into(), None)
    }
}
