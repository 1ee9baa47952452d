//! Outside systems that say when they want the next attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::call::{Http, TargetReport};
use wingbeat::outgoing::{Request, Response};
use wingbeat::policy::BreakerWindow;
use wingbeat::test::TestApp;
use wingbeat::{
    App, Call, Error, Event, GaveUp, JsonSchema, Parts, Result, Service, State, TargetPolicy,
    schemars,
};

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.packed", version = 1, key = parcel)]
struct Packed {
    parcel: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "parcels.collected", version = 1, key = parcel)]
struct Collected {
    parcel: u32,
    location: String,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "parcels.collect", target = "carrier", key = parcel, outcome = Collected)]
struct Collect {
    parcel: u32,
}

impl GaveUp<Collect> for Collected {
    fn gave_up(call: &Collect, _: &Error) -> Self {
        Collected {
            parcel: call.parcel,
            location: "given up".into(),
        }
    }
}

async fn packed(event: Packed) -> Result<Collect> {
    Ok(Collect {
        parcel: event.parcel,
    })
}

async fn collect(call: Collect, http: Http) -> Result<Collected> {
    let request = Request {
        method: "POST",
        url: "http://carrier.example/".into(),
        headers: Vec::new(),
        body: bytes::Bytes::new(),
        timeout: http.policy.timeout,
    };
    let response = http.client.send(request).await?;
    match response.status {
        201 => Ok(Collected {
            parcel: call.parcel,
            location: response.header("LOCATION").unwrap_or_default().into(),
        }),
        status => Err(Error::retry("carrier_failed", format!("status {status}"))),
    }
}

async fn busy(
    _: Collect,
    State(attempts): State<Attempts>,
    report: TargetReport,
) -> Result<Collected> {
    attempts.0.fetch_add(1, Ordering::SeqCst);
    report.answered();
    Err(Error::retry("carrier_busy", "this parcel is not ready"))
}

/// The number of attempts.
#[derive(Clone, Default)]
struct Attempts(Arc<AtomicUsize>);

#[derive(Clone, Parts)]
struct Counting {
    attempts: Attempts,
}

const POLICY: TargetPolicy = TargetPolicy {
    timeout: Duration::from_secs(5),
    rate: None,
    concurrency: 4,
    backoff: Duration::from_millis(100),
    backoff_max: Duration::from_secs(1),
    retry_after_max: Duration::from_secs(600),
    give_up_after: Duration::from_secs(3_600),
    breaker_failures: 3,
    breaker_window: BreakerWindow {
        calls: 100,
        within: Duration::from_secs(30),
        minimum: 100,
        failed_percent: 50,
        slow_after: None,
        slow_percent: 80,
    },
    breaker_open: Duration::from_secs(2),
};

/// A carrier that answers so many requests with `refusal`, and the others with 201.
struct Carrier {
    app: TestApp,
    asked: Arc<AtomicUsize>,
}

impl Carrier {
    fn new(policy: TargetPolicy, refusals: usize, refusal: &[(&str, &str)]) -> Self {
        let parcels = Service::new("parcels")
            .on(packed)
            .target("carrier", policy)
            .calls(collect);
        let asked = Arc::new(AtomicUsize::new(0));
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let (count, refusal) = (
            Arc::clone(&asked),
            refusal.iter().map(own).collect::<Vec<_>>(),
        );
        let answer = move |_: Request| {
            let refuses = count.fetch_add(1, Ordering::SeqCst) < refusals;
            let place = vec![("location".to_owned(), "/pickups/7".to_owned())];
            Ok(Response {
                status: if refuses { 503 } else { 201 },
                headers: if refuses { refusal.clone() } else { place },
                ..Response::default()
            })
        };
        let app = TestApp::with_http(1, App::new().service(parcels), answer);
        Self { app, asked }
    }

    fn pack(&self, parcel: u32) {
        let correlation = uuid::Uuid::from_u128(parcel.into());
        self.app.publish(correlation, &Packed { parcel });
    }

