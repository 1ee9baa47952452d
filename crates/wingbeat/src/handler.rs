//! Handlers: async functions whose first argument is a message and whose other arguments are
//! extractors.
//!
//! [`Handler`] is implemented for every async function, so its methods are always available.
//! [`MessageHandler`] checks the arguments, so rustc names the wrong one. The other traits say what
//! a handler may take and return; the derives and the framework implement them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::{Envelope, MessageType, Result};

use crate::batch::Unreadable;
use crate::describe::RequestDescription;
use crate::effects::Effects;
use crate::policy::{KillSwitch, PerTenant, Policy, Priority};
use crate::unit::Scope;
use crate::{Message, Rate, Retry, decode};

pub use crate::batch::{AnyBatch, Delivered, Incoming};
pub use crate::effects::{CommandMessage, EventMessage, HandlerOutput, IntoEffects};
pub use crate::extract::{Arguments, ExtractAll};

/// An async function of one to eight arguments.
///
/// The first argument of a message handler is the message that it subscribes to, or a
/// [`Batch`](crate::Batch) of them. All others are [extractors](crate::Extract). The function
/// returns a `Result` with [effects](IntoEffects). The runtime commits them together with the
/// handler's writes, and then acknowledges the message.
///
/// A handler may run several times for one message:
///
/// - after an error,
/// - after a crash,
/// - if data that it read has changed before the commit.
///
/// Only one run takes effect. A handler therefore has no effects of its own: it uses network, clock
/// and random numbers only through extractors.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "lamps.turn_on", version = 1, key = lamp)]
/// struct TurnOn { lamp: String }
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "lamps.turned_on", version = 1, key = lamp)]
/// struct TurnedOn { lamp: String }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Lamp { on: bool }
///
/// impl Entity for Lamp {
///     const NAME: &'static str = "lamp";
///     type Id = String;
/// }
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

    /// Returns the policy of the subscription.
    fn policy(&self) -> Policy {
        Policy::default()
    }

    /// Sets the retry policy.
    ///
    /// Rules say what follows certain errors:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use serde::{Deserialize, Serialize};
    /// use wingbeat::prelude::*;
    ///
    /// #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// #[event(name = "meters.read", version = 1, key = meter)]
    /// struct MeterRead { meter: u32, value: u32 }
    ///
    /// async fn bill(event: MeterRead) -> Result<()> {
    ///     match event.value {
    ///         0 => Err(Error::retry("no_value", "the meter did not send its value yet")),
    ///         _ => Ok(()),
    ///     }
    /// }
    ///
    /// let retry = Retry::default()
    ///     .on_code("no_value", Attempts::held([Duration::from_secs(10); 3]))
    ///     .max_age(Duration::from_secs(3_600));
    /// let billing = Service::new("billing").on(bill.retry(retry));
    /// # #[cfg(feature = "test")]
    /// # {
    /// # use wingbeat::{App, test::TestApp};
    /// # let app = TestApp::start(1, App::new().service(billing).allow_unknown_owners());
    /// # app.publish(uuid::Uuid::nil(), &MeterRead { meter: 1, value: 0 });
    /// # app.pass(Duration::from_secs(29));
    /// # assert_eq!(app.dead_letters("billing"), 0);
    /// # app.pass(Duration::from_secs(11));
    /// # assert_eq!(app.dead_letters("billing"), 1);
    /// # }
    /// ```
    fn retry(self, retry: Retry) -> Configured<Self> {
        Configured::new(self, |policy| policy.retry = retry)
    }

    /// Sets how many runs one process makes concurrently.
    ///
    /// The default is 64. Messages with the same key are handled one at a time anyway.
    fn concurrency(self, concurrency: usize) -> Configured<Self> {
        Configured::new(self, |policy| policy.concurrency = concurrency)
    }

    /// Limits how many messages of one tenant a process handles at the same time, so that one with
    /// many messages does not hold back the others.
    ///
    /// `tenant` names the tenant of a message: a customer, a shop, or whatever the handlers of one
    /// use up. All [partitions](Self::partitioned) that a process handles share the limit. A
    /// message whose body is stored apart, because it is large, or encrypted has no tenant.
    ///
    /// - Messages of a tenant that has as many runs as it may wait in memory, in order, up to an
    ///   eighth of the prefetch.
    /// - Further ones are put off: their delivery is parked in the store, until about those before
    ///   it are handled. They do not count as failed, and other messages of their tenant may
    ///   overtake them.
    /// - With [`ordered`](Self::ordered) or [`partitioned`](Self::partitioned) none is put off.
    ///   Then those of a tenant may fill the prefetch, and others wait behind them.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use wingbeat::prelude::*;
    ///
    /// #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// #[event(name = "reports.requested", version = 1, key = report)]
    /// struct Requested { report: u32, customer: String }
    ///
    /// async fn print(_: Requested) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// let print = print.concurrency(64).concurrency_per(4, |it: &Requested| it.customer.clone());
    /// let limits = wingbeat::policy::Limits::of(&print.policy());
    /// assert_eq!((limits.concurrency, limits.per_tenant), (64, Some(4)));
    /// # drop(Service::new("printer").on(print));
    /// ```
    fn concurrency_per<M: Message>(
        self,
        concurrency: usize,
        tenant: impl Fn(&M) -> String + Send + Sync + 'static,
    ) -> Configured<Self>
    where
        Args: Arguments<First = M>,
    {
        let of = move |message: &Envelope| {
            let message = decode::<M>(&message.body).ok()?;
            Some(Arc::<str>::from(tenant(&message)))
        };
        Configured::new(self, |policy| {
            policy.per_tenant = Some(PerTenant::new(concurrency, of));
        })
    }

    /// Sets which run comes first where several wait for a place. The default is
    /// [`Priority::Normal`].
    ///
    /// - Subscriptions wait for each other only if their service limits the runs of all of them:
    ///   see [`Service::concurrency`](crate::Service::concurrency). Without it,
    ///   [`App::findings`](crate::App::findings) warns (`priority_unused`).
    /// - An executor's calls wait for a place of the outside system
    ///   ([`TargetPolicy::concurrency`](crate::TargetPolicy::concurrency)). They go before other
    ///   calls that wait in this process, not before those that wait in the store.
    ///
    /// One of eight places goes to the run that has waited longest, so a low priority means a long
    /// wait and not an endless one. What has begun is never interrupted.
    ///
    /// ```
    /// use wingbeat::policy::Priority;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_placed", version = 1, key = order)]
    /// # struct OrderPlaced { order: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_viewed", version = 1, key = order)]
    /// # struct OrderViewed { order: u32 }
    ///
    /// async fn reserve(_: OrderPlaced) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// async fn count(_: OrderViewed) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// let stock = Service::new("stock")
    ///     .concurrency(16)
    ///     .on(reserve.priority(Priority::High))
    ///     .on(count.priority(Priority::Low));
    /// # drop(stock);
    /// ```
    fn priority(self, priority: Priority) -> Configured<Self> {
        Configured::new(self, |policy| policy.priority = priority)
    }

    /// Limits how many runs all replicas of the service start together.
    ///
    /// Messages beyond the rate wait in the queue, and the prefetch shrinks to what the rate allows
    /// in a minute. Attempts that follow a failure at once belong to the same run. The replicas
    /// count in the cache; while it is unavailable, each of them keeps to the rate alone.
    /// [`App::check`](crate::App::check) refuses a rate below one a minute (`rate_too_low`): use a
    /// schedule instead.
    ///
    /// For calls to an outside system, set [`TargetPolicy::rate`](crate::TargetPolicy::rate).
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_placed", version = 1, key = order)]
    /// # struct OrderPlaced { order: u32 }
    ///
    /// async fn index(_: OrderPlaced) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// let index = index.at_most(Rate::per_second(50));
    /// # drop(Service::new("search").on(index));
    /// ```
    fn at_most(self, rate: Rate) -> Configured<Self> {
        Configured::new(self, |policy| policy.rate = Some(rate))
    }

    /// Pauses the subscription in all processes when too many of its deliveries fail. A probe
    /// resumes it, or an operator. The store keeps the pause, so a restart does not end it.
    ///
    /// ```
    /// use wingbeat::policy::KillSwitch;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_placed", version = 1, key = order)]
    /// # struct OrderPlaced { order: u32 }
    ///
    /// async fn index(_: OrderPlaced) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// let index = index.kill_switch(KillSwitch::default());
    /// # drop(Service::new("search").on(index));
    /// ```
    fn kill_switch(self, switch: KillSwitch) -> Configured<Self> {
        Configured::new(self, |policy| policy.kill_switch = Some(switch))
    }

    /// Sets how many messages a [`Batch`](crate::Batch) has at most, from 1 to 1,000. The default
    /// is 100.
    ///
    /// A full batch is handled at once. See [`within`](Self::within) for others.
    fn up_to(self, messages: usize) -> Configured<Self>
    where
        Args: Arguments<First: AnyBatch>,
    {
        Configured::new(self, |policy| policy.up_to = messages)
    }

    /// Sets how long a message waits for others to form a [`Batch`](crate::Batch), at most one
    /// minute. The default is 100 ms.
    ///
    /// The time counts from the moment at which the first message of the batch can be handled. A
    /// service that stops does not wait: it handles what has gathered.
    fn within(self, time: Duration) -> Configured<Self>
    where
        Args: Arguments<First: AnyBatch>,
    {
        Configured::new(self, |policy| policy.within = time)
    }

    /// Handles messages with the same key strictly in the order in which they entered the queue.
    ///
    /// Only one replica at a time receives messages; the others are on standby. If a message fails,
    /// the runtime retries it in place and delays later messages with its key. After the last retry
    /// it becomes a dead letter and they proceed. A dead letter that an operator retries runs after
    /// them.
    ///
    /// Ordered delivery is slower: each message waits for the commit of its predecessor. Most
    /// handlers do not need it. A handler that only keeps the newest state can compare
    /// [`Meta::sequence`](crate::Meta::sequence) instead and ignore older messages.
    fn ordered(self) -> Configured<Self> {
        Configured::new(self, |policy| policy.ordered = true)
    }

    /// Handles messages with the same key strictly in order, as [`ordered`](Self::ordered) does,
    /// but with several replicas at work: each handles some of `n` partitions, from 1 to 64.
    ///
    /// - One replica moves the messages from the queue of the subscription to the queues of the
    ///   partitions, chosen by a hash of the key. That costs the broker a second hop.
    /// - The replicas share the partitions evenly, so choose at least as many as replicas. A
    ///   replica that stops gives its partitions away at once. Those of one that dies are taken
    ///   over within about ten seconds.
    /// - Messages without a key are spread, and have no order.
    /// - All partitions that a process handles share its [`concurrency`](Self::concurrency), and
    ///   the partitions of all processes the [rate](Self::at_most).
    ///
    /// `n` can be changed in any release, also from and to [`ordered`](Self::ordered). New messages
    /// wait in the queue of the subscription until the present partitions are empty, so no message
    /// overtakes another. The release that was started last decides.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "meter.read", version = 1, key = meter)]
    /// # struct MeterRead { meter: String }
    ///
    /// async fn bill(_: MeterRead) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// // The queue `billing.read`, and the partitions `billing.read.p0` to `billing.read.p7`.
    /// let billing = Service::new("billing").on(bill.partitioned(8));
    /// # assert_eq!(App::new().service(billing).topology().queues.len(), 9);
    /// ```
    fn partitioned(self, n: u32) -> Configured<Self> {
        Configured::new(self, |policy| policy.partitions = Some(n))
    }

    /// Delivers the events first that were published before the subscription existed.
    ///
    /// The service that owns the event must publish it with
    /// [`Service::publishes_history`](crate::Service::publishes_history): it sends the events of
    /// its stored histories to this subscription alone. [`App::check`](crate::App::check) refuses
    /// any other message.
    ///
    /// - The events of one aggregate come in their order, and each takes effect once.
    ///   [`Meta::replayed`](crate::Meta::replayed) is set.
    /// - The subscription handles no other event before all of them are handled. Later ones wait
    ///   in its queue.
    /// - A crash or a restart of any process continues the replay. It proceeds at the pace of this
    ///   handler, and at most 5,000 events a second. `GET /ops/replays` shows its progress.
    /// - An event that the handler refuses becomes a dead letter, and the replay goes on.
    ///
    /// The replay begins when the first process with this subscription starts, and only once. To
    /// read the past again, for example for a view with another content, rename the subscription
    /// with [`named`](Self::named).
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use wingbeat::prelude::*;
    /// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
    /// # #[command(name = "bank.deposit", version = 1, key = account)]
    /// # struct Deposit { account: String, cents: u64 }
    ///
    /// #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// #[event(name = "bank.deposited", version = 1, key = account)]
    /// struct Deposited { account: String, cents: u64 }
    /// # #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    /// # struct Account { cents: u64 }
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Added(u64);
    /// # impl Aggregate for Account {
    /// #     const NAME: &'static str = "account";
    /// #     type Id = String;
    /// #     type Command = u64;
    /// #     type Event = Added;
    /// #     type Error = ();
    /// #     fn decide(&self, cents: u64) -> std::result::Result<Vec<Added>, ()> {
    /// #         Ok(vec![Added(cents)])
    /// #     }
    /// #     fn apply(&mut self, Added(cents): &Added) { self.cents += cents; }
    /// # }
    /// # async fn deposit(command: Deposit, accounts: Repo<Account>) -> Result<()> {
    /// #     let _ = accounts.execute(&command.account, command.cents).await?;
    /// #     Ok(())
    /// # }
    ///
    /// // The bank makes its messages from the events of its accounts.
    /// fn bank() -> Service {
    ///     Service::new("bank").on(deposit).publishes_history(|it: Happened<'_, Account>| {
    ///         Some(Deposited { account: it.id.into(), cents: it.event.0 })
    ///     })
    /// }
    /// # #[derive(Clone, Default, Serialize, Deserialize)]
    /// # struct Total(u64);
    /// # impl Entity for Total {
    /// #     const NAME: &'static str = "total";
    /// #     type Id = String;
    /// # }
    ///
    /// async fn total(event: Deposited, totals: Table<Total>) -> Result<()> {
    ///     let add = |total: Option<Total>| Total(total.unwrap_or_default().0 + event.cents);
    ///     totals.update(&"all".into(), add).await?;
    ///     Ok(())
    /// }
    ///
    /// // A year later, the reports learn of all deposits.
    /// let reports = Service::new("reports").on(total.from_beginning());
    /// let app = App::new().service(bank()).service(reports);
    /// # #[cfg(feature = "test")]
    /// # {
    /// # let earlier = App::new().service(bank()).service(Service::new("reports"));
    /// # let mut test = wingbeat::test::TestApp::start(1, earlier);
    /// # test.publish(uuid::Uuid::nil(), &Deposit { account: "a".into(), cents: 5 });
    /// # test.until_idle();
    /// # test.crash(app);
    /// # test.publish(uuid::Uuid::nil(), &Deposit { account: "a".into(), cents: 7 });
    /// # test.until_idle();
    /// # let total = test.run(test.reads("reports").entity::<Total>(&"all".into()));
    /// # assert_eq!(total.unwrap().unwrap().0, 12);
    /// # }
    /// ```
    #[allow(
        clippy::wrong_self_convention,
        reason = "it says where the subscription of the handler begins"
    )]
    fn from_beginning(self) -> Configured<Self> {
        Configured::new(self, |policy| policy.from_beginning = true)
    }

    /// Sets the name of the subscription, and so of its queue. The default is the name of the
    /// message; a second subscription of a service to one message needs a name of its own.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_placed", version = 1, key = order)]
    /// # struct OrderPlaced { order: u32 }
    ///
    /// async fn index(_: OrderPlaced) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// let index = index.ordered().concurrency(4).named("search_index");
    /// assert_eq!(index.policy().name, Some("search_index"));
    /// let search = Service::new("search").on(index); // the queue is `search.search_index`
    /// # drop(search);
    /// ```
    fn named(self, name: &'static str) -> Configured<Self> {
        Configured::new(self, |policy| policy.name = Some(name))
    }

    /// States that the message contains personal data of the [subject](crate::Subjects) that its
    /// key names.
    ///
    /// A delivery that is parked or becomes a dead letter is then stored encrypted, under the
    /// subject's key. After the erasure of the subject, a parked delivery is discarded, and so is a
    /// dead letter when an operator retries it.
    #[cfg(feature = "personal")]
    fn personal(self) -> Configured<Self> {
        Configured::new(self, |policy| policy.personal = true)
    }
}

