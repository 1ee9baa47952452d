//! Event-sourced state: `decide` turns commands into events, `apply` folds events into state.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wingbeat_core::unit::{Append, Write};
use wingbeat_core::{Key, Name, Result};

use super::view::ViewRow;
use crate::extract::Extract;
use crate::unit::Scope;
use crate::{decode, encode};

/// State that is derived from its history of events.
///
/// [`decide`](Self::decide) and [`apply`](Self::apply) are pure functions, so tests need neither a
/// store nor a runtime (`wingbeat::test::given`). The store keeps the history and a snapshot of the
/// state. If a new release can no longer decode a snapshot, the history is folded again.
///
/// Use an [`Entity`](crate::Entity) if nobody needs the history.
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
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum Moved {
///     In(u64),
///     Out(u64),
/// }
///
/// impl Aggregate for Account {
///     const NAME: &'static str = "account";
///     type Id = String;
///     type Command = Moved;
///     type Event = Moved;
///     type Error = &'static str;
///
///     fn decide(&self, command: Moved) -> Result<Vec<Moved>, &'static str> {
///         match command {
///             Moved::Out(amount) if amount > self.balance => Err("the balance is too low"),
///             accepted => Ok(vec![accepted]),
///         }
///     }
///
///     fn apply(&mut self, event: &Moved) {
///         match event {
///             Moved::In(amount) => self.balance += amount,
///             Moved::Out(amount) => self.balance -= amount,
///         }
///     }
/// }
///
/// # #[cfg(feature = "test")]
/// # {
/// use wingbeat::test::given;
///
/// given::<Account>([Moved::In(5)]).when(Moved::Out(3)).then([Moved::Out(3)]);
/// given::<Account>([Moved::In(5)]).when(Moved::Out(6)).refused("the balance is too low");
/// # }
/// ```
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name of the table. It is stored: keep it when you rename the type.
    const NAME: &'static str;
    /// The identity of one aggregate. Its text is stored.
    type Id: ToString + Send + Sync;
    /// A request to change the state.
    type Command;
    /// A fact in the history, in its stored form. Later releases must still decode it.
    type Event: Serialize + DeserializeOwned + Send;
    /// The reason for a refused command.
    type Error;

    /// Returns the events that the command causes in this state; none if it changes nothing.
    ///
    /// # Errors
    ///
    /// The reason, if the rules of the business refuse the command.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Applies an event to the state. It cannot fail, because the event has happened.
    fn apply(&mut self, event: &Self::Event);

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
    #[serde(rename = "v")]
    pub(crate) sequence: u64,
    #[serde(rename = "s")]
    pub(crate) state: A,
}

/// An extractor for aggregates of one type.
///
/// Reads and writes are part of the handler's unit of work. If another unit changes an aggregate
/// that this one has read, the handler runs again.
///
/// ```
/// use wingbeat::{Repo, Result, Service};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Aggregate, Command, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "doors.open", version = 1, key = door)]
/// # struct Open { door: String }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "doors.opened", version = 1, key = door)]
/// # struct Opened { door: String }
/// # #[derive(Default, Clone, Serialize, Deserialize)]
/// # struct Door { open: bool }
/// # enum Ask { Open }
/// # impl Aggregate for Door {
/// #     const NAME: &'static str = "door";
/// #     type Id = String;
/// #     type Command = Ask;
/// #     type Event = ();
/// #     type Error = &'static str;
/// #     fn decide(&self, _: Ask) -> std::result::Result<Vec<()>, &'static str> {
/// #         if self.open { Err("the door is open") } else { Ok(vec![()]) }
/// #     }
/// #     fn apply(&mut self, _: &()) { self.open = true; }
/// # }
///
/// async fn open(command: Open, doors: Repo<Door>) -> Result<Option<Opened>> {
///     match doors.execute(&command.door, Ask::Open).await? {
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
    /// `store_unavailable` or a similar code while the store is unavailable; `undecodable` if an
    /// event of its history does not match its type; `sealed` after the handler has returned.
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
        let snapshot = self.load(&key).await?;
        match decide(snapshot, command) {
            Ok((snapshot, events)) => {
                let state = snapshot.state.clone();
                self.save(&key, snapshot, events)?;
                Ok(Ok(state))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Executes commands on several aggregates, all or none: the first refusal is returned and
    /// nothing is recorded. Commands for the same aggregate see each other's changes.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get). A refusal is not an error; it is the inner `Err`.
    pub async fn execute_all(
        &self,
        commands: impl IntoIterator<Item = (A::Id, A::Command)>,
    ) -> Result<Result<(), A::Error>> {
        let mut changed: Vec<(Key, Snapshot<A>, Vec<A::Event>)> = Vec::new();
        let commands: Vec<_> = commands
            .into_iter()
            .map(|(id, command)| (Self::key(&id), command))
            .collect();
        for (key, command) in commands {
            let at = changed.iter().position(|(of, ..)| *of == key);
            let snapshot = match at {
                Some(at) => changed[at].1.clone(),
                None => self.load(&key).await?,
            };
            match decide(snapshot, command) {
                Ok((snapshot, events)) => match at {
                    Some(at) => {
                        changed[at].1 = snapshot;
                        changed[at].2.extend(events);
                    }
                    None => changed.push((key, snapshot, events)),
                },
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        for (key, snapshot, events) in changed {
            self.save(&key, snapshot, events)?;
        }
        Ok(Ok(()))
    }

    fn save(&self, key: &Key, mut snapshot: Snapshot<A>, events: Vec<A::Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        for event in &events {
            snapshot.sequence += 1;
            let body = encode(event);
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
        self.scope.remember(key, snapshot)
    }

    async fn load(&self, key: &Key) -> Result<Snapshot<A>> {
        if let Some(snapshot) = self.scope.state::<Snapshot<A>>(key)? {
            return Ok(snapshot);
        }
        let loaded = self.scope.load(key).await?;
        let Some(body) = loaded.body else {
            return Ok(Snapshot {
                sequence: 0,
                state: A::default(),
            });
        };
        match decode(&body) {
            Ok(snapshot) => Ok(snapshot),
            Err(_) => self.replay(key).await, // An older release wrote another shape.
        }
    }

    async fn replay(&self, key: &Key) -> Result<Snapshot<A>> {
        let mut snapshot = Snapshot {
            sequence: 0,
            state: A::default(),
        };
        for recorded in self.scope.service().store.history(key, 0).await? {
            snapshot.state.apply(&decode(&recorded.body)?);
            snapshot.sequence = recorded.sequence;
        }
        Ok(snapshot)
    }
}

/// The new snapshot and the events that led to it.
type Decided<A> = (Snapshot<A>, Vec<<A as Aggregate>::Event>);

fn decide<A: Aggregate>(
    mut snapshot: Snapshot<A>,
    command: A::Command,
) -> Result<Decided<A>, A::Error> {
    let events = snapshot.state.decide(command)?;
    for event in &events {
        snapshot.state.apply(event);
    }
    Ok((snapshot, events))
}
