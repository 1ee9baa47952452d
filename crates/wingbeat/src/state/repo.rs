//! The extractor through which handlers change aggregates.

use std::marker::PhantomData;

use wingbeat_core::unit::{Append, Row, Write};
use wingbeat_core::{Key, Name, Result};

use super::aggregate::{Aggregate, Snapshot};
use super::check;
use super::derived::{Definition, Derived, ViewColumns};
use super::past;
use super::published::Happened;
use crate::describe::{RequestDescription, StoredKind, StoredName};
use crate::effects::{Effects, Outgoing};
use crate::encode;
use crate::extract::Extract;
use crate::unit::Scope;

/// A changed aggregate that is not recorded yet.
struct Change<A: Aggregate> {
    key: Key,
    snapshot: Snapshot<A>,
    events: Vec<A::Event>,
    /// The messages that publish the events.
    messages: Vec<Outgoing>,
}

impl<A: Aggregate> Change<A> {
    fn new(key: Key, snapshot: Snapshot<A>) -> Self {
        Self {
            key,
            snapshot,
            events: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Executes a command on the state so far.
    fn execute(&mut self, scope: &Scope, command: A::Command) -> Result<(), A::Error> {
        let (id, at, messages) = (&self.key.id, scope.now(), &mut self.messages);
        let events = self.snapshot.execute(command, |snapshot, event| {
            let happened = Happened {
                id,
                event,
                state: &snapshot.state,
                sequence: snapshot.sequence,
                at,
            };
            messages.extend(happened.messages(scope.service()));
        })?;
        self.events.extend(events);
        Ok(())
    }
}

/// An extractor for aggregates of one type.
///
/// Reads and writes are part of the handler's unit of work. If another unit changes an aggregate
/// that this one has read, the handler runs again.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "doors.open", version = 1, key = door)]
/// struct Open { door: String }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "doors.opened", version = 1, key = door)]
/// struct Opened { door: String }
///
/// # #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
/// # struct Door { open: bool }
/// # enum DoorCommand { Open }
/// # impl Aggregate for Door {
/// #     const NAME: &'static str = "door";
/// #     type Id = String;
/// #     type Command = DoorCommand;
/// #     type Event = ();
/// #     type Error = &'static str;
/// #     fn decide(&self, _: DoorCommand) -> std::result::Result<Vec<()>, &'static str> {
/// #         if self.open { Err("the door is open") } else { Ok(vec![()]) }
/// #     }
/// #     fn apply(&mut self, _: &()) { self.open = true; }
/// # }
///
/// async fn open(command: Open, doors: Repo<Door>) -> Result<Option<Opened>> {
///     match doors.execute(&command.door, DoorCommand::Open).await? {
///         Ok(_state) => Ok(Some(Opened { door: command.door })),
///         Err(_refusal) => Ok(None), // the door is open already
///     }
/// }
///
/// let service = Service::new("doors").on(open);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # let door = String::from("front");
/// # app.publish(uuid::Uuid::nil(), &Open { door: door.clone() });
/// # app.until_idle();
/// # assert!(app.run(app.reads("doors").aggregate::<Door>(&door)).unwrap().unwrap().open);
/// # }
/// ```
pub struct Repo<A> {
    scope: Scope,
    of: PhantomData<fn() -> A>,
}

impl<A: Aggregate, S> Extract<Scope, S> for Repo<A> {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self::of(scope))
    }

    fn describe(request: &mut RequestDescription) {
        request.stored(StoredName::new(StoredKind::Events, A::NAME));
        request.tables.push(Self::derived().erased());
    }
}