/// A handler and its policy, as returned by [`Handler::retry`].
#[derive(Clone)]
pub struct Configured<H> {
    handler: H,
    policy: Policy,
}

impl<H> Configured<H> {
    fn new<Args>(handler: H, change: impl FnOnce(&mut Policy)) -> Self
    where
        H: Handler<Args>,
    {
        let mut policy = handler.policy();
        change(&mut policy);
        Self { handler, policy }
    }
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

            #[allow(non_snake_case, reason = "one variable per type parameter")]
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

/// An erased handler of batches. It decodes the messages, and returns a run that records its
/// effects in the scope.
pub(crate) type RunBatch = Arc<
    dyn Fn(Scope, &[&Envelope]) -> Result<BoxFuture<'static, Result<()>>, Unreadable> + Send + Sync,
>;

/// An erased scheduled handler. It records its effects in the scope.
pub(crate) type Scheduled = Arc<dyn Fn(Scope) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Awaits the run of a handler and records its effects in the scope.
///
/// The caller decodes the message and extracts the arguments first, outside of any future: both
/// borrow the handler and the state, and a boxed future must not.
pub(crate) async fn run_recorded<F>(future: Result<F>, scope: Scope) -> Result<()>
where
    F: Future<Output: HandlerOutput>,
{
    let mut effects = Effects::new();
    future?.await.record(&mut effects)?;
    scope.record(effects)
}

/// A handler that can be registered with [`Service::on`](crate::Service::on).
///
/// Its first argument is a message. The others are extractors that work with the service's state
/// `S`.
///
/// ```
/// use wingbeat::Result;
/// use wingbeat::handler::MessageHandler;
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
/// let message = MessageHandler::<_, ()>::message(&turn_off);
/// assert_eq!(message.name, "lamps.turn_off.v1");
/// ```
pub trait MessageHandler<Args, S>: Handler<Args> {
    /// Returns the type of the subscribed message.
    fn message(&self) -> MessageType;
    /// Returns the types of the messages that the handler may return.
    fn returns(&self) -> Vec<MessageType>;
    /// Returns the description of the handler's extractors.
    fn extracts(&self) -> RequestDescription;
    /// Erases the types of the handler.
    fn erase(self, state: S) -> Erased;
}

/// A handler without its types; see [`MessageHandler::erase`].
pub struct Erased {
    pub(crate) run: Run,
    pub(crate) batch: Option<RunBatch>,
}

impl<H, Args, S> MessageHandler<Args, S> for H
where
    H: Handler<Args>,
    Args: Arguments + 'static,
    Args::First: Incoming,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: HandlerOutput,
    H::Future: Send,
    S: Clone + Send + Sync + 'static,
{
    fn message(&self) -> MessageType {
        MessageType::of::<<Args::First as Incoming>::Message>()
    }

    fn returns(&self) -> Vec<MessageType> {
        let mut types = Vec::new();
        H::Output::describe(&mut types);
        types
    }

    fn extracts(&self) -> RequestDescription {
        let mut extracts = RequestDescription::default();
        Args::Rest::describe(&mut extracts);
        extracts
    }

    fn erase(self, state: S) -> Erased {
        let call = move |first, scope: Scope| {
            let rest = Args::Rest::extract_all(&scope, &state);
            let future = rest.map(|rest| self.call(Args::join(first, rest)));
            Box::pin(run_recorded(future, scope))
        };
        let call = Arc::new(call);
        let batched = Arc::clone(&call);
        let batch: RunBatch =
            Arc::new(move |scope, envelopes| Ok(batched(Args::First::decode(envelopes)?, scope)));
        Erased {
            run: Arc::new(
                move |scope, envelope| match Args::First::decode(&[&envelope]) {
                    Ok(first) => call(first, scope),
                    Err(Unreadable { why, .. }) => Box::pin(std::future::ready(Err(why))),
                },
            ),
            batch: Args::First::IS_BATCH.then_some(batch),
        }
    }
}
