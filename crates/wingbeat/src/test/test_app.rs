//! An app on the model, driven by a test.

use std::sync::Arc;
use std::time::Duration;

use crate::Ports;
use crate::ServiceContext;
use crate::http::session::{Sessions, identify};
use crate::outgoing::Response;
use crate::{App, Call, Message, Name, Reads, Requests, Result, Running, Runtime as _, outgoing};
use axum::body::{Body, to_bytes};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use axum::middleware::from_fn_with_state;
use bytes::Bytes;
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat_core::BoxFuture;
use wingbeat_core::HttpClient;

use crate::test::call_stubs::CallStubs;
use crate::test::executor::Group;
use crate::test::{Faults, Model, Outages, Simulation};

/// The size limit of an answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// A running app in its own simulated world: in memory and in virtual time.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
/// use wingbeat::test::TestApp;
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
/// let app = TestApp::start(1, App::new().service(Service::new("doors").on(open)));
/// let correlation = uuid::Uuid::from_u128(1);
/// app.publish(correlation, &Open { door: "front".into() });
/// app.until_idle();
/// assert_eq!(app.published("doors", correlation), ["doors.opened.v1"]);
/// ```
pub struct TestApp {
    simulation: Simulation,
    model: Model,
    process: Arc<Group>,
    running: Running,
    outside: Arc<dyn HttpClient>,
    stubs: CallStubs,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

/// An HTTP client without outside systems: every request fails.
pub(crate) struct NoOutside;

impl HttpClient for NoOutside {
    fn send(&self, _request: outgoing::Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async {
            Err(crate::Error::retry(
                "no_http",
                "the test has no outside systems",
            ))
        })
    }
}

/// An HTTP client whose answers come from a function of the test.
struct Answers<F>(F);

impl<F> HttpClient for Answers<F>
where
    F: Fn(outgoing::Request) -> Result<Response> + Send + Sync + 'static,
{
    fn send(&self, request: outgoing::Request) -> BoxFuture<'_, Result<Response>> {
        let answer = (self.0)(request);
        Box::pin(async { answer })
    }
}

impl TestApp {
    /// Starts the app in the world of this seed.
    ///
    /// # Panics
    ///
    /// If the app's wiring is wrong.
    #[must_use]
    pub fn start(seed: u64, app: App) -> Self {
        Self::with(seed, |_| app)
    }

    /// Starts an app whose services use sessions.
    ///
    /// # Panics
    ///
    /// If the app's wiring is wrong.
    #[must_use]
    pub fn with(seed: u64, app: impl FnOnce(&Sessions) -> App) -> Self {
        Self::start_with(seed, app, Arc::new(NoOutside))
    }

    /// Starts the app with `answer` in place of all outside systems. Executors of calls reach it
    /// through [`Http`](crate::call::Http). An `Err` of the class retry stands for a system that
    /// does not answer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use wingbeat::call::Http;
    /// use wingbeat::outgoing::{Request, Response};
    /// use wingbeat::test::TestApp;
    /// use wingbeat::{App, Error, Result, Service, TargetPolicy};
    /// # use serde::{Deserialize, Serialize};
    /// # use wingbeat::{Call, Event, GaveUp, JsonSchema, schemars};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "shop.sold", version = 1, key = parcel)]
    /// # struct Sold { parcel: u32 }
    /// # #[derive(Call, Serialize, Deserialize)]
    /// # #[call(name = "parcels.order_pickup", target = "carrier", key = parcel, outcome = Pickup)]
    /// # struct OrderPickup { parcel: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "parcels.pickup", version = 1, key = parcel)]
    /// # struct Pickup { parcel: u32, ordered: bool }
    /// # impl GaveUp<OrderPickup> for Pickup {
    /// #     fn gave_up(call: &OrderPickup, _: &Error) -> Self {
    /// #         Self { parcel: call.parcel, ordered: false }
    /// #     }
    /// # }
    /// # async fn ship(sold: Sold) -> Result<OrderPickup> {
    /// #     Ok(OrderPickup { parcel: sold.parcel })
    /// # }
    /// # async fn order_pickup(call: OrderPickup, http: Http) -> Result<Pickup> {
    /// #     let response = http.client.send(Request {
    /// #         method: "POST",
    /// #         url: format!("http://carrier.example/pickups/{}", call.parcel),
    /// #         headers: vec![],
    /// #         body: Default::default(),
    /// #         timeout: http.policy.timeout,
    /// #     });
    /// #     let ordered = response.await?.status == 201;
    /// #     Ok(Pickup { parcel: call.parcel, ordered })
    /// # }
    ///
    /// let parcels = Service::new("parcels")
    ///     .on(ship)
    ///     .target("carrier", TargetPolicy::default())
    ///     .calls(order_pickup);
    /// let carrier = |request: Request| {
    ///     assert_eq!(request.url, "http://carrier.example/pickups/7");
    ///     Ok(Response { status: 201, ..Response::default() })
    /// };
    /// let app = TestApp::with_http(1, App::new().service(parcels), carrier);
    /// let correlation = uuid::Uuid::from_u128(1);
    /// app.publish(correlation, &Sold { parcel: 7 });
    /// app.until_idle();
    /// assert_eq!(app.published("parcels", correlation), ["parcels.pickup.v1"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the app's wiring is wrong.
    #[must_use]
    pub fn with_http(
        seed: u64,
        app: App,
        answer: impl Fn(outgoing::Request) -> Result<Response> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(seed, |_| app, Arc::new(Answers(answer)))
    }

