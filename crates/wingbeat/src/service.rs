//! A service: all of its wiring as one value.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use wingbeat_core::Name;
use wingbeat_core::transport::Binding;

use crate::call::{CallHandler, Executor};
use crate::dispatch::Subscription;
use crate::effects::{Effects, HandlerOutput};
use crate::extract::ExtractAll;
use crate::handler::{Erased, Handler, MessageHandler, Run, Scheduled};
use crate::http::measure::routed;
use crate::saga::{self, Saga, SagaInput as _};
use crate::unit::Scope;
use crate::{Policy, Retry, TargetPolicy};

/// A service under construction. `S` is its state, shared by handlers and routes.
pub struct Service<S = ()> {
    state: S,
    pub(crate) parts: Parts,
}

/// What a service is made of, without its state's type.
pub(crate) struct Parts {
    pub(crate) name: Name,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) executors: Vec<Executor>,
    pub(crate) targets: Vec<(&'static str, TargetPolicy)>,
    pub(crate) schedules: Vec<(&'static str, Duration, Scheduled)>,
    pub(crate) routes: Router,
}

impl Service<()> {
    /// A service with nothing in it yet. Its name is the first part of its queues' names.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let parts = Parts {
            name: Name::new(name),
            subscriptions: Vec::new(),
            executors: Vec::new(),
            targets: Vec::new(),
            schedules: Vec::new(),
            routes: Router::new(),
        };
        Self { state: (), parts }
    }

    /// Gives the service its state. Comes first, so that a missing part is reported at the handler
    /// that wants it.
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
        let (message, kind) = handler.message();
        let policy = handler.policy();
        let queue = self.queue(policy.name.unwrap_or_else(|| short_name(message)));
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

    /// Runs a saga; its inputs are its subscriptions.
    #[must_use]
    pub fn saga<G: Saga>(mut self) -> Self {
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
        let run: Run =
            Arc::new(move |scope, envelope| Box::pin(saga::handle::<G>(scope, envelope, queue)));
        self.parts.subscriptions.push(Subscription {
            queue,
            bindings,
            policy: Policy {
                retry: Retry::patient(),
                ..Policy::default()
            },
            takes,
            run,
        });
        self
    }

    /// Runs a handler, all of whose arguments are extractors, again and again with this pause.
    #[must_use]
    pub fn every<H, Args>(mut self, name: &'static str, pause: Duration, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
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

    /// Carries out a call.
    #[must_use]
    pub fn calls<H, Args>(mut self, executor: H) -> Self
    where
        H: Handler<Args> + CallHandler<Args, S>,
    {
        self.parts
            .executors
            .push(executor.executor(self.state.clone()).0);
        self
    }

    /// Says how an outside system is called: timeout, bulkhead, retry and breaker, for all calls to it.
    #[must_use]
    pub fn target(mut self, name: &'static str, policy: TargetPolicy) -> Self {
        self.parts.targets.push((name, policy));
        self
    }

    /// Adds HTTP routes.
    #[must_use]
    pub fn routes(mut self, routes: Router<S>) -> Self {
        self.parts.routes = self
            .parts
            .routes
            .merge(routes.layer(from_fn(routed)).with_state(self.state.clone()));
        self
    }

    fn queue(&self, subscription: &str) -> Name {
        Name::intern(&format!("{}.{subscription}", self.parts.name))
    }
}

/// `order_placed` of `orders.order_placed.v1`.
fn short_name(message: &'static str) -> &'static str {
    let name = message.split_once('.').map_or(message, |(_, rest)| rest);
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}
