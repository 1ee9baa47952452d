//! A handler is an async function: its first argument is the message, the others are extractors.
//!
//! Two traits on purpose. [`Handler`] says only "an async function", so that policies such as
//! [`Handler::retry`] exist on every one; [`MessageHandler`] says "its parts fit here", so that rustc
//! names the argument that does not.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::{Envelope, Message, MessageType, Result};

use crate::effects::{Effects, HandlerOutput};
use crate::extract::{Arguments, ExtractAll};
use crate::unit::Scope;
use crate::{Policy, Retry, decode};

/// An async function of one to eight arguments.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async function with one to eight arguments",
    note = "write `async fn`, take owned arguments and return a `Result`"
)]
pub trait Handler<Args>: Clone + Send + Sync + Sized + 'static {
    /// What it returns.
    type Output: Send;
    /// Its future.
    type Future: Future<Output = Self::Output> + 'static;

    /// Calls it.
    fn call(&self, args: Args) -> Self::Future;

    /// How its messages are handled.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// The same handler with this retry policy.
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

    /// The same handler, at most `concurrency` at once.
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

    /// The same handler, with messages of the same key strictly in the order in which they came into the queue:
    /// one replica at a time is handed messages, and one that fails is tried again where it is, with the pauses
    /// of its retry policy, while later ones of its key wait. Only when it is given up as a dead letter do they
    /// go on; tried again from there, it comes later. Costs throughput: a key's next message waits for the commit
    /// of the one before, and replicas beyond the first stand by.
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

    /// The same handler under another subscription name than its message's.
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

/// A handler with a policy of its own.
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

/// From a message to what its handler asked for, recorded in the scope. All handlers look like this inside.
pub(crate) type Run = Arc<dyn Fn(Scope, Envelope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A scheduled handler, erased.
pub(crate) type Scheduled = Arc<dyn Fn(Scope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A handler that may be registered with [`crate::Service::on`].
pub trait MessageHandler<Args, S>: Handler<Args> {
    /// The type of the message that is subscribed to.
    fn message(&self) -> MessageType;
    /// The types of the messages that the handler may return.
    fn returns(&self) -> Vec<MessageType>;
    /// The handler, erased.
    fn erase(self, state: S) -> Erased;
}

/// See [`MessageHandler::erase`].
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
    fn message(&self) -> MessageType {
        MessageType::of::<Args::First>()
    }

    fn returns(&self) -> Vec<MessageType> {
        let mut types = Vec::new();
        H::Output::describe(&mut types);
        types
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