    fn start_with(
        seed: u64,
        app: impl FnOnce(&Sessions) -> App,
        outside: Arc<dyn HttpClient>,
    ) -> Self {
        let simulation = Simulation::new(seed);
        let model = Model::new(simulation.runtime());
        let sessions = Sessions::new(model.cache.clone(), simulation.runtime());
        let stubs = CallStubs::default();
        let app = stubs.replace_executors(app(&sessions));
        let (process, running) = launch(&simulation, &model, &outside, app);
        Self {
            simulation,
            model,
            process,
            running,
            outside,
            stubs,
        }
    }

    /// Answers an outside call instead of its executor, from now on and after crashes. An `Err` of
    /// the class retry is followed by another attempt, one of the class reject gives the call up.
    ///
    /// ```
    /// use wingbeat::test::TestApp;
    /// use wingbeat::{App, Service, TargetPolicy};
    /// # use serde::{Deserialize, Serialize};
    /// # use wingbeat::{Call, Error, Event, GaveUp, JsonSchema, Result, schemars};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "shop.sold", version = 1, key = parcel)]
    /// # struct Sold { parcel: u32 }
    /// # #[derive(Call, Serialize, Deserialize)]
    /// # #[call(name = "parcels.order_pickup", target = "carrier", key = parcel, outcome = Pickup)]
    /// # struct OrderPickup { parcel: u32 }
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "parcels.pickup", version = 1, key = parcel)]
    /// # struct Pickup { parcel: u32, ordered: bool }
    /// # impl GaveUp<OrderPickup> for Pickup {
    /// #     fn gave_up(call: &OrderPickup, _: &Error) -> Self {
    /// #         Self { parcel: call.parcel, ordered: false }
    /// #     }
    /// # }
    /// # async fn ship(sold: Sold) -> Result<OrderPickup> {
    /// #     Ok(OrderPickup { parcel: sold.parcel })
    /// # }
    /// # async fn order_pickup(_: OrderPickup) -> Result<Pickup> {
    /// #     Err(Error::retry("no_carrier", "the carrier does not answer"))
    /// # }
    ///
    /// let parcels = Service::new("parcels")
    ///     .on(ship)
    ///     .target("carrier", TargetPolicy::default())
    ///     .calls(order_pickup);
    /// let app = TestApp::start(1, App::new().service(parcels));
    /// app.stub_call::<OrderPickup>(|call| Ok(Pickup { parcel: call.parcel, ordered: true }));
    /// let correlation = uuid::Uuid::from_u128(1);
    /// app.publish(correlation, &Sold { parcel: 7 });
    /// app.until_idle();
    /// assert_eq!(app.published("parcels", correlation), ["parcels.pickup.v1"]);
    /// ```
    ///
    /// # Panics
    ///
    /// If no service of the app carries out the call.
    pub fn stub_call<C: Call>(
        &self,
        answer: impl Fn(&C) -> Result<C::Outcome> + Send + Sync + 'static,
    ) -> &Self {
        self.stubs.insert(answer);
        self
    }

    /// Kills all tasks of the app, as `kill -9` does, and starts `app` with the data of store,
    /// broker and cache.
    ///
    /// # Panics
    ///
    /// If the app's wiring is wrong, or the broker is unavailable.
    pub fn crash(&mut self, app: App) {
        self.process.kill();
        let app = self.stubs.replace_executors(app);
        (self.process, self.running) = launch(&self.simulation, &self.model, &self.outside, app);
    }

    /// Kills the process like [`crash`](Self::crash), and starts `app` after a time in which only
    /// the servers run.
    pub fn crash_for(&mut self, downtime: Duration, app: App) {
        self.process.kill();
        self.pass(downtime);
        self.crash(app);
    }

    /// Replaces the outages.
    pub fn set_outages(&self, outages: Outages) {
        self.model.set_outages(outages);
    }

    /// Removes everything from the cache: sessions, cached reads, counters and allotments.
    pub fn lose_cache(&self) {
        self.model.cache.lose();
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.model.set_faults(faults);
    }

    /// Publishes a message from outside of the app with this correlation id. Each call publishes a
    /// new message.
    ///
    /// # Panics
    ///
    /// If the message is a command that no service handles.
    pub fn publish<M: Message>(&self, correlation: Uuid, message: &M) {
        self.simulation
            .run(self.model.publish(correlation.into(), message));
    }

    /// Advances the time, and runs the tasks that become ready.
    pub fn pass(&self, time: Duration) {
        self.simulation.run(self.simulation.sleep(time));
    }

    /// Advances the time until all work is done: messages, and the timers, calls and parked
    /// deliveries that are due within the next hour.
    ///
    /// # Panics
    ///
    /// If work is left after a day.
    pub fn until_idle(&self) {
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let left = self.simulation.run(self.model.until_idle(hour, day));
        assert!(left.is_empty(), "work is left: {left:?}");
    }

    /// Returns the running app.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Returns read access to a service's own data.
    ///
    /// # Panics
    ///
    /// If the service is not part of the app.
    #[must_use]
    pub fn reads(&self, service: &str) -> Reads {
        self.running.reads(service).expect("the service runs")
    }

    /// Returns the means to ask requests on behalf of a service.
    ///
    /// # Panics
    ///
    /// If the service does not run, or declares no request.
    #[must_use]
    pub fn requests(&self, service: &str) -> Requests {
        let requests = self.running.requests(service);
        requests.expect("the service declares a request")
    }

    /// Runs a future of the test.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.simulation.run(future)
    }

    /// Returns the types of the events that a service published with this correlation id, oldest
    /// first.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    #[must_use]
    pub fn published(&self, service: &str, correlation: Uuid) -> Vec<String> {
        let reads = self.reads(service);
        let entries = self
            .run(reads.timeline(correlation.into()))
            .expect("the store reads");
        let events = entries.into_iter().filter(|entry| entry.kind == "event");
        events.map(|entry| entry.name).collect()
    }

    /// Returns the number of dead letters of a service.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    #[must_use]
    pub fn dead_letters(&self, service: &'static str) -> usize {
        let letters = self.run(self.running.dead_letters(Name::new(service)));
        letters.expect("the store reads").len()
    }

    /// Signs a user in. Returns the session's token.
    ///
    /// # Panics
    ///
    /// If the cache cannot be written.
    #[must_use]
    pub fn sign_in(&self, user: Uuid, admin: bool) -> String {
        let started = self.sessions();
        let (token, _) = self
            .run(started.start(user, admin))
            .expect("the cache writes");
        token
    }

    /// Sends a request to the app's routes. Returns the status and the JSON body.
    ///
    /// # Panics
    ///
    /// If the request is not valid, or the answer is not JSON.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path);
        let (status, body) = self.answer(request, token, body);
        (status.as_u16(), body)
    }

    /// Posts a body under an idempotency key.
    ///
    /// # Panics
    ///
    /// As [`Self::ask`].
    #[must_use]
    pub fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder().method("POST").uri(path);
        let (status, body) = self.answer(request.header("idempotency-key", key), token, body);
        (status.as_u16(), body)
    }

    fn answer(&self, request: Builder, token: &str, body: &Value) -> (StatusCode, Value) {
        let request = request
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answer = self.send(request);
        let json = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        (answer.status(), json)
    }

    /// Sends any request to the app's routes. Returns the whole response.
    ///
    /// # Panics
    ///
    /// If the response is larger than a megabyte.
    #[must_use]
    pub fn send(&self, request: Request<Body>) -> axum::http::Response<Bytes> {
        let mut answers = self.send_at_once(vec![request]);
        answers.pop().expect("each request has an answer")
    }

    /// Sends requests like [`send`](Self::send), all of them before the first one is answered.
    ///
    /// # Panics
    ///
    /// If a response is larger than a megabyte.
    #[must_use]
    pub fn send_at_once(&self, requests: Vec<Request<Body>>) -> Vec<axum::http::Response<Bytes>> {
        let routes = self.running.routes();
        let routes = routes.layer(from_fn_with_state(self.sessions(), identify));
        let answered = requests.into_iter().map(async |request| {
            let answer = routes.clone().oneshot(request).await;
            let (parts, body) = answer.expect("routes never fail").into_parts();
            let body = to_bytes(body, ANSWER_MAX).await.expect("a whole body");
            axum::http::Response::from_parts(parts, body)
        });
        self.run(futures_util::future::join_all(answered))
    }

    /// Returns the context of a service.
    ///
    /// # Panics
    ///
    /// If the service is not part of the app.
    #[must_use]
    pub fn service(&self, name: &str) -> Arc<ServiceContext> {
        self.running.service(name).expect("the service runs")
    }

    /// Returns the sessions of the app's users.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.model.cache.clone(), self.simulation.runtime())
    }
}

/// Starts the app as a process of its own.
fn launch(
    simulation: &Simulation,
    model: &Model,
    outside: &Arc<dyn HttpClient>,
    app: App,
) -> (Arc<Group>, Running) {
    let process = simulation.group();
    let ports = Ports {
        runtime: process.clone(),
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: Arc::clone(outside),
    };
    let running = simulation
        .run(app.allow_unknown_owners().start(ports))
        .expect("the app starts");
    (process, running)
}
