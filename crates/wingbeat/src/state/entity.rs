//! State that is stored as it is, with a version.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use super::view::ViewRow;
use crate::extract::Extract;
use crate::unit::{Scope, remove};
use crate::{decode, encode};

/// State that is stored as it is.
pub trait Entity: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table's name; stored, so it outlives a renamed type.
    const NAME: &'static str;
    /// Names one entity.
    type Id: ToString + Send + Sync;

    /// The rows of the service's own views that show this entity; written with every change of it.
    fn rows(&self, _id: &str) -> Vec<ViewRow> {
        Vec::new()
    }

    /// How long after its last change retention may delete it; `None` for never.
    fn retention(&self) -> Option<Duration> {
        None
    }
}

/// Entities of one type, through this unit of work.
pub struct Table<E> {
    scope: Scope,
    of: PhantomData<fn() -> E>,
}

impl<E: Entity, S> Extract<Scope, S> for Table<E> {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self {
            scope: scope.clone(),
            of: PhantomData,
        })
    }
}

impl<E: Entity> Table<E> {
    /// Entities of this type in the unit of `scope`, for handlers with more needs than arguments.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            of: PhantomData,
        }
    }

    fn key(id: &E::Id) -> Key {
        Key::new(Name::new(E::NAME), id.to_string())
    }

    /// The entity, or `None`.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get(&self, id: &E::Id) -> Result<Option<E>> {
        let key = Self::key(id);
        if let Some(state) = self.scope.state::<Option<E>>(&key)? {
            return Ok(state);
        }
        self.scope
            .load(&key)
            .await?
            .body
            .map(|body| decode(&body))
            .transpose()
    }

    /// Puts the entity.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn put(&self, id: &E::Id, entity: E) -> Result<()> {
        let key = Self::key(id);
        let expires_at = entity.retention().map(|keep| self.scope.now() + keep);
        for row in entity.rows(&key.id) {
            self.scope.put_row(row.view, row.key, Some(row.row))?;
        }
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(&entity)),
            due_at: None,
            expires_at,
        })?;
        self.scope.remember(&key, Some(entity))
    }

    /// Removes the entity; its rows in views remain until [`crate::Rows::remove`].
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn remove(&self, id: &E::Id) -> Result<()> {
        let key = Self::key(id);
        self.scope.write(remove(key.clone()))?;
        self.scope.remember(&key, None::<E>)
    }

    /// Reads, changes and puts the entity.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn update(&self, id: &E::Id, change: impl FnOnce(Option<E>) -> E) -> Result<E> {
        let entity = change(self.get(id).await?);
        self.put(id, entity.clone())?;
        Ok(entity)
    }
}