    /// Lets so many seconds pass, and returns the number of requests so far.
    fn asked_after(&self, seconds: u64) -> usize {
        self.app.pass(Duration::from_secs(seconds));
        self.asked.load(Ordering::SeqCst)
    }

    fn outcomes(&self, parcel: u32) -> Vec<String> {
        self.app
            .published("parcels", uuid::Uuid::from_u128(parcel.into()))
    }
}

#[test]
fn the_next_attempt_waits_as_long_as_the_outside_system_asks() {
    let carrier = Carrier::new(POLICY, 1, &[("Retry-After", "60")]);
    carrier.pack(7);
    assert_eq!(carrier.asked_after(59), 1);
    assert_eq!(carrier.asked_after(5), 2);
    assert_eq!(carrier.outcomes(7), ["parcels.collected.v1"]);
}

#[test]
fn without_a_wish_the_next_attempt_follows_the_back_off() {
    let carrier = Carrier::new(POLICY, 1, &[("Retry-After", "when the sun shines")]);
    carrier.pack(7);
    assert_eq!(carrier.asked_after(2), 2);
}

#[test]
fn a_date_is_obeyed_too() {
    let headers = [
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Retry-After", "Sun, 06 Nov 1994 08:51:37 GMT"),
    ];
    let carrier = Carrier::new(POLICY, 1, &headers);
    carrier.pack(7);
    assert_eq!(carrier.asked_after(119), 1);
    assert_eq!(carrier.asked_after(5), 2);
}

#[test]
fn a_wish_is_bounded_by_the_policy_and_by_the_age_of_the_call() {
    let policy = TargetPolicy {
        retry_after_max: Duration::from_secs(30),
        ..POLICY
    };
    let carrier = Carrier::new(policy, 1, &[("Retry-After", "18446744073709551615")]);
    carrier.pack(7);
    assert_eq!(carrier.asked_after(29), 1);
    assert_eq!(carrier.asked_after(5), 2);

    let policy = TargetPolicy {
        give_up_after: Duration::from_secs(40),
        ..POLICY
    };
    let carrier = Carrier::new(policy, usize::MAX, &[("Retry-After", "500")]);
    carrier.pack(7);
    assert_eq!(carrier.asked_after(39), 1);
    assert_eq!(carrier.asked_after(5), 2, "one last attempt, then the end");
    assert_eq!(carrier.outcomes(7), ["parcels.collected.v1"]);
    assert_eq!(carrier.asked_after(2_000), 2);
}

#[test]
fn an_open_breaker_sends_no_probe_before_the_outside_system_wants_one() {
    let carrier = Carrier::new(POLICY, 3, &[("Retry-After", "60")]);
    for parcel in 1..=3 {
        carrier.pack(parcel);
    }
    assert_eq!(carrier.asked_after(10), 3);
    // The breaker is open: a new call is not even tried.
    carrier.pack(4);
    assert_eq!(carrier.asked_after(45), 3);
    assert_eq!(carrier.asked_after(20), 7);
    for parcel in 1..=4 {
        assert_eq!(carrier.outcomes(parcel), ["parcels.collected.v1"]);
    }
}

#[test]
fn failures_of_a_target_that_answers_do_not_open_its_breaker() {
    let attempts = Attempts::default();
    let parcels = Service::new("parcels")
        .with_state(Counting {
            attempts: attempts.clone(),
        })
        .on(packed)
        .target("carrier", POLICY)
        .calls(busy);
    let app = TestApp::start(1, App::new().service(parcels));
    for parcel in 1..=10 {
        let correlation = uuid::Uuid::from_u128(parcel.into());
        app.publish(correlation, &Packed { parcel });
    }
    app.pass(Duration::from_secs(20));
    // Ten calls with a pause of at most 1.5 s. An open breaker would send a probe every 2 s.
    let attempts = attempts.0.load(Ordering::SeqCst);
    assert!(attempts > 100, "{attempts}");
}
