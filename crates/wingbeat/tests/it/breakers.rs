//! Circuit breakers that measure shares of failed and of slow calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::call::Http;
use wingbeat::call::breaker::State;
use wingbeat::outgoing::{Request, Response};
use wingbeat::policy::BreakerWindow;
use wingbeat::ports::HttpClient;
use wingbeat::test::{Model, Simulation};
use wingbeat::{
    App, BoxFuture, Call, Error, Event, GaveUp, JsonSchema, Result, Running, Service, TargetPolicy,
    schemars,
};

use crate::refusing::Log;

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.packed", version = 1, key = parcel)]
struct Packed {
    parcel: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.collected", version = 1, key = parcel)]
struct Collected {
    parcel: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "parcels.collect", target = "carrier", key = parcel, outcome = Collected)]
struct Collect {
    parcel: u32,
}

impl GaveUp<Collect> for Collected {
    fn gave_up(call: &Collect, _: &Error) -> Self {
        let parcel = call.parcel;
        Collected { parcel }
    }
}

async fn packed(event: Packed) -> Result<Collect> {
    let parcel = event.parcel;
    Ok(Collect { parcel })
}

async fn collect(call: Collect, http: Http) -> Result<Collected> {
    let request = Request {
        method: "POST",
        url: format!("http://carrier.example/{}", call.parcel),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        timeout: http.policy.timeout,
    };
    let parcel = call.parcel;
    match http.client.send(request).await?.status {
        201 => Ok(Collected { parcel }),
        status => Err(Error::retry("carrier_failed", format!("status {status}"))),
    }
}

/// A carrier that takes two seconds for an answer, refuses every second parcel, or refuses seven of
/// ten parcels twice each, at once, and takes its time to accept a parcel.
struct Carrier {
    world: Arc<Simulation>,
    slow: AtomicBool,
    refuses_odd: AtomicBool,
    refuses_twice: AtomicBool,
    refused: Mutex<BTreeMap<String, u32>>,
    asked: AtomicUsize,
    accepted: AtomicUsize,
}

impl Carrier {
    fn refuses(&self, url: &str) -> bool {
        if self.refuses_twice.load(Ordering::SeqCst) && !url.ends_with(['0', '1', '2']) {
            let mut refused = self.refused.lock().expect("no test thread panicked");
            let times = refused.entry(url.to_owned()).or_default();
            *times += 1;
            return *times <= 2;
        }
        self.refuses_odd.load(Ordering::SeqCst) && url.ends_with(['1', '3', '5', '7', '9'])
    }
}

impl HttpClient for Carrier {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.slow.load(Ordering::SeqCst) {
                self.world.runtime().sleep(Duration::from_secs(2)).await;
            }
            let refused = self.refuses(&request.url);
            if !refused {
                self.world.runtime().sleep(Duration::from_millis(50)).await;
                self.accepted.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Response {
                status: if refused { 503 } else { 201 },
                ..Response::default()
            })
        })
    }
}

struct Scene {
    world: Arc<Simulation>,
    model: Model,
    carrier: Arc<Carrier>,
    running: Running,
}

impl Scene {
    /// A scene in which failures in a row open nothing.
    fn new(window: BreakerWindow) -> Self {
        Self::with(TargetPolicy {
            breaker_failures: 1_000,
            breaker_window: window,
            ..TargetPolicy::default()
        })
    }

    fn with(policy: TargetPolicy) -> Self {
        let world = Arc::new(Simulation::new(1));
        let model = Model::new(world.runtime());
        let carrier = Arc::new(Carrier {
            world: Arc::clone(&world),
            slow: AtomicBool::new(false),
            refuses_odd: AtomicBool::new(false),
            refuses_twice: AtomicBool::new(false),
            refused: Mutex::default(),
            asked: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
        });
        let parcels = Service::new("parcels").on(packed).calls(collect);
        let parcels = parcels.target("carrier", policy);
        let outside: Arc<dyn HttpClient> = Arc::clone(&carrier) as _;
        let ports = model.ports(&world.group(), outside);
        let app = App::new().service(parcels).allow_unknown_owners();
        let running = world.run(app.start(ports)).expect("it starts");
        Self {
            world,
            model,
            carrier,
            running,
        }
    }

