//! The builder of a service.

mod wiring;

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
use axum::Router;
#[cfg(feature = "http")]
use axum::middleware::from_fn;
use wingbeat_core::transport::Binding;
use wingbeat_core::{Kind, MessageType, Name};

use crate::call::CallHandler;
use crate::describe::{
    RequestDescription, ServiceDescription, StoredKind, StoredName, SubscriptionDescription,
};
use crate::dispatch::{Subscription, short_name};
use crate::effects::{CommandMessage, EventMessage, HandlerOutput};
use crate::extract::ExtractAll;
use crate::handler::{Erased, Handler, MessageHandler, Run, Scheduled, run_recorded};
#[cfg(feature = "http")]
use crate::http::Routes;
#[cfg(feature = "http")]
use crate::http::measure::routed;
use crate::policy::{Policy, SagaPolicy};
use crate::replay::{self, Begins, Histories};
use crate::request::{Request, RequestHandler, patience};
use crate::saga::{self, Saga, SagaCheck, SagaInput as _};
use crate::schedule::{Polling, Registered as RegisteredSchedule, Schedule};
use crate::state::{
    Aggregate, Applying, Chapters, CheckedView, Derived, Happened, Projection, Publish, Repo,
};
use crate::stored::Stored;
use crate::unit::{Published, Scope};
use crate::{Promise, TargetPolicy};

pub(crate) use wiring::{SagaWaits, Wiring};

/// A service: its handlers, sagas, executors, schedules and routes.
///
/// `S` is the type of the state that handlers and routes share; see
/// [`with_state`](Self::with_state). A service has its own data, which no other service reads or
/// writes. [`App`](crate::App) runs it.
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
/// async fn open(command: Open) -> Result<Opened> {
///     Ok(Opened { door: command.door })
/// }
///
/// let doors = Service::new("doors").on(open);
/// let app = App::new().service(doors);
/// assert!(app.check().is_ok());
/// ```
pub struct Service<S = ()> {
    state: S,
    pub(crate) wiring: Wiring,
}

/// The default time for which a dead letter waits for a decision.
const DEAD_LETTERS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

