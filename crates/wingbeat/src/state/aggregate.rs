//! Event-sourced state: `decide` turns commands into events, `apply` folds events into state.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wingbeat_core::store::ServiceStore;
use wingbeat_core::unit::{Append, Write};
use wingbeat_core::{Key, Name, Result, Timestamp};

use super::history::Upcasts;
use super::shape::shape;
use super::view::ViewRow;
use crate::describe::{RequestDescription, StoredKind, StoredName};
use crate::extract::Extract;
use crate::unit::Scope;
use crate::{decode, encode};

/// State that is derived from its history of events.
///
/// [`decide`](Self::decide) and [`apply`](Self::apply) are pure functions, so tests need neither a
/// store nor a runtime (`wingbeat::test::given`). The store keeps the history and a snapshot of the
/// state. A snapshot of a release whose `Default` had other fields, whose events had other forms or
/// whose [`SNAPSHOT`](Self::SNAPSHOT) differs is not used: the history is folded again.
///
/// Use an [`Entity`](crate::Entity) if no reader needs the history.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::Aggregate;
///
/// #[derive(Default, Clone, Serialize, Deserialize)]
/// struct Account {
///     balance: u64,
/// }
///
/// /// A request: the account may refuse it.
/// enum Command {
///     Deposit(u64),
///     Withdraw(u64),
/// }
///
/// /// A fact: it has happened, and it is stored.
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Event {
///     Deposited(u64),
///     Withdrawn(u64),
/// }
///
/// impl Aggregate for Account {
///     const NAME: &'static str = "account";
///     type Id = String;
///     type Command = Command;
///     type Event = Event;
///     type Error = &'static str;
///
///     fn decide(&self, command: Command) -> Result<Vec<Event>, &'static str> {
///         match command {
///             Command::Deposit(amount) => Ok(vec![Event::Deposited(amount)]),
///             Command::Withdraw(amount) if amount > self.balance => Err("the balance is too low"),
///             Command::Withdraw(amount) => Ok(vec![Event::Withdrawn(amount)]),
///         }
///     }
///
///     fn apply(&mut self, event: &Event) {
///         match event {
///             Event::Deposited(amount) => self.balance += amount,
///             Event::Withdrawn(amount) => self.balance -= amount,
///         }
///     }
/// }
///
/// # #[cfg(feature = "test")]
/// # {
/// use wingbeat::test::given;
///
/// given::<Account>([Event::Deposited(5)])
///     .when(Command::Withdraw(3))
///     .then([Event::Withdrawn(3)]);
/// given::<Account>([Event::Deposited(5)])
///     .when(Command::Withdraw(6))
///     .refused("the balance is too low");
/// # }
/// ```
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name of the table. It is stored: keep it when you rename the type.
    const NAME: &'static str;
    /// The version of [`apply`](Self::apply). Increase it if `apply` derives another state from
    /// the same events. Forms of events and changed fields of the `Default` are recognized without
    /// it; fields inside an option that is `None`, a list, a map or another variant of an enum are
    /// not.
    const SNAPSHOT: u32 = 0;
    /// The identity of one aggregate. Its text is stored.
    type Id: ToString + Send + Sync;
    /// A request to change the state.
    type Command;
    /// A fact in the history, in its stored form. Later releases must still decode it, by
    /// [`upcasts`](Self::upcasts) if need be.
    type Event: Serialize + DeserializeOwned + Send;
    /// The reason for a refused command.
    type Error;

    /// Returns the events that the command causes in this state; none if it changes nothing.
    ///
    /// # Errors
    ///
    /// `Self::Error` if a business rule refuses the command.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Applies an event to the state. It cannot fail, because the event has happened.
    fn apply(&mut self, event: &Self::Event);

    /// Returns the stored forms of the events, for a release whose events have another form than
    /// those of older releases.
    fn upcasts() -> Upcasts<Self::Event> {
        Upcasts::first()
    }

    /// Returns the view rows that show this aggregate. [`Repo`] writes them with every change.
    ///
    /// A row that a later state no longer returns remains until
    /// [`Rows::remove`](crate::Rows::remove).
    fn rows(&self, _id: &str) -> Vec<ViewRow> {
        Vec::new()
    }
}

