//! What a step of a saga asks for.

use std::marker::PhantomData;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use wingbeat_core::{Error, Message, Result, Timestamp};

use super::answers::{AcceptsTimer, Answers};
use crate::call::Call;
use crate::effects::{CommandMessage, Effects, EventMessage};
use crate::encode;
use crate::state::{Aggregate, Entity, Repo, Table};
use crate::unit::{Scope, text};

type Change = Box<dyn FnOnce(Scope) -> BoxFuture<'static, Result<()>> + Send>;

/// What a step asks for.
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
    /// The time of this step; the same for everything in it.
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

    /// Sends a command under an operation id, which a resend keeps.
    pub fn send_as<C: CommandMessage>(
        &mut self,
        operation: impl Into<String>,
        command: &C,
    ) -> &mut Self {
        self.effects.send_as(operation, command);
        self
    }

    /// Makes an outside call whose outcome this saga takes.
    pub fn call<C: Call>(&mut self, call: &C) -> &mut Self
    where
        C::Outcome: Answers<I>,
    {
        self.effects.call(call);
        self
    }

    /// Sets a timer; one of the same message that is pending is replaced.
    pub fn after<T: Message>(&mut self, delay: Duration, timer: &T) -> &mut Self
    where
        I: AcceptsTimer<T>,
    {
        self.timers.retain(|(name, ..)| *name != T::NAME);
        self.timers.push((T::NAME, delay, text(&encode(timer))));
        self
    }

    /// Cancels a pending timer.
    pub fn cancel<T: Message>(&mut self) -> &mut Self
    where
        I: AcceptsTimer<T>,
    {
        self.timers.retain(|(name, ..)| *name != T::NAME);
        self.cancelled.push(T::NAME);
        self
    }

    /// Executes a command on one of the service's own aggregates, in the same unit. A refusal rejects
    /// the input: the saga must only ask what cannot be refused in its state.
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
                match Repo::<A>::in_scope(&scope).execute(&id, command).await? {
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

    /// Changes one of the service's own entities, in the same unit.
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

    /// Has the input come again later: nothing else that was asked for in this step takes effect, and the saga stays as
    /// it was. After some quick attempts it comes after pauses of 1, 5, 30, 120, 600 and 3,600 s; then it is a dead letter.
    /// Not for timers, which are set again instead: a timer that is deferred is a dead letter at once.
    pub fn defer(&mut self) -> &mut Self {
        self.deferred = true;
        self
    }

    /// Ends the saga: its timers are cancelled, and what comes from now on is late.
    pub fn end(&mut self) -> &mut Self {
        self.ended = true;
        self
    }
}