impl Service<()> {
    /// Creates a service without handlers. `name` is the prefix of its queue names.
    ///
    /// The name also identifies the service's data in the store: a renamed service starts empty.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let wiring = Wiring {
            name: Name::new(name),
            subscriptions: Vec::new(),
            executors: Vec::new(),
            targets: Vec::new(),
            schedules: Vec::new(),
            polls: Vec::new(),
            tables: Vec::new(),
            views: Vec::new(),
            saga_checks: Vec::new(),
            published: Published::default(),
            histories: Histories::new(),
            projections: Vec::new(),
            begins: Vec::new(),
            #[cfg(feature = "http")]
            routes: Router::new(),
            #[cfg(feature = "test")]
            sagas: Vec::new(),
            description: ServiceDescription::new(Name::new(name)),
            waits: Vec::new(),
            promises: Vec::new(),
            dead_letters_kept: DEAD_LETTERS_KEPT,
            concurrency: None,
        };
        Self { state: (), wiring }
    }

    /// Sets the state. Call this before [`on`](Self::on) and the other methods, so that the
    /// compiler reports a missing part at the handler that needs it.
    ///
    /// The state is for settings and clients. It is not stored, and each process has its own copy.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
    /// # #[command(name = "prices.quote", version = 1, key = sku)]
    /// # struct Quote { sku: String, cents: u64 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "prices.quoted", version = 1, key = sku)]
    /// # struct Quoted { sku: String, gross: u64 }
    ///
    /// #[derive(Clone, Parts)]
    /// struct Pricing {
    ///     tax_percent: u64,
    /// }
    ///
    /// async fn quote(command: Quote, State(tax): State<u64>) -> Result<Quoted> {
    ///     Ok(Quoted { sku: command.sku, gross: command.cents * (100 + tax) / 100 })
    /// }
    ///
    /// let prices = Service::new("prices").with_state(Pricing { tax_percent: 19 }).on(quote);
    /// # drop(prices);
    /// ```
    #[must_use]
    pub fn with_state<S: Clone + Send + Sync + 'static>(self, state: S) -> Service<S> {
        Service {
            state,
            wiring: self.wiring,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// Subscribes a handler to the message that is its first argument.
    ///
    /// The subscription has a queue named after the message. A service that handles one message
    /// twice gives the second handler a name with [`Handler::named`]. A command has exactly one
    /// handler in the whole system; an event has any number.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "orders.order_placed", version = 1, key = order)]
    /// # struct OrderPlaced { order: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "stock.reserved", version = 1, key = order)]
    /// # struct Reserved { order: u32 }
    ///
    /// async fn reserve(event: OrderPlaced) -> Result<Reserved> {
    ///     Ok(Reserved { order: event.order })
    /// }
    ///
    /// async fn count(_: OrderPlaced) -> Result<()> {
    ///     Ok(())
    /// }
    ///
    /// // The queues `stock.order_placed` and `stock.order_count`.
    /// let stock = Service::new("stock").on(reserve).on(count.named("order_count"));
    /// # let app = App::new().service(stock);
    /// # let queues: Vec<_> = app.topology().queues.into_keys().collect();
    /// # assert_eq!(queues, ["stock.order_count", "stock.order_placed"].map(wingbeat::Name::new));
    /// ```
    #[must_use]
    pub fn on<H, Args>(mut self, handler: H) -> Self
    where
        H: Handler<Args> + MessageHandler<Args, S>,
    {
        let message = handler.message();
        let (name, kind) = (message.name, message.kind);
        let policy = handler.policy();
        let queue = self.queue(policy.name.unwrap_or_else(|| short_name(name)));
        self.describe(queue, vec![message], handler.returns());
        self.uses(MessageHandler::extracts(&handler));
        let Erased { run, batch } = MessageHandler::erase(handler, self.state.clone());
        if policy.from_beginning {
            self.begins(Begins { queue, message }, &policy, &run);
        }
        self.wiring.subscriptions.push(Subscription {
            policy,
            batch,
            ..Subscription::of(queue, name, kind, run)
        });
        self
    }

    /// Answers the request that is the first argument of a handler.
    ///
    /// The handler returns a `Result` of the reply. The reply is part of its unit of work: it is
    /// sent if and only if the handler's changes are stored. Each request is handled once, and
    /// exactly one service of the system answers a type.
    ///
    /// - An error of the class *reject* becomes the reply. The handler's changes are discarded, and
    ///   there is no dead letter.
    /// - An error of the class *retry* is retried until the deadline of the request, with shorter
    ///   pauses than for other messages unless the handler has a [`Retry`](crate::Retry) of its
    ///   own. Rules for errors of the class *reject* do not apply.
    /// - A request that arrives after its deadline is acknowledged, and the handler does not run.
    ///
    /// [`Requests`](crate::Requests) asks, and has an example.
    #[must_use]
    pub fn answer<H, Args>(mut self, handler: H) -> Self
    where
        H: Handler<Args> + RequestHandler<Args, S>,
    {
        let request = handler.request();
        let mut policy = handler.policy();
        policy.retry = patience(policy.retry);
        let queue = self.queue(policy.name.unwrap_or_else(|| short_name(request.name)));
        self.describe(queue, vec![request], Vec::new());
        self.wiring.description.answers.push(request);
        self.uses(RequestHandler::extracts(&handler));
        let Erased { run, batch } = RequestHandler::erase(handler, self.state.clone());
        self.wiring.subscriptions.push(Subscription {
            policy,
            batch,
            ..Subscription::of(queue, request.name, request.kind, run)
        });
        self
    }

    /// Declares a request that the service asks, with [`Requests`](crate::Requests) in its routes.
    ///
    /// [`App::check`](crate::App::check) then reports it if no service answers it. A service that
    /// declares no request has no reply queue.
    #[must_use]
    pub fn asks<R: Request>(mut self) -> Self {
        let request = MessageType::of::<R>();
        self.wiring.description.publishes.push(request);
        self.wiring.description.asks.push(request);
        self
    }

    /// Registers a saga and subscribes it to its inputs, with the default [`SagaPolicy`].
    ///
    /// All inputs share one queue, which has the name of the saga.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "rooms.room_held", version = 1, key = booking)]
    /// # struct RoomHeld { booking: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "payments.paid", version = 1, key = booking)]
    /// # struct Paid { booking: u32 }
    ///
    /// #[derive(SagaInput)]
    /// enum Input {
    ///     #[saga(start)]
    ///     Held(RoomHeld),
    ///     Paid(Paid),
    /// }
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Payment;
    /// # impl Saga for Payment {
    /// #     const NAME: &'static str = "payment";
    /// #     type Input = Input;
    /// #     fn step(&mut self, _: Input, _: &mut SagaEffects<Input>) {}
    /// #     fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
    /// # }
    ///
    /// // The queue `bookings.payment` receives both messages.
    /// let bookings = Service::new("bookings").saga::<Payment>();
    /// # let topology = App::new().service(bookings).topology();
    /// # let queue = &topology.queues[&wingbeat::Name::new("bookings.payment")];
    /// # assert_eq!(queue.bindings.len(), 2);
    /// ```
    #[must_use]
    pub fn saga<G: Saga>(self) -> Self {
        self.saga_with::<G>(SagaPolicy::default())
    }

    /// Registers a saga with a policy of its own; see [`saga`](Self::saga).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use wingbeat::policy::SagaPolicy;
    /// use wingbeat::{Retry, Service};
    /// # use serde::{Deserialize, Serialize};
    /// # use wingbeat::{Event, JsonSchema, Unexpected, Saga, SagaEffects, SagaInput};
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
    /// #     fn unexpected(&mut self, _: Unexpected, _: Input, _: &mut SagaEffects<Input>) {}
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
        let mut takes = Vec::new();
        let mut bindings = Vec::new();
        let mut subscribed = Vec::new();
        for row in G::Input::ROWS {
            takes.push(row.message);
            if row.timer {
                let timers = &mut self.wiring.description.timers;
                timers.push(row.message_type);
                continue; // Timers come from the store, so they need neither binding nor entry.
            }
            bindings.push(Binding {
                message: row.message,
                kind: row.kind,
            });
            subscribed.push(row.message_type);
        }
        self.describe(queue, subscribed, Vec::new());
        let others = G::Input::ROWS.iter().filter(|it| !it.starts && !it.timer);
        self.wiring.waits.push(SagaWaits {
            queue,
            timers: G::Input::ROWS.iter().filter(|it| it.timer).count(),
            others: others.count(),
        });
        let saga = StoredName::new(StoredKind::Saga, G::NAME);
        self.wiring.description.uses.push(saga);
        self.wiring.saga_checks.push(SagaCheck::of::<G>(queue));
        #[cfg(feature = "test")]
        self.wiring.sagas.push(saga::Outline::of::<G>(queue));
        let run: Run =
            Arc::new(move |scope, envelope| Box::pin(saga::handle::<G>(scope, envelope, queue)));
        self.wiring.subscriptions.push(Subscription {
            queue,
            bindings,
            policy: policy.into(),
            takes,
            run,
            batch: None,
            replays: None,
            partition_of: None,
        });
        self
    }

    /// Runs a handler each time that `period` has passed, once per system.
    ///
    /// Short for [`schedule`](Self::schedule) with [`Schedule::every`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Default, Serialize, Deserialize)]
    /// struct Runs(u32);
    ///
    /// impl Entity for Runs {
    ///     const NAME: &'static str = "runs";
    ///     type Id = String;
    /// }
    ///
    /// async fn count(runs: Table<Runs>) -> Result<()> {
    ///     runs.update(&"hourly".into(), |runs| Runs(runs.unwrap_or_default().0 + 1)).await?;
    ///     Ok(())
    /// }
    ///
    /// let hour = Duration::from_secs(3600);
    /// let service = Service::new("reports").every("count", hour, count);
    /// # #[cfg(feature = "test")]
    /// # {
    /// # let app = wingbeat::test::TestApp::start(1, App::new().service(service));
    /// # app.pass(hour * 5 / 2);
    /// # let runs = app.run(app.reads("reports").entity::<Runs>(&"hourly".into())).unwrap();
    /// # assert_eq!(runs.unwrap().0, 2);
    /// # }
    /// ```
    #[must_use]
    pub fn every<H, Args>(self, name: &'static str, period: Duration, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        self.schedule(name, Schedule::every(period), handler)
    }

    /// Runs a handler at the times of a cron expression in UTC, once per system.
    ///
    /// Short for [`schedule`](Self::schedule) with [`Schedule::cron`]; use that for another time
    /// zone.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    ///
    /// async fn report(Now(now): Now) -> Result<()> {
    ///     tracing::info!(%now, "the report of the day");
    ///     Ok(())
    /// }
    ///
    /// let service = Service::new("reports").cron("daily", "0 3 * * *", report);
    /// # assert!(App::new().service(service).check().is_ok());
    /// ```
    #[cfg(feature = "cron")]
    #[must_use]
    pub fn cron<H, Args>(self, name: &'static str, expression: &str, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        self.schedule(name, Schedule::cron(expression), handler)
    }

    /// Runs a handler at planned times, once per system. All arguments of the handler are
    /// extractors; [`Meta::time`](crate::Meta::time) is the planned time.
    ///
    /// - The service's store keeps the next planned time, so a run is made by one replica, and a
    ///   restart neither loses nor repeats one. A run that two replicas begin, because the lease of
    ///   30 s ended during the first, takes effect once.
    /// - Each run is one unit of work, which also stores the next planned time. Runs of one
    ///   schedule never overlap.
    /// - A run that fails takes no effect: the runtime logs a warning with the `name` and the
    ///   error's code. A retryable error is retried after 1 s, 2 s, 4 s and so on (5 min at most)
    ///   until the next planned time, with [`Missed::All`](crate::Missed::All) until it succeeds;
    ///   any other error waits for the next planned time. There are no dead letters.
    /// - Runs that were missed while no replica was up follow [`Missed`](crate::Missed).
    /// - An operator can pause and resume a schedule at `/ops/schedules`.
    ///
    /// `name` identifies the schedule in the store: a renamed schedule starts again, and a replica
    /// deletes the record of the old one after a day without a handler. Other planned times take
    /// effect when a process with them starts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wingbeat::{Missed, Schedule, prelude::*};
    ///
    /// async fn close_day(meta: Meta) -> Result<()> {
    ///     tracing::info!(planned = %meta.time, "closing the day");
    ///     Ok(())
    /// }
    ///
    /// // Each missed day is closed later, in order.
    /// let daily = Schedule::every(Duration::from_secs(24 * 3600)).missed(Missed::All);
    /// let books = Service::new("books").schedule("close_day", daily, close_day);
    /// # assert!(App::new().service(books).check().is_ok());
    /// ```
    #[must_use]
    pub fn schedule<H, Args>(mut self, name: &'static str, schedule: Schedule, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        H::Output::describe(&mut self.wiring.description.publishes);
        let run = self.scheduled(handler);
        self.wiring.schedules.push(RegisteredSchedule {
            name,
            schedule,
            run,
        });
        self
    }

    /// Runs a handler periodically in each process of the service: it waits for `pause` before each
    /// run, the first one included.
    ///
    /// Nothing is stored, so frequent runs cost nothing while there is nothing to do. Use it to
    /// look for work, and [`schedule`](Self::schedule) for work that must be done at a time or once
    /// per system. Runs of one process never overlap; runs of several processes do, and their
    /// commits validate what they read. A run that fails takes no effect: the runtime logs a
    /// warning, and the next run tries again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wingbeat::prelude::*;
    ///
    /// async fn find_expired(reads: Reads) -> Result<()> {
    ///     let _counters = reads.counters().await?; // look for work, and send commands for it
    ///     Ok(())
    /// }
    ///
    /// let second = Duration::from_secs(1);
    /// let rooms = Service::new("rooms").poll("find_expired", second, find_expired);
    /// # assert!(App::new().service(rooms).check().is_ok());
    /// ```
    #[must_use]
    pub fn poll<H, Args>(mut self, name: &'static str, pause: Duration, handler: H) -> Self
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        H::Output::describe(&mut self.wiring.description.publishes);
        let run = self.scheduled(handler);
        self.wiring.polls.push(Polling { name, pause, run });
        self
    }

    /// Erases the types of a handler whose arguments are all extractors.
    fn scheduled<H, Args>(&mut self, handler: H) -> Scheduled
    where
        H: Handler<Args>,
        Args: ExtractAll<Scope, S> + 'static,
        H::Output: HandlerOutput,
        H::Future: Send,
    {
        let mut extracts = RequestDescription::default();
        Args::describe(&mut extracts);
        self.uses(extracts);
        let state = self.state.clone();
        Arc::new(move |scope| {
            let future = Args::extract_all(&scope, &state).map(|args| handler.call(args));
            Box::pin(run_recorded(future, scope))
        })
    }

    /// Registers the executor of a call.
    ///
    /// The executor runs after the commit of the unit that recorded the call, outside of any unit
    /// of work. The service also needs the [`target`](Self::target) that the call names; without
    /// it, [`App::check`](crate::App::check) returns `wiring`.
    ///
    /// ```
    /// use wingbeat::call::Http;
    /// use wingbeat::outgoing::Request;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Call, Serialize, Deserialize)]
    /// # #[call(name = "shop.ask_price", target = "supplier", key = sku, outcome = Price)]
    /// # struct AskPrice { sku: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "shop.price", version = 1, key = sku)]
    /// # struct Price { sku: u32, known: bool }
    /// # impl GaveUp<AskPrice> for Price {
    /// #     fn gave_up(call: &AskPrice, _: &Error) -> Self {
    /// #         Self { sku: call.sku, known: false }
    /// #     }
    /// # }
    ///
    /// async fn ask_price(call: AskPrice, http: Http) -> Result<Price> {
    ///     let response = http.client.send(Request {
    ///         method: "GET",
    ///         url: format!("http://supplier.example/prices/{}", call.sku),
    ///         headers: vec![],
    ///         body: Default::default(),
    ///         timeout: http.policy.timeout,
    ///     });
    ///     Ok(Price { sku: call.sku, known: response.await?.status == 200 })
    /// }
    ///
    /// let shop = Service::new("shop")
    ///     .calls(ask_price)
    ///     .target("supplier", TargetPolicy::default());
    /// # assert!(App::new().service(shop).check().is_ok());
    /// ```
    #[must_use]
    pub fn calls<H, Args>(mut self, executor: H) -> Self
    where
        H: Handler<Args> + CallHandler<Args, S>,
    {
        let executor = executor.executor(self.state.clone()).0;
        let returns = &executor.returns;
        self.wiring.description.publishes.extend(returns);
        let call = StoredName::new(StoredKind::Call, executor.name);
        self.wiring.description.uses.push(call);
        self.wiring.executors.push(executor);
        self
    }

    /// Declares an event that the service publishes, for the AsyncAPI document.
    ///
    /// Handlers' return types declare their events. Declare only events that a handler adds to
    /// [`Effects`](crate::Effects), a saga publishes or an HTTP handler emits.
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
        let publishes = &mut self.wiring.description.publishes;
        publishes.push(MessageType::of::<E>());
        self
    }

    /// Publishes the events of an aggregate type, as they happen, with a function that makes a
    /// message of an event, or `None`.
    ///
    /// [`Repo`](crate::Repo) publishes the messages in the unit that stores the events, so a
    /// handler need not return them. [`Meta::sequence`](crate::Meta::sequence) is the position of
    /// the event in its history.
    ///
    /// The store keeps histories for ever, so another service can subscribe
    /// [from the beginning](crate::Handler::from_beginning): the function then makes the messages
    /// of stored events again. It must be pure, and a message has the same id each time. Messages
    /// that handlers return, of entities for example, cannot be replayed: their service stores the
    /// present only.
    ///
    /// If a release publishes a message in this way that handlers published before, let subscribers
    /// begin at the beginning with a later release: messages of older processes have other ids.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "bank.deposited", version = 1, key = account)]
    /// # struct Deposited { account: String, cents: u64 }
    /// # #[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
    /// # struct Account { cents: u64 }
    /// # #[derive(Serialize, Deserialize)]
    /// # enum AccountEvent { Deposited(u64), Named(String) }
    /// # impl Aggregate for Account {
    /// #     const NAME: &'static str = "account";
    /// #     type Id = String;
    /// #     type Command = u64;
    /// #     type Event = AccountEvent;
    /// #     type Error = ();
    /// #     fn decide(&self, cents: u64) -> std::result::Result<Vec<AccountEvent>, ()> {
    /// #         Ok(vec![AccountEvent::Deposited(cents)])
    /// #     }
    /// #     fn apply(&mut self, _: &AccountEvent) {}
    /// # }
    ///
    /// fn deposited(it: Happened<'_, Account>) -> Option<Deposited> {
    ///     match it.event {
    ///         AccountEvent::Deposited(cents) => Some(Deposited {
    ///             account: it.id.into(),
    ///             cents: *cents,
    ///         }),
    ///         AccountEvent::Named(_) => None, // not for other services
    ///     }
    /// }
    ///
    /// let bank = Service::new("bank").publishes_history(deposited);
    /// # assert!(App::new().service(bank).check().is_ok());
    /// ```
    #[must_use]
    pub fn publishes_history<A: Aggregate, E: EventMessage>(
        mut self,
        publish: impl Fn(Happened<'_, A>) -> Option<E> + Send + Sync + 'static,
    ) -> Self {
        if self.wiring.histories.is_empty() {
            self = self.answers_requests();
        }
        let publish = Publish::<A>::new(publish);
        let history = Arc::new(Chapters::new(publish.clone()));
        self.wiring.histories.push((E::NAME, history));
        let published = self.wiring.published.0.entry(TypeId::of::<A>());
        published.or_default().push(Box::new(publish));
        self.publishes::<E>()
    }

    /// Registers a projection: rows that are folded from all stored events of an aggregate type,
    /// and from those to come. See [`Projection`](crate::Projection) for an example.
    #[must_use]
    pub fn projects<P: Projection>(mut self) -> Self {
        let events = StoredName::new(StoredKind::Events, P::Aggregate::NAME);
        self.wiring.description.uses.push(events);
        self.wiring.tables.push(Repo::<P::Aggregate>::derived());
        self.wiring.projections.push(Arc::new(Applying::<P>::new()));
        self
    }

    /// Registers a promise to users, so that its metrics exist before it is made; see
    /// [`Promise`](crate::Promise).
    #[must_use]
    pub fn promise(mut self, promise: Promise) -> Self {
        self.wiring.promises.push(promise);
        self
    }

    /// Sets how long a dead letter waits for a person to retry or discard it. The default is 90
    /// days. An expired one is discarded, which is logged and recorded.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use wingbeat::Service;
    ///
    /// let week = Duration::from_secs(7 * 86_400);
    /// let service = Service::new("mails").dead_letters_expire_after(week);
    /// # drop(service);
    /// ```
    #[must_use]
    pub fn dead_letters_expire_after(mut self, kept: Duration) -> Self {
        self.wiring.dead_letters_kept = kept;
        self
    }

    /// Limits how many runs of all its subscriptions one process makes at the same time, in
    /// addition to the limit of [each](Handler::concurrency). Without it there is no such limit.
    ///
    /// A run that must wait gets a free place by its [priority](Handler::priority). A handler that
    /// waits for the reply of a subscription of its own service needs two places: with as many such
    /// handlers as places, all requests time out.
    ///
    /// ```
    /// use wingbeat::Service;
    ///
    /// let reports = Service::new("reports").concurrency(4);
    /// # drop(reports);
    /// ```
    #[must_use]
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.wiring.concurrency = Some(runs.max(1));
        self
    }

    /// Subscribes the service to requests for the past.
    fn answers_requests(mut self) -> Self {
        let request = replay::request_type(self.wiring.name.as_str());
        let publishes = &mut self.wiring.description.publishes;
        publishes.push(request); // It sends commands to the subscribers.
        let (queue, kind) = (Name::new(request.name), request.kind);
        let subscription = Subscription::of(queue, request.name, kind, replay::answer());
        self.wiring.subscriptions.push(subscription);
        self
    }

    /// Adds the queue that receives the past of a subscription.
    fn begins(&mut self, begins: Begins, policy: &Policy, run: &Run) {
        let replayed = begins.replayed().as_str();
        let (queue, run) = (begins.replay_queue(), begins.run(Arc::clone(run)));
        self.wiring.subscriptions.push(Subscription {
            policy: Policy {
                ordered: true,
                partitions: None,
                from_beginning: false,
                name: None,
                ..policy.clone()
            },
            replays: Some(begins.queue),
            ..Subscription::of(queue, replayed, Kind::Command, run)
        });
        let request = replay::request_type(begins.message.owner());
        self.wiring.description.publishes.push(request);
        self.wiring.begins.push(begins);
    }

    /// Declares a command that the service sends, for the AsyncAPI document; see
    /// [`Self::publishes`].
    ///
    /// Where commands are [signed](crate::App::signed), a command that some service declares is
    /// accepted from the services that declare it, and from no others.
    #[must_use]
    pub fn sends<C: CommandMessage>(mut self) -> Self {
        let publishes = &mut self.wiring.description.publishes;
        publishes.push(MessageType::of::<C>());
        self
    }

    /// Describes a type that the service stores, so that [`contracts`](crate::contracts) can
    /// compare it with what older releases have stored.
    ///
    /// Handlers show which entities, aggregates and views they extract, and a comparison reports
    /// those that are not described. Add types that only [`Table::of`](crate::Table::of),
    /// [`Rows::of`](crate::Rows::of) or `rows` of another type name.
    ///
    /// ```
    /// use wingbeat::Stored;
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Price {
    ///     cents: u64,
    /// }
    ///
    /// impl View for Price {
    ///     const NAME: &'static str = "prices";
    /// }
    ///
    /// let storefront = Service::new("storefront").stores(Stored::view::<Price>());
    /// # drop(storefront);
    /// ```
    #[must_use]
    pub fn stores(mut self, stored: Stored) -> Self {
        self.wiring.description.stored.extend(stored.types);
        self.wiring.tables.extend(stored.table);
        self.wiring.views.extend(stored.view);
        self
    }

    /// Sets timeout, concurrency limit, retries and breaker for all calls to an outside system.
    ///
    /// `name` is the target in `#[call(target = "…")]`. Each process has a limit and a circuit
    /// breaker for each target of a service.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wingbeat::prelude::*;
    ///
    /// let slow_but_safe = TargetPolicy {
    ///     timeout: Duration::from_secs(30),
    ///     concurrency: 4,
    ///     ..TargetPolicy::default()
    /// };
    /// let payments = Service::new("payments").target("bank", slow_but_safe);
    /// # assert!(App::new().service(payments).check().is_ok());
    /// ```
    #[must_use]
    pub fn target(mut self, name: &'static str, policy: TargetPolicy) -> Self {
        self.wiring.targets.push((name, policy));
        self
    }

    /// Adds HTTP routes. OpenAPI describes [`Routes`], but not a plain axum [`Router`].
    ///
    /// Use a plain router for pages and files, or to keep routes that exist. Several calls add up.
    ///
    /// ```
    /// use axum::Router;
    /// use wingbeat::prelude::*;
    /// # use serde::Serialize;
    ///
    /// #[derive(Serialize, JsonSchema)]
    /// struct Room {
    ///     name: String,
    /// }
    ///
    /// async fn room(Path(name): Path<String>) -> Result<Reply, Problem> {
    ///     Ok(ok(&Room { name }))
    /// }
    ///
    /// let described = Routes::new().route("/rooms/{name}", get(room).answers::<Room>(200));
    /// let page = Router::new().route("/", axum::routing::get(async || "Welcome"));
    /// let rooms = Service::new("rooms").routes(described).routes(page);
    /// # #[cfg(feature = "test")]
    /// # {
    /// # let app = wingbeat::test::TestApp::start(1, App::new().service(rooms));
    /// # assert_eq!(app.ask("GET", "/rooms/blue", "", &Default::default()).0, 200);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the service has a route for the path and method already.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn routes(mut self, routes: impl Into<Routes<S>>) -> Self {
        let (routes, mut operations) = routes.into().into_parts();
        for operation in &operations {
            self.tables(&operation.request.tables);
        }
        operations
            .iter_mut()
            .for_each(crate::describe::Operation::may_be_shed);
        self.wiring.description.operations.extend(operations);
        self.wiring.routes = self
            .wiring
            .routes
            .merge(routes.layer(from_fn(routed)).with_state(self.state.clone()));
        self
    }

    fn uses(&mut self, extracts: RequestDescription) {
        self.tables(&extracts.tables);
        self.wiring.description.uses.extend(extracts.uses);
    }

    /// Adds the tables and views of a description.
    fn tables(&mut self, erased: &[Arc<dyn Any + Send + Sync>]) {
        self.wiring.tables.extend(Derived::among(erased.iter()));
        self.wiring.views.extend(CheckedView::among(erased.iter()));
    }

    fn describe(&mut self, queue: Name, takes: Vec<MessageType>, publishes: Vec<MessageType>) {
        let description = &mut self.wiring.description;
        let subscription = SubscriptionDescription { queue, takes };
        description.subscriptions.push(subscription);
        description.publishes.extend(publishes);
    }

    fn queue(&self, subscription: &str) -> Name {
        Name::intern(&format!("{}.{subscription}", self.wiring.name))
    }
}
