//! The extractor through which handlers change entities.

use std::marker::PhantomData;

use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use super::check;
use super::derived::{Definition, Derived, ViewColumns};
use super::entity::Entity;
use crate::describe::{RequestDescription, StoredKind, StoredName};
use crate::extract::Extract;
use crate::unit::{Scope, remove};
use crate::{decode, encode};

/// An extractor for entities of one type.
///
/// Reads and writes are part of the handler's unit of work. If another unit changes an entity that
/// this one has read, the handler runs again.
///
/// ```
/// use wingbeat::{Result, Service, Table};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Entity, Event, JsonSchema};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "shop.page_viewed", version = 1, key = page)]
/// # struct PageViewed { page: String }
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Views { count: u64 }
/// # impl Entity for Views {
/// #     const NAME: &'static str = "views";
/// #     type Id = String;
/// # }
///
/// async fn count(event: PageViewed, views: Table<Views>) -> Result<()> {
///     let increment = |views: Option<Views>| Views { count: views.map_or(0, |it| it.count) + 1 };
///     views.update(&event.page, increment).await?;
///     Ok(())
/// }
///
/// let service = Service::new("statistics").on(count);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # let page = String::from("/");
/// # for _ in 0..3 {
/// #     app.publish(uuid::Uuid::nil(), &PageViewed { page: page.clone() });
/// # }
/// # app.until_idle();
/// # let views = app.run(app.reads("statistics").entity::<Views>(&page)).unwrap();
/// # assert_eq!(views.unwrap().count, 3);
/// # }
/// ```
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

    fn describe(request: &mut RequestDescription) {
        request.stored(StoredName::new(StoredKind::Entity, E::NAME));
        request.tables.push(Self::derived().erased());
    }
}

impl<E: Entity> Table<E> {
    /// Returns the table in the unit of `scope`, for code that has a [`Scope`] instead of an
    /// extractor.
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

    /// Returns the entity, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if the stored entity does not
    /// match its type; `sealed` after the handler has returned.
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

    /// Creates or replaces the entity.
    ///
    /// Without a [`get`](Self::get) before it in the same unit, this overwrites changes of other
    /// units.
    ///
    /// # Errors
    ///
    /// `rows_undeclared` if [`Entity::VIEWS`] does not list a view or a column of its rows;
    /// `sealed` after the handler has returned.
    pub fn put(&self, id: &E::Id, entity: E) -> Result<()> {
        let key = Self::key(id);
        let expires_at = entity.retention().map(|keep| self.scope.now() + keep);
        self.show(&key, &entity)?;
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(&entity)),
            due_at: None,
            expires_at,
        })?;
        self.scope.remember(&key, Some(entity))
    }

    fn show(&self, key: &Key, entity: &E) -> Result<()> {
        for row in entity.rows(&key.id) {
            ViewColumns::check(E::VIEWS, E::NAME, &row)?;
            self.scope.put_row(row.view, row.key, Some(row.row))?;
        }
        Ok(())
    }

    /// Returns the rows that entities of this type show.
    pub(crate) fn derived() -> Derived {
        let definition = Definition::new(E::ROWS, E::VIEWS);
        Derived::new(
            ("entity", E::NAME),
            definition,
            check::of_entity::<E>(),
            |scope, id| async move { Self::of(&scope).show_again(id).await },
        )
        .with_views(E::VIEWS)
    }

    /// Writes the rows of a stored entity again.
    async fn show_again(&self, id: String) -> Result<()> {
        let key = Key::new(Name::new(E::NAME), id);
        match self.scope.load(&key).await?.body {
            Some(body) => self.show(&key, &decode(&body)?),
            None => Ok(()), // It was removed.
        }
    }

    /// Removes the entity. Its view rows remain until [`Rows::remove`](crate::Rows::remove).
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn remove(&self, id: &E::Id) -> Result<()> {
        let key = Self::key(id);
        self.scope.write(remove(key.clone()))?;
        self.scope.remember(&key, None::<E>)
    }

    /// Reads the entity, replaces it with the result of `change`, and returns the new state.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn update(&self, id: &E::Id, change: impl FnOnce(Option<E>) -> E) -> Result<E> {
        let entity = change(self.get(id).await?);
        self.put(id, entity.clone())?;
        Ok(entity)
    }
}
