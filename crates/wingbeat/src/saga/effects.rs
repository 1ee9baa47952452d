//! The effects of a saga's step.

use std::marker::PhantomData;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use wingbeat_core::{Error, Message, Result, Timestamp};

use super::answers::{AcceptsTimer, Answers};
use crate::call::Call;
use crate::effects::{CommandMessage, Effects, EventMessage};
use crate::encode;
use crate::promise::Promise;
use crate::state::{Aggregate, Entity, Repo, Table};
use crate::unit::{Scope, text};

type Change = Box<dyn FnOnce(Scope) -> BoxFuture<'static, Result<()>> + Send>;

/// Effects of one step of a saga: messages, calls, timers and changes of the service's own data.
///
/// The runtime commits all of them together with the saga's new state.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{SagaEffects, SagaInput};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, JsonSchema, Timestamp};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "mails.send", version = 1, key = order)]
/// # struct SendMail { order: u32 }
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "orders.remind", version = 1, key = order)]
/// # struct Remind { order: u32 }
///
/// #[derive(SagaInput)]
/// enum Input {
///     #[saga(timer)]
///     Remind(Remind),
/// }
///
/// fn remind(order: u32, effects: &mut SagaEffects<Input>) {
///     effects
///         .send(&SendMail { order })
///         .after(Duration::from_secs(24 * 3600), &Remind { order });
/// }
///
/// let mut effects = SagaEffects::at(Timestamp::default());
/// remind(7, &mut effects);
/// assert_eq!(effects.messages(), ["mails.send.v1"]);
/// assert_eq!(effects.timers(), ["orders.remind.v1"]);
/// ```
pub struct SagaEffects<I> {
    pub(super) effects: Effects,
    pub(super) timers: Vec<(&'static str, Duration, Box<RawValue>)>,
    pub(super) cancelled: Vec<&'static str>,
    pub(super) changes: Vec<Change>,
    pub(super) ended: bool,
    pub(super) deferred: bool,
    pub(super) now: Timestamp,
    pub(super) of: PhantomData<fn() -> I>,
}

impl<I> Default for SagaEffects<I> {
    fn default() -> Self {
        Self {
            effects: Effects::new(),
            timers: Vec::new(),
            cancelled: Vec::new(),
            changes: Vec::new(),
            ended: false,
            deferred: false,
            now: Timestamp::default(),
            of: PhantomData,
        }
    }
}

impl<I> SagaEffects<I> {
    /// Returns the time of this step. All uses within one step see the same time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Publishes an event.
    pub fn publish<E: EventMessage>(&mut self, event: &E) -> &mut Self {
        self.effects.publish(event);
        self
    }

    /// Sends a command.
    pub fn send<C: CommandMessage>(&mut self, command: &C) -> &mut Self {
        self.effects.send(command);
        self
    }

    /// Sends a command with an [operation id](crate::call#operation-ids), for commands that the
    /// saga may send again.
    pub fn send_as<C: CommandMessage>(
        &mut self,
        operation: impl Into<String>,
        command: &C,
    ) -> &mut Self {
        self.effects.send_as(operation, command);
        self
    }

    /// Records an outside call. Its outcome is an input of this saga.
    pub fn call<C: Call>(&mut self, call: &C) -> &mut Self
    where
        C::Outcome: Answers<I>,
    {
        self.effects.call(call);
        self
    }

    /// Sets a timer: the saga receives `timer` after `delay`. It replaces a pending timer of the
    /// same type, also one that has fired and is parked after a failure.
    pub fn after<T: Message>(&mut self, delay: Duration, timer: &T) -> &mut Self
    where
        I: AcceptsTimer<T>,
    {
        self.timers.retain(|(name, ..)| *name != T::NAME);
        self.timers.push((T::NAME, delay, text(&encode(timer))));
        self
    }

    /// Cancels the pending timer of the type `T`, if there is one, also if it has fired and is
    /// parked after a failure.
    pub fn cancel<T: Message>(&mut self) -> &mut Self
    where
        I: AcceptsTimer<T>,
    {
        self.timers.retain(|(name, ..)| *name != T::NAME);
        self.cancelled.push(T::NAME);
        self
    }

    /// Executes a command on one of the service's own aggregates, in the same unit of work.
    ///
    /// If the aggregate refuses the command, the input becomes a dead letter with the reason
    /// `refused`. A step cannot see the refusal, so use it only for commands that cannot be refused
    /// in this state of the saga. Send a command to a handler if the answer matters.
    pub fn execute<A: Aggregate<Command: Send, Error: std::fmt::Debug>>(
        &mut self,
        id: A::Id,
        command: A::Command,
    ) -> &mut Self
    where
        A::Id: 'static,
        A::Command: 'static,
    {
        self.changes.push(Box::new(move |scope| {
            Box::pin(async move {
                match Repo::<A>::of(&scope).execute(&id, command).await? {
                    Ok(_) => Ok(()),
                    Err(refusal) => Err(Error::reject(
                        "refused",
                        format!("{} refused its saga: {refusal:?}", A::NAME),
                    )),
                }
            })
        }));
        self
    }

    /// Replaces one of the service's own entities with the result of `change`, in the same unit of
    /// work.
    pub fn update<E: Entity>(
        &mut self,
        id: E::Id,
        change: impl FnOnce(Option<E>) -> E + Send + 'static,
    ) -> &mut Self
    where
        E::Id: 'static,
    {
        self.changes.push(Box::new(move |scope| {
            Box::pin(async move { Table::<E>::of(&scope).update(&id, change).await.map(drop) })
        }));
        self
    }

    /// Counts a [promise](Promise) that this step makes.
    pub fn make(&mut self, promise: Promise) -> &mut Self {
        self.count(move |scope| promise.make(scope))
    }

    /// Counts a promise that was made at `since` and that this step keeps: in time or late.
    pub fn keep(&mut self, promise: Promise, since: Timestamp) -> &mut Self {
        self.count(move |scope| promise.keep(scope, since))
    }

    /// Counts a promise that will not be kept.
    pub fn fail(&mut self, promise: Promise) -> &mut Self {
        self.count(move |scope| promise.fail(scope))
    }

    /// Counts a promise that nobody waits for any more.
    pub fn release(&mut self, promise: Promise) -> &mut Self {
        self.count(move |scope| promise.release(scope))
    }

    fn count(&mut self, counting: impl FnOnce(&Scope) -> Result<()> + Send + 'static) -> &mut Self {
        self.changes.push(Box::new(move |scope| {
            Box::pin(async move { counting(&scope) })
        }));
        self
    }

    /// Defers the input. The runtime discards this step, with its change of the saga and all other
    /// effects, and retries the input later.
    ///
    /// By the default [`SagaPolicy`](crate::policy::SagaPolicy), some quick attempts come first,
    /// and then pauses of 1, 5, 30, 120, 600 and 3,600 s. After them the input becomes a dead
    /// letter with the reason `saga_deferred`.
    ///
    /// A timer cannot be deferred: it becomes a dead letter at once, with the reason
    /// `timer_deferred`. Set it again with [`after`](Self::after) instead.
    pub fn defer(&mut self) -> &mut Self {
        self.deferred = true;
        self
    }

    /// Ends the saga. Its timers are cancelled, and further inputs go to
    /// [`Saga::unexpected`](crate::Saga::unexpected).
    pub fn end(&mut self) -> &mut Self {
        self.ended = true;
        self
    }
}
