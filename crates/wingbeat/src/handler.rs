//! Handlers: async functions whose first argument is a message and whose other arguments are extractors.
//!
//! Two traits, so that compile errors are precise. [`Handler`] is implemented for every async function, so
//! that [`Handler::retry`] and the like always exist. [`MessageHandler`] checks the arguments, so that
//! rustc names the one that does not fit.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::{Envelope, Kind, Message, Result};

use crate::effects::{Effects, HandlerOutput};
use crate::extract::{Arguments, ExtractAll};
use crate::unit::Scope;
use crate::{Policy, Retry, decode};

/// An async function of one to eight arguments.
///
/// The first argument of a message handler is the message that it subscribes to. All others are
/// [extractors](crate::Extract). It returns a `Result` with [effects](crate::IntoEffects), which the
/// runtime commits together with the handler's writes and the acknowledgement of the message.
///
/// A handler may run several times for one message: after an error, after a crash, and when data that it
/// read has changed before the commit. Only one run takes effect. A handler therefore has no effects of its
/// own: it uses no network, no clock and no random numbers except through extractors.
///
/// ```
/// use wingbeat::{Handler, Result, Retry, Service, Table};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Entity, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "lamps.turn_on", version = 1, key = lamp)]
/// # struct TurnOn { lamp: String }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "lamps.turned_on", version = 1, key = lamp)]
/// # struct TurnedOn { lamp: String }
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct Lamp { on: bool }
/// # impl Entity for Lamp {
/// #     const NAME: &'static str = "lamp";
/// #     type Id = String;
/// # }
///
/// async fn turn_on(command: TurnOn, lamps: Table<Lamp>) -> Result<Option<TurnedOn>> {
///     if lamps.get(&command.lamp).await?.is_some_and(|lamp| lamp.on) {
///         return Ok(None); // nothing changes: publish nothing
///     }
///     lamps.put(&command.lamp, Lamp { on: true })?;
///     Ok(Some(TurnedOn { lamp: command.lamp }))
/// }
///
/// let retry = Retry { quick: 5, ..Retry::default() };
/// let service = Service::new("lamps").on(turn_on.retry(retry).concurrency(8));
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # let lamp = String::from("hall");
/// # app.publish(uuid::Uuid::nil(), &TurnOn { lamp: lamp.clone() });
/// # app.until_idle();
/// # assert!(app.run(app.reads("lamps").entity::<Lamp>(&lamp)).unwrap().unwrap().on);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async function with one to eight arguments",
    note = "write `async fn`, take owned arguments and return a `Result`"
)]
pub trait Handler<Args>: Clone + Send + Sync + Sized + 'static {
    /// The return type.
    type Output: Send;
    /// The future of one run.
    type Future: Future<Output = Self::Output> + 'static;

    /// Runs the handler once.
    fn call(&self, args: Args) -> Self::Future;

    /// Returns the policy by which messages are passed to this handler.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Sets the retry policy.
    fn retry(self, retry: Retry) -> Configured<Self>
    where
        Self: Handler<Args>,
    {
        let policy = Policy {
            retry,
            ..self.policy()
        };
        Configured {
            handler: self,
            policy,
        }
    }

    /// Limits the runs of this handler that a process makes at the same time.
    fn concurrency(self, concurrency: usize) -> Configured<Self> {
        let policy = Policy {
            concurrency,
            ..self.policy()
        };
        Configured {
            handler: self,
            policy,
        }
    }

    /// Handles messages with the same key strictly in the order in which they entered the queue.
    ///
    /// Only one replica at a time receives messages; the others are on standby. A message that fails is
    /// retried in place, with the pauses of its retry policy, while later messages with its key wait. They
    /// continue once it has become a dead letter; if a person retries that dead letter, it comes after
    /// them. This costs throughput: the next message with a key waits for the commit of the one before.
    fn ordered(self) -> Configured<Self> {
        let policy = Policy {
            ordered: true,
            ..self.policy()
        };
        Configured {
            handler: self,
            policy,
        }
    }

    /// Names the subscription. The default is the name of its message; a second subscription of a service to
    /// one message needs a name of its own.
    fn named(self, name: &'static str) -> Configured<Self> {
        let policy = Policy {
            name: Some(name),
            ..self.policy()
        };
        Configured {
            handler: self,
            policy,
        }
    }
}

/// A handler with a policy; see [`Handler::retry`] and the methods after it.
#[derive(Clone)]
pub struct Configured<H> {
    handler: H,
    policy: Policy,
}

#[diagnostic::do_not_recommend]
impl<H: Handler<Args>, Args> Handler<Args> for Configured<H> {
    type Output = H::Output;
    type Future = H::Future;

    fn call(&self, args: Args) -> H::Future {
        self.handler.call(args)
    }

    fn policy(&self) -> Policy {
        self.policy.clone()
    }
}

macro_rules! functions {
    ($first:ident $($rest:ident)*) => {
        impl<Fun, Fut, $first, $($rest),*> Handler<($first, $($rest,)*)> for Fun
        where
            Fun: Fn($first, $($rest),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + 'static,
            Fut::Output: Send,
        {
            type Output = Fut::Output;
            type Future = Fut;

            #[allow(non_snake_case, reason = "one variable a type parameter")]
            fn call(&self, ($first, $($rest,)*): ($first, $($rest,)*)) -> Fut {
                self($first, $($rest),*)
            }
        }
    };
}
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);
functions!(A B C D E);
functions!(A B C D E F);
functions!(A B C D E F G);
functions!(A B C D E F G H);

/// An erased message handler. It records its effects in the scope.
pub(crate) type Run = Arc<dyn Fn(Scope, Envelope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// An erased scheduled handler. It records its effects in the scope.
pub(crate) type Scheduled = Arc<dyn Fn(Scope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A handler that can be registered with [`Service::on`](crate::Service::on).
///
/// Its first argument is a message, the others are extractors that the service's state `S` can fill.
///
/// ```
/// use wingbeat::{MessageHandler, Result};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "lamps.turn_off", version = 1, key = lamp)]
/// # struct TurnOff { lamp: String }
///
/// async fn turn_off(_: TurnOff) -> Result<()> {
///     Ok(())
/// }
///
/// let (message, _) = MessageHandler::<_, ()>::message(&turn_off);
/// assert_eq!(message, "lamps.turn_off.v1");
/// ```
pub trait MessageHandler<Args, S>: Handler<Args> {
    /// Returns the wire type and the kind of the subscribed message.
    fn message(&self) -> (&'static str, Kind);
    /// Erases the types of the handler.
    fn erase(self, state: S) -> Erased;
}

/// A handler without its types; see [`MessageHandler::erase`].
pub struct Erased(pub(crate) Run);

impl<H, Args, S> MessageHandler<Args, S> for H
where
    H: Handler<Args>,
    Args: Arguments + 'static,
    Args::First: Message,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: HandlerOutput,
    H::Future: Send,
    S: Clone + Send + Sync + 'static,
{
    fn message(&self) -> (&'static str, Kind) {
        (Args::First::NAME, Args::First::KIND)
    }

    fn erase(self, state: S) -> Erased {
        Erased(Arc::new(move |scope, envelope| {
            let prepared = decode::<Args::First>(&envelope.body).and_then(|message| {
                let rest = Args::Rest::extract_all(&scope, &state)?;
                Ok(self.call(Args::join(message, rest)))
            });
            Box::pin(async move {
                let mut effects = Effects::new();
                prepared?.await.record(&mut effects)?;
                scope.record(effects)
            })
        }))
    }
}