/// The stored snapshot of an aggregate, with the length of the history that it was folded from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "A: Serialize + DeserializeOwned")]
pub(crate) struct Snapshot<A> {
    // One letter each: every record of an aggregate stores both names.
    #[serde(rename = "v")]
    pub(crate) sequence: u64,
    /// The shape of the state. Records of older releases have none.
    #[serde(rename = "h", default)]
    shape: Option<u32>,
    #[serde(rename = "s")]
    pub(crate) state: A,
}

impl<A: Aggregate> Snapshot<A> {
    /// The snapshot of an aggregate without a history.
    fn empty() -> Self {
        Self {
            sequence: 0,
            shape: Some(Self::shape()),
            state: A::default(),
        }
    }

    fn shape() -> u32 {
        shape::<A>(A::SNAPSHOT, A::upcasts().forms())
    }

    /// Decodes a stored snapshot. Returns `None` if it is of another shape, so that the history
    /// must be folded.
    pub(super) fn stored(body: &[u8]) -> Option<Self> {
        let stored: Self = decode(body).ok()?;
        (stored.shape == Some(Self::shape())).then_some(stored)
    }

    /// Folds the history, up to and including events of the time `until`.
    ///
    /// # Errors
    ///
    /// A store error; `undecodable` or `unknown_form` if an event cannot be read.
    pub(super) async fn fold(
        store: &ServiceStore,
        key: &Key,
        until: Option<Timestamp>,
    ) -> Result<Self> {
        let mut snapshot = Self::empty();
        let history = store.history(key, 0).await?;
        let upcasts = A::upcasts();
        for recorded in history {
            if until.is_some_and(|until| recorded.at > until) {
                break;
            }
            snapshot.state.apply(&upcasts.read(&recorded.body)?);
            snapshot.sequence = recorded.sequence;
        }
        Ok(snapshot)
    }

    /// Executes a command. Returns the events that it causes, which the state has applied.
    fn execute(&mut self, command: A::Command) -> Result<Vec<A::Event>, A::Error> {
        let events = self.state.decide(command)?;
        for event in &events {
            self.state.apply(event);
        }
        Ok(events)
    }
}

/// Returns the number that a snapshot of `A` is stored with: its shape.
pub(crate) fn snapshot_shape<A: Aggregate>() -> u32 {
    Snapshot::<A>::shape()
}

/// A changed aggregate that is not recorded yet.
struct Change<A: Aggregate> {
    key: Key,
    snapshot: Snapshot<A>,
    events: Vec<A::Event>,
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
/// # #[derive(Default, Clone, Serialize, Deserialize)]
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
        Ok(Self::in_scope(scope))
    }

    fn describe(request: &mut RequestDescription) {
        request.stored(StoredName::new(StoredKind::Events, A::NAME));
    }
}

impl<A: Aggregate> Repo<A> {
    pub(crate) fn in_scope(scope: &Scope) -> Self {
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
    /// As for [`get`](Self::get). A refusal is not an error; it is the inner `Err`.
    pub async fn execute(&self, id: &A::Id, command: A::Command) -> Result<Result<A, A::Error>> {
        let key = Self::key(id);
        let mut snapshot = self.load(&key).await?;
        let events = match snapshot.execute(command) {
            Ok(events) => events,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let state = snapshot.state.clone();
        self.save(Change {
            key,
            snapshot,
            events,
        })?;
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
    /// # #[derive(Default, Clone, Serialize, Deserialize)]
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
    /// As for [`get`](Self::get). A refusal is not an error; it is the inner `Err`.
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
                    changes.push(Change {
                        key,
                        snapshot,
                        events: Vec::new(),
                    });
                    changes.len() - 1
                }
            };
            let change = &mut changes[index];
            match change.snapshot.execute(command) {
                Ok(events) => change.events.extend(events),
                Err(refusal) => return Ok(Err(refusal)),
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
            mut snapshot,
            events,
        } = change;
        if events.is_empty() {
            return Ok(());
        }
        let upcasts = A::upcasts();
        for event in &events {
            snapshot.sequence += 1;
            let body = upcasts.write(event);
            self.scope.append(Append {
                key: key.clone(),
                sequence: snapshot.sequence,
                at: self.scope.now(),
                body,
            })?;
        }
        for row in snapshot.state.rows(&key.id) {
            self.scope.put_row(row.view, row.key, Some(row.row))?;
        }
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(&snapshot)),
            due_at: None,
            expires_at: None,
        })?;
        self.scope.remember(&key, snapshot)
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