    fn pack(&self, parcels: std::ops::Range<u32>) {
        for parcel in parcels {
            let story = Uuid::from_u128(parcel.into()).into();
            self.world
                .run(self.model.publish(story, &Packed { parcel }));
        }
    }

    fn pass(&self, seconds: u64) {
        self.world.advance(Duration::from_secs(seconds));
    }

    fn state(&self) -> State {
        self.running.targets[0].state().0
    }

    fn asked(&self) -> usize {
        self.carrier.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.world.end();
    }
}

#[test]
fn slow_answers_open_the_breaker_until_a_probe_is_quick() {
    let limit = Some(Duration::from_secs(1));
    for (slow_after, expected) in [(limit, State::Open), (None, State::Closed)] {
        let scene = Scene::new(BreakerWindow {
            slow_after,
            minimum: 10,
            ..BreakerWindow::default()
        });
        scene.carrier.slow.store(true, Ordering::SeqCst);
        scene.pack(0..20);
        scene.pass(3);
        assert_eq!(scene.asked(), 20);
        scene.pack(20..40);
        scene.pass(12);
        if expected == State::Closed {
            // The control: without the limit, the breaker does not notice.
            assert_eq!((scene.state(), scene.asked()), (expected, 40));
            continue;
        }
        assert_ne!(scene.state(), State::Closed);
        let probes = scene.asked() - 20;
        assert!((2..=4).contains(&probes), "one at a time: {probes}");
        scene.carrier.slow.store(false, Ordering::SeqCst);
        scene.pass(15);
        assert_eq!((scene.state(), scene.asked()), (State::Closed, 40));
    }
}

#[test]
fn a_share_of_failures_opens_the_breaker_although_others_succeed() {
    let none = Duration::ZERO;
    let within = BreakerWindow::default().within;
    for (within, expected) in [(within, State::Open), (none, State::Closed)] {
        let scene = Scene::new(BreakerWindow {
            within,
            minimum: 10,
            failed_percent: 50,
            ..BreakerWindow::default()
        });
        let (log, _recording) = Log::start();
        scene.carrier.refuses_odd.store(true, Ordering::SeqCst);
        scene.pack(0..10);
        scene.pass(1);
        assert_eq!(scene.state(), expected);
        scene.carrier.refuses_odd.store(false, Ordering::SeqCst);
        scene.pass(60);
        assert_eq!(scene.state(), State::Closed);
        for change in ["circuit breaker opened", "circuit breaker closed"] {
            let lines = log.count(&["WARN", change, "carrier"]);
            assert_eq!(lines > 0, expected == State::Open, "{change}: {lines}");
        }
    }
}

/// Calls that fail at first and succeed at last must not keep a breaker open: refusals arrive
/// before answers to calls that were sent at the same time, and while the breaker is open, nobody
/// tries again.
#[test]
fn a_backlog_of_calls_that_fail_at_first_is_worked_off() {
    let hasty = BreakerWindow {
        minimum: 10,
        failed_percent: 50,
        ..BreakerWindow::default()
    };
    for (window, in_time) in [(BreakerWindow::default(), true), (hasty, false)] {
        let scene = Scene::with(TargetPolicy {
            breaker_window: window,
            ..TargetPolicy::default()
        });
        scene.carrier.refuses_twice.store(true, Ordering::SeqCst);
        scene.pack(0..300);
        scene.pass(60);
        let accepted = scene.carrier.accepted.load(Ordering::SeqCst);
        // The control: a breaker that opens at a smaller share makes the backlog wait.
        assert_eq!(accepted == 300, in_time, "{accepted}");
    }
}
