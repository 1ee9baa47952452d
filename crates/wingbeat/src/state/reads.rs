//! Reads outside a unit of work.

use std::sync::Arc;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Page, Position, Query, Record, Select};
use wingbeat_core::unit::Row;
use wingbeat_core::{Cache, CorrelationId, Key, Name, Result, Timestamp};

use super::aggregate::{Aggregate, Snapshot};
use super::entity::Entity;
use super::projection;
use super::view::View;
use crate::decode;
use crate::extract::Extract;
use crate::recording::{self, Tape};
use crate::unit::{Entry, Projected, Scope, ServiceContext, decode_entries, is_change};

/// Read access to a service's data outside a unit of work, for screens and audits.
///
/// Routes take it as an extractor. Handlers can take it as well, for reads that the commit need not
/// validate, such as the candidates of a clean-up. [Executors of calls](crate::call) can take it to
/// decrypt personal values.
///
/// # Store errors
///
/// Each read of the store can fail with one of these codes, here and in a unit of work. All are of
/// class [`Retry`](crate::Class::Retry).
///
/// - `store_unavailable` if PostgreSQL cannot be reached or does not answer in time;
/// - `store_refused` if PostgreSQL rejects the user, the password or the database;
/// - `store_busy` if another program has locked the SQLite file;
/// - `store_io` or `store_full` if the disk of the SQLite file fails or is full;
/// - `store_closed` while the process ends;
/// - `store_failed` for any other failure. The message contains the database's error.
///
/// # Examples
///
/// ```
/// use wingbeat::{Name, Reads, Result, Select};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema, Rows, Service, View};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "library.book_bought", version = 1, key = title)]
/// # struct BookBought { title: String }
/// # #[derive(Serialize, Deserialize)]
/// # struct Book { title: String }
/// # impl View for Book {
/// #     const NAME: &'static str = "books";
/// #     fn columns(&self) -> Vec<(&'static str, String)> {
/// #         vec![("title", self.title.to_lowercase())]
/// #     }
/// # }
///
/// /// Returns the first titles that contain `text`.
/// async fn search(reads: &Reads, text: &str) -> Result<Vec<String>> {
///     let select = Select::Contains { column: Name::new("title"), part: text.to_lowercase() };
///     let page = reads.rows::<Book>(select, None, 20).await?;
///     Ok(page.rows.into_iter().map(|(_key, book)| book.title).collect())
/// }
/// # async fn show(event: BookBought, books: Rows<Book>) -> Result<()> {
/// #     books.put(&event.title, &Book { title: event.title.clone() })
/// # }
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(Service::new("shelf").on(show)));
/// # for title in ["Emma", "Persuasion"] {
/// #     app.publish(uuid::Uuid::nil(), &BookBought { title: title.into() });
/// # }
/// # app.until_idle();
/// # assert_eq!(app.run(search(&app.reads("shelf"), "EMM")).unwrap(), ["Emma"]);
/// # }
/// ```
#[derive(Clone)]
pub struct Reads {
    service: Arc<ServiceContext>,
    /// The attempt that reads, which may be recorded.
    scope: Option<Scope>,
}

/// A page of a view's rows.
#[non_exhaustive]
pub struct Listed<V> {
    /// The keys and rows, in order.
    pub rows: Vec<(String, V)>,
    /// The position after which the next page starts; `None` if this is the last page.
    pub next: Option<Position>,
}

impl<S> Extract<Scope, S> for Reads {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self::within(scope))
    }
}

impl Reads {
    pub(crate) fn new(service: Arc<ServiceContext>) -> Self {
        Self {
            service,
            scope: None,
        }
    }

    /// Reads on behalf of an attempt, and outside of its unit.
    pub(crate) fn within(scope: &Scope) -> Self {
        Self {
            service: Arc::clone(scope.service()),
            scope: Some(scope.clone()),
        }
    }

    fn note(&self, note: impl FnOnce(&mut Tape)) {
        if let Some(scope) = &self.scope {
            scope.note(note);
        }
    }

    /// Reads a record.
    pub(crate) async fn load(&self, key: &Key) -> Result<Option<Record>> {
        let record = self.service.store.load(key).await?;
        let (version, body) = match &record {
            Some(record) => (record.version, Some(&record.body)),
            None => (0, None),
        };
        self.note(|tape| tape.read(key, version, body));
        Ok(record)
    }

