//! Event-sourced state: `decide` turns commands into events, `apply` folds events into state.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wingbeat_core::store::ServiceStore;
use wingbeat_core::{Key, Result, Timestamp};

use super::derived::ViewColumns;
use super::history::Upcasts;
use super::shape::shape;
use super::view::ViewRow;
use crate::decode;

/// State that is derived from its history of events.
///
/// [`decide`](Self::decide) and [`apply`](Self::apply) are pure functions, so tests need neither a
/// store nor a runtime (`wingbeat::test::given`). The store keeps the history and a snapshot of the
/// state. A snapshot of a release whose state had other fields, whose events had other forms or
/// whose [`SNAPSHOT`](Self::SNAPSHOT) differs is not used: the history is folded again.
///
/// Use an [`Entity`](crate::Entity) if no reader needs the history.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::{Aggregate, JsonSchema, schemars};
///
/// #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
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
    Default + Clone + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name of the table. It is stored: keep it when you rename the type.
    const NAME: &'static str;
    /// The version of [`apply`](Self::apply). Increase it if `apply` derives another state from
    /// the same events. Changed fields and forms of events are recognized without it.
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

    /// The views of which [`rows`](Self::rows) returns rows, with all of their index columns. Add a
    /// new column here, too: the next release then fills it in the background
    /// (`docs/evolution.md`).
    const VIEWS: &'static [ViewColumns] = &[];
    /// The version of [`rows`](Self::rows). Increase it if `rows` derives other rows from the same
    /// states, so that they are written again. Changed [`VIEWS`](Self::VIEWS) are recognized
    /// without it.
    const ROWS: u32 = 0;

    /// Returns the view rows that show this aggregate. [`Repo`](crate::Repo) writes them with every
    /// change. [`VIEWS`](Self::VIEWS) must list their views and columns.
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

/// A [`Snapshot`] without its state.
#[derive(Deserialize)]
struct Covered {
    #[serde(rename = "v")]
    sequence: u64,
    #[serde(rename = "h", default)]
    shape: Option<u32>,
}

impl<A: Aggregate> Snapshot<A> {
    /// The snapshot of an aggregate without a history.
    pub(super) fn empty() -> Self {
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

    /// Returns the length of the history that a stored snapshot covers, of whatever shape.
    ///
    /// # Errors
    ///
    /// `undecodable` if it cannot be read, or if it has the current shape and its state cannot be
    /// read.
    pub(super) fn covers(body: &[u8]) -> Result<u64> {
        let Covered { sequence, shape } = decode(body)?;
        if shape == Some(Self::shape()) {
            decode::<Self>(body)?;
        }
        Ok(sequence)
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

    /// Executes a command. Returns the events that it causes, which the state has applied. Calls
    /// `applied` after each event.
    pub(super) fn execute(
        &mut self,
        command: A::Command,
        mut applied: impl FnMut(&Self, &A::Event),
    ) -> Result<Vec<A::Event>, A::Error> {
        let events = self.state.decide(command)?;
        for event in &events {
            self.state.apply(event);
            self.sequence += 1;
            applied(self, event);
        }
        Ok(events)
    }
}

/// Returns the number that a snapshot of `A` is stored with: its shape.
pub(crate) fn snapshot_shape<A: Aggregate>() -> u32 {
    Snapshot::<A>::shape()
}
