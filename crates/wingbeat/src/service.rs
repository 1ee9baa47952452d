//! A service: all of its wiring as one value.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
use axum::Router;
#[cfg(feature = "http")]
use axum::middleware::from_fn;
use wingbeat_core::transport::Binding;
use wingbeat_core::{MessageType, Name};

use crate::call::{CallHandler, Executor};
use crate::describe::{ServiceDescription, SubscriptionDescription};
use crate::dispatch::Subscription;
use crate::effects::{CommandMessage, Effects, EventMessage, HandlerOutput};
use crate::extract::ExtractAll;
use crate::handler::{Erased, Handler, MessageHandler, Run, Scheduled};
#[cfg(feature = "http")]
use crate::http::Routes;
#[cfg(feature = "http")]
use crate::http::measure::routed;
use crate::saga::{self, Saga, SagaInput as _};
use crate::unit::Scope;
use crate::{SagaPolicy, TargetPolicy};

/// A service under construction. `S` is its state, shared by handlers and routes.
pub struct Service<S = ()> {
    state: S,
    pub(crate) parts: Parts,
}

/// The parts of a service, without the type of its state.
pub(crate) struct Parts {
    pub(crate) name: Name,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) executors: Vec<Executor>,
    pub(crate) targets: Vec<(&'static str, TargetPolicy)>,
    pub(crate) schedules: Vec<(&'static str, Duration, Scheduled)>,
    #[cfg(feature = "http")]
    pub(crate) routes: Router,
    #[cfg(feature = "test")]
    pub(crate) sagas: Vec<saga::Outline>,
    pub(crate) description: ServiceDescription,
}

impl Service<()> {
    /// Creates an empty service. The names of its queues begin with its name.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let parts = Parts {
            name: Name::new(name),
            subscriptions: Vec::new(),
            executors: Vec::new(),
            targets: Vec::new(),
            schedules: Vec::new(),
            #[cfg(feature = "http")]
            routes: Router::new(),
            #[cfg(feature = "test")]
            sagas: Vec::new(),
            description: ServiceDescription::new(Name::new(name)),
        };
        Self { state: (), parts }
    }

    /// Sets the state of the service. Call it first, so that the compiler reports a missing part at
    /// the handler that needs it.
    #[must_use]
    pub fn with_state<S: Clone + Send + Sync + 'static>(self, state: S) -> Service<S> {
        Service {
            state,
            parts: self.parts,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// Subscribes a handler to the message that is its first argument.
    #[must_use]
    pub fn on<H, Args>(mut self, handler: H) -> Self
    where
        H: Handler<Args> + MessageHandler<Args, S>,
    {
        let taken = handler.message();
        let (message, kind) = (taken.name, taken.kind);
        let policy = handler.policy();
        let queue = self.queue(policy.name.unwrap_or_else(|| short_name(message)));
        self.describe(queue, vec![taken], handler.returns());
        let Erased(run) = handler.erase(self.state.clone());
        let bindings = vec![Binding { message, kind }];
        self.parts.subscriptions.push(Subscription {
            queue,
            bindings,
            policy,
            takes: vec![message],
            run,
        });
        self
    }

    /// Runs a saga with the default [`SagaPolicy`]. Its inputs are its subscriptions.
    #[must_use]
    pub fn saga<G: Saga>(self) -> Self {
        self.saga_with::<G>(SagaPolicy::default())
    }

    /// Runs a saga with this policy.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use wingbeat::{Retry, SagaPolicy, Service};
    /// # use serde::{Deserialize, Serialize};
    /// # use wingbeat::{Event, JsonSchema, Late, Saga, SagaEffects, SagaInput};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "rooms.room_held", version = 1, key = booking)]
    /// # struct RoomHeld { booking: u32 }
    /// # #[derive(SagaInput)]
    /// # enum Input {
    /// #     #[saga(start)]
    /// #     Held(RoomHeld),
    /// # }
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Payment;
    /// # impl Saga for Payment {
    /// #     const NAME: &'static str = "payment";
    /// #     type Input = Input;
    /// #     fn step(&mut self, _: Input, _: &mut SagaEffects<Input>) {}
    /// #     fn late(&mut self, _: Late, _: Input, _: &mut SagaEffects<Input>) {}
    /// # }
    ///
    /// let policy = SagaPolicy {
    ///     concurrency: 8,
    ///     retry: Retry { quick: 5, ..SagaPolicy::default().retry },
    ///     ..SagaPolicy::default()
    /// };
    /// let bookings = Service::new("bookings").saga_with::<Payment>(policy);
    /// # drop(bookings);
    /// ```
    #[must_use]
    pub fn saga_with<G: Saga>(mut self, policy: SagaPolicy) -> Self {
        let queue = self.queue(G::NAME);
        let rows = G::Input::ROWS;
        let bindings = rows
            .iter()
            .filter(|row| !row.timer)
            .map(|row| Binding {
                message: row.message,
                kind: row.kind,
            })
            .collect();
        let takes = rows.iter().map(|row| row.message).collect();
        let routed = rows.iter().filter(|row| !row.timer);
        let routed = routed.map(|row| row.message_type).collect();
        self.describe(queue, routed, Vec::new());
        #[cfg(feature = "test")]
        self.parts.sagas.push(saga::Outline::of::<G>(queue));
        let run: Run =
            Arc::new(move |scope, envelope| Box::pin(saga::handle::<G>(scope, envelope, queue)));
        self.parts.subscriptions.push(Subscription {
            queue,
            bindings,
            policy: policy.into(),
            takes,
            run,
        });
        self
    }

    /// Runs a handler repeatedly, with this pause between two runs. All of its arguments are
    /// extractors.
    #[must_use]
    pub fn every<H, Args>(mut self, name: &'static str, pause: Duration, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        H::Output::describe(&mut self.parts.description.publishes);
        let state = self.state.clone();
        let run: Scheduled = Arc::new(move |scope| {
            let prepared = Args::extract_all(&scope, &state).map(|args| handler.call(args));
            Box::pin(async move {
                let mut effects = Effects::new();
                prepared?.await.record(&mut effects)?;
                scope.record(effects)
            })
        });
        self.parts.schedules.push((name, pause, run));
        self
    }

    /// Registers an executor, which carries out a call.
    #[must_use]
    pub fn calls<H, Args>(mut self, executor: H) -> Self
    where
        H: Handler<Args> + CallHandler<Args, S>,
    {
        let executor = executor.executor(self.state.clone()).0;
        let returns = &executor.returns;
        self.parts.description.publishes.extend(returns);
        self.parts.executors.push(executor);
        self
    }

    /// Declares an event that the service publishes, for the AsyncAPI document. Only events that no
    /// return type of a handler shows need it: those in [`Effects`], those of sagas and those of
    /// HTTP handlers.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use wingbeat::{JsonSchema, schemars};
    /// use wingbeat::{Event, Service};
    ///
    /// #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// #[event(name = "bookings.room_booked", version = 1, key = room)]
    /// struct RoomBooked {
    ///     room: String,
    /// }
    ///
    /// let bookings = Service::new("bookings").publishes::<RoomBooked>();
    /// ```
    #[must_use]
    pub fn publishes<E: EventMessage>(mut self) -> Self {
        let publishes = &mut self.parts.description.publishes;
        publishes.push(MessageType::of::<E>());
        self
    }

    /// Declares a command that the service sends, for the AsyncAPI document; see
    /// [`Self::publishes`].
    #[must_use]
    pub fn sends<C: CommandMessage>(mut self) -> Self {
        let publishes = &mut self.parts.description.publishes;
        publishes.push(MessageType::of::<C>());
        self
    }

    /// Sets the policy for all calls to an outside system: timeout, bulkhead, retries and circuit
    /// breaker.
    #[must_use]
    pub fn target(mut self, name: &'static str, policy: TargetPolicy) -> Self {
        self.parts.targets.push((name, policy));
        self
    }

    /// Adds HTTP routes. [`Routes`] are served and described; a plain axum [`Router`] is only
    /// served.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn routes(mut self, routes: impl Into<Routes<S>>) -> Self {
        let (routes, operations) = routes.into().into_parts();
        self.parts.description.operations.extend(operations);
        self.parts.routes = self
            .parts
            .routes
            .merge(routes.layer(from_fn(routed)).with_state(self.state.clone()));
        self
    }

    fn describe(&mut self, queue: Name, takes: Vec<MessageType>, publishes: Vec<MessageType>) {
        let description = &mut self.parts.description;
        let subscription = SubscriptionDescription { queue, takes };
        description.subscriptions.push(subscription);
        description.publishes.extend(publishes);
    }

    fn queue(&self, subscription: &str) -> Name {
        Name::intern(&format!("{}.{subscription}", self.parts.name))
    }
}

/// Returns the message's name without owner and version: `order_placed` for
/// `orders.order_placed.v1`.
fn short_name(message: &'static str) -> &'static str {
    let name = message.split_once('.').map_or(message, |(_, rest)| rest);
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}