    /// Reads records in the order of their ids.
    pub(crate) async fn scan(
        &self,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, Record)>> {
        let query = recording::scan_query(table, after.as_deref(), limit);
        let records = self.service.store.scan(table, after, limit).await?;
        self.note(|tape| tape.scanned(&query, &records));
        Ok(records)
    }

    /// Reads a page of a view.
    async fn page(&self, query: Query) -> Result<Page> {
        let asked = recording::rows_query(&query);
        let page = self.service.store.rows(query).await?;
        self.note(|tape| tape.listed(&asked, &page));
        Ok(page)
    }

    pub(crate) fn service(&self) -> &Arc<ServiceContext> {
        &self.service
    }

    /// Returns the port for time, random numbers and tasks.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.service.runtime
    }

    /// Returns the cache that all services share.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.service.cache
    }

    /// Returns the service's counters by name, for example `handled:orders.checkout`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn counters(&self) -> Result<Vec<(Name, i64)>> {
        self.service.store.counters().await
    }

    /// Returns the row with this key, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored row does not match its
    /// type; `index_incomplete` if the row is absent while the view is being filled for the first
    /// time, or while the first version of a [projection](crate::Projection) is being built.
    pub async fn row<V: View>(&self, key: &str) -> Result<Option<V>> {
        let (view, store) = (Name::new(V::NAME), &self.service.store);
        if let Some(projected) = self.service.projections.of_view(view) {
            let (version, row) = projection::row(store, projected, key).await?;
            let row = row.map(|row| projection::decoded(projected, version, &row));
            return row.transpose();
        }
        let row = store.row(view, key).await?;
        self.note(|tape| tape.listed(&recording::row_query(view, key), &one(key, row.as_ref())));
        match row {
            Some(row) => Ok(Some(decode(&row.body)?)),
            None => self.service.incomplete.check(view, None).map(|()| None),
        }
    }

    /// Returns one page of a view: at most `limit` selected rows, starting after the position
    /// `after`.
    ///
    /// Pages are read one after another while units commit, so a row that moves may appear twice or
    /// not at all.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored row does not match its
    /// type; `index_incomplete` while a column that is new in this release is being filled for
    /// older entities and aggregates, or while the first version of a
    /// [projection](crate::Projection), or one with this column, is being built.
    pub async fn rows<V: View>(
        &self,
        select: Select,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Listed<V>> {
        let (view, column) = (Name::new(V::NAME), column(&select));
        let query = Query {
            view,
            select,
            after,
            limit,
        };
        if let Some(projected) = self.service.projections.of_view(view) {
            return self.projected_rows(projected, column, query).await;
        }
        let incomplete = &self.service.incomplete;
        incomplete.check(view, column)?;
        let page = self.page(query).await?;
        // Meanwhile another release may have begun to write rows.
        incomplete.check(view, column)?;
        let rows = page
            .rows
            .into_iter()
            .map(|(key, row)| Ok((key, decode(&row.body)?)))
            .collect::<Result<_>>()?;
        Ok(Listed {
            rows,
            next: page.next,
        })
    }

    async fn projected_rows<V: View>(
        &self,
        projected: &Projected,
        column: Option<Name>,
        query: Query,
    ) -> Result<Listed<V>> {
        let read = projection::rows(&self.service.store, projected, column, query);
        let (version, page) = read.await?;
        let rows = page.rows.into_iter();
        let rows = rows.map(|(key, row)| Ok((key, projection::decoded(projected, version, &row)?)));
        Ok(Listed {
            rows: rows.collect::<Result<_>>()?,
            next: page.next,
        })
    }

    /// Returns an entity, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored entity does not match
    /// its type.
    pub async fn entity<E: Entity>(&self, id: &E::Id) -> Result<Option<E>> {
        let key = Key::new(Name::new(E::NAME), id.to_string());
        let record = self.load(&key).await?;
        record.map(|record| decode(&record.body)).transpose()
    }

    /// Returns several entities in one read, in the order of `ids`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors). A stored entity that does not match its type is
    /// an inner `undecodable`.
    pub async fn entities_of<E: Entity>(&self, ids: &[E::Id]) -> Result<Vec<Result<Option<E>>>> {
        let key = |id: &E::Id| Key::new(Name::new(E::NAME), id.to_string());
        let keys: Vec<Key> = ids.iter().map(key).collect();
        let records = self.service.store.load_all(keys.clone()).await?;
        for (key, record) in keys.iter().zip(&records) {
            let (version, body) = match record {
                Some(record) => (record.version, Some(&record.body)),
                None => (0, None),
            };
            self.note(|tape| tape.read(key, version, body));
        }
        let decoded = records.into_iter().map(|record| {
            let record = record.as_ref();
            record.map(|record| decode(&record.body)).transpose()
        });
        Ok(decoded.collect())
    }

    /// Returns the state of an aggregate, or `None` if it has no history.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` or `unknown_form` if the snapshot
    /// is of another release and an event of the history cannot be read.
    pub async fn aggregate<A: Aggregate>(&self, id: &A::Id) -> Result<Option<A>> {
        let key = Key::new(Name::new(A::NAME), id.to_string());
        let Some(record) = self.load(&key).await? else {
            return Ok(None);
        };
        Ok(Some(self.state(&key, &record.body).await?))
    }

    /// Returns the state that an aggregate had at a time, or `None` if its history began later.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` or `unknown_form` if an event of
    /// the history cannot be read.
    pub async fn aggregate_as_of<A: Aggregate>(
        &self,
        id: &A::Id,
        at: Timestamp,
    ) -> Result<Option<A>> {
        let key = Key::new(Name::new(A::NAME), id.to_string());
        let then = Snapshot::<A>::fold(&self.service.store, &key, Some(at)).await?;
        Ok((then.sequence > 0).then_some(then.state))
    }

    async fn state<A: Aggregate>(&self, key: &Key, body: &[u8]) -> Result<A> {
        let snapshot = match Snapshot::stored(body) {
            Some(snapshot) => snapshot,
            None => Snapshot::fold(&self.service.store, key, None).await?,
        };
        Ok(snapshot.state)
    }

    /// Returns at most `limit` entities in the order of their ids, starting after the id `after`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored entity does not match
    /// its type.
    pub async fn entities<E: Entity>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, E)>> {
        let records = self.scan(Name::new(E::NAME), after, limit).await?;
        records
            .into_iter()
            .map(|(id, record)| Ok((id, decode(&record.body)?)))
            .collect()
    }

    /// Returns at most `limit` aggregates in the order of their ids, starting after the id `after`.
    ///
    /// # Errors
    ///
    /// As for [`aggregate`](Self::aggregate).
    pub async fn aggregates<A: Aggregate>(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, A)>> {
        let records = self.scan(Name::new(A::NAME), after, limit).await?;
        let mut all = Vec::with_capacity(records.len());
        for (id, record) in records {
            let key = Key::new(Name::new(A::NAME), id.clone());
            all.push((id, self.state(&key, &record.body).await?));
        }
        Ok(all)
    }

    /// Returns the journal entries of this service with a correlation id, oldest first. Entries
    /// that a newer release wrote, and that this one cannot read, have the kind `unknown`.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if a stored entry does not match
    /// its type.
    pub async fn timeline(&self, correlation: CorrelationId) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for body in self.service.store.journal(correlation).await? {
            let before = entries.last().map(|entry| entry.at);
            let before = before.unwrap_or_else(|| created(correlation));
            let noted = decode_entries(&body, before)?.into_iter();
            entries.extend(noted.filter(|it| !is_change(it)));
        }
        Ok(entries)
    }
}

/// Returns a page of one row, or of none.
fn one(key: &str, row: Option<&Row>) -> Page {
    Page {
        rows: row
            .map(|row| (key.to_owned(), row.clone()))
            .into_iter()
            .collect(),
        next: None,
    }
}

/// Returns the column by which rows are selected.
fn column(select: &Select) -> Option<Name> {
    match select {
        Select::All => None,
        Select::Prefix { column, .. }
        | Select::Range { column, .. }
        | Select::Contains { column, .. } => Some(*column),
    }
}

/// Returns the time in a correlation id, or the epoch if it contains none.
pub(super) fn created(correlation: CorrelationId) -> Timestamp {
    let time = correlation.0.get_timestamp().map(|time| time.to_unix());
    let micros = time.map(|(seconds, nanos)| seconds * 1_000_000 + u64::from(nanos) / 1_000);
    Timestamp::from_micros(i64::try_from(micros.unwrap_or_default()).unwrap_or_default())
}