impl<A: Aggregate> Repo<A> {
    /// Returns the repository in the unit of `scope`, for code that has a [`Scope`] instead of an
    /// extractor.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            of: PhantomData,
        }
    }

    fn key(id: &A::Id) -> Key {
        Key::new(Name::new(A::NAME), id.to_string())
    }

    /// Returns the aggregate, or `None` if it has no history.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` if an event of its history does
    /// not match its type; `unknown_form` if a newer release wrote one; `sealed` after the handler
    /// has returned.
    pub async fn get(&self, id: &A::Id) -> Result<Option<A>> {
        let snapshot = self.load(&Self::key(id)).await?;
        Ok((snapshot.sequence > 0).then_some(snapshot.state))
    }

    /// Executes a command: records the events that it causes and returns the new state, or returns
    /// the refusal.
    ///
    /// The commit validates a refusal like a success: if the aggregate has changed, the handler
    /// runs again.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), and `rows_undeclared` if [`Aggregate::VIEWS`] does not list a
    /// view or a column of its rows. A refusal is not an error; it is the inner `Err`.
    pub async fn execute(&self, id: &A::Id, command: A::Command) -> Result<Result<A, A::Error>> {
        let key = Self::key(id);
        let snapshot = self.load(&key).await?;
        let mut change = Change::new(key, snapshot);
        if let Err(refusal) = change.execute(&self.scope, command) {
            return Ok(Err(refusal));
        }
        let state = change.snapshot.state.clone();
        self.save(change)?;
        Ok(Ok(state))
    }

    /// Executes commands on several aggregates. If one is refused, returns its refusal and records
    /// nothing. Commands for the same aggregate see each other's changes.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
    /// # #[command(name = "stock.reserve", version = 1, key = order)]
    /// # struct Reserve { order: u32, skus: Vec<String> }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "stock.reserved", version = 1, key = order)]
    /// # struct Reserved { order: u32 }
    /// # #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    /// # struct Item { reserved: u32 }
    /// # enum ItemCommand { Reserve }
    /// # impl Aggregate for Item {
    /// #     const NAME: &'static str = "item";
    /// #     type Id = String;
    /// #     type Command = ItemCommand;
    /// #     type Event = ();
    /// #     type Error = &'static str;
    /// #     fn decide(&self, _: ItemCommand) -> std::result::Result<Vec<()>, &'static str> {
    /// #         if self.reserved > 0 { Err("sold out") } else { Ok(vec![()]) }
    /// #     }
    /// #     fn apply(&mut self, _: &()) { self.reserved += 1; }
    /// # }
    ///
    /// async fn reserve(command: Reserve, items: Repo<Item>) -> Result<Option<Reserved>> {
    ///     let commands = command.skus.into_iter().map(|sku| (sku, ItemCommand::Reserve));
    ///     match items.execute_all(commands).await? {
    ///         Ok(()) => Ok(Some(Reserved { order: command.order })),
    ///         Err(_refusal) => Ok(None), // no item is reserved
    ///     }
    /// }
    /// # #[cfg(feature = "test")]
    /// # {
    /// # let stock = Service::new("stock").on(reserve);
    /// # let app = wingbeat::test::TestApp::start(1, App::new().service(stock));
    /// # let skus = ["tea", "milk", "tea"].map(String::from).into();
    /// # app.publish(Default::default(), &Reserve { order: 7, skus });
    /// # app.until_idle();
    /// # let tea = app.run(app.reads("stock").aggregate::<Item>(&"tea".into())).unwrap();
    /// # assert!(tea.is_none());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute). A refusal is not an error; it is the inner `Err`.
    pub async fn execute_all(
        &self,
        commands: impl IntoIterator<Item = (A::Id, A::Command)>,
    ) -> Result<Result<(), A::Error>> {
        let mut changes: Vec<Change<A>> = Vec::new();
        let commands: Vec<_> = commands
            .into_iter()
            .map(|(id, command)| (Self::key(&id), command))
            .collect();
        for (key, command) in commands {
            let index = match changes.iter().position(|change| change.key == key) {
                Some(index) => index,
                None => {
                    let snapshot = self.load(&key).await?;
                    changes.push(Change::new(key, snapshot));
                    changes.len() - 1
                }
            };
            if let Err(refusal) = changes[index].execute(&self.scope, command) {
                return Ok(Err(refusal));
            }
        }
        for change in changes {
            self.save(change)?;
        }
        Ok(Ok(()))
    }

    fn save(&self, change: Change<A>) -> Result<()> {
        let Change {
            key,
            snapshot,
            events,
            messages,
        } = change;
        if events.is_empty() {
            return Ok(());
        }
        let upcasts = A::upcasts();
        let before = snapshot.sequence - events.len() as u64;
        for (sequence, event) in (before + 1..).zip(&events) {
            let body = upcasts.write(event)?;
            self.scope.append(Append {
                key: key.clone(),
                sequence,
                at: self.scope.now(),
                body,
            })?;
        }
        for projected in self.scope.service().projections.of_table(A::NAME) {
            let (noted, row) = (self.scope.new_id(), encode(&key.id));
            let row = Row {
                columns: Vec::new(),
                body: row,
            };
            self.scope
                .put_row(projected.changed, noted.to_string(), Some(row))?;
        }
        let mut effects = Effects::new();
        effects.messages = messages;
        self.scope.emit(effects)?;
        self.show(&key, &snapshot.state)?;
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(&snapshot)),
            due_at: None,
            expires_at: None,
        })?;
        self.scope.remember(&key, snapshot)
    }

    fn show(&self, key: &Key, state: &A) -> Result<()> {
        for row in state.rows(&key.id) {
            ViewColumns::check(A::VIEWS, A::NAME, &row)?;
            self.scope.put_row(row.view, row.key, Some(row.row))?;
        }
        Ok(())
    }

    /// Returns the rows that aggregates of this type show.
    pub(crate) fn derived() -> Derived {
        let definition = Definition::new(A::ROWS, A::VIEWS);
        Derived::new(
            ("aggregate", A::NAME),
            definition,
            check::of_aggregate::<A>(),
            |scope, id| async move { Self::of(&scope).show_again(id).await },
        )
        .with_views(A::VIEWS)
        .with_past(past::of_aggregate::<A>())
    }

    /// Writes the rows of a stored aggregate again.
    async fn show_again(&self, id: String) -> Result<()> {
        let key = Key::new(Name::new(A::NAME), id);
        let snapshot = self.load(&key).await?;
        if snapshot.sequence == 0 {
            return Ok(());
        }
        self.show(&key, &snapshot.state)
    }

    async fn load(&self, key: &Key) -> Result<Snapshot<A>> {
        if let Some(snapshot) = self.scope.state::<Snapshot<A>>(key)? {
            return Ok(snapshot);
        }
        let loaded = self.scope.load(key).await?;
        let Some(body) = loaded.body else {
            return Ok(Snapshot::empty());
        };
        match Snapshot::stored(&body) {
            Some(snapshot) => Ok(snapshot),
            None => Snapshot::fold(&self.scope.service().store, key, None).await,
        }
    }
}
