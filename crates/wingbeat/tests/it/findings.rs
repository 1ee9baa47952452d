//! The findings of the start-up check.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::{Finding, Severity};
use wingbeat::{
    App, Attempts, Command, Entity, Event, Handler as _, JsonSchema, Result, Retry, Saga,
    SagaEffects, SagaInput, Service, Stored, Table, Unexpected, View, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.placed", version = 1, key = order)]
struct Placed {
    order: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "mails.send", version = 1, key = order)]
struct Send {
    order: String,
}

async fn placed(_: Placed) -> Result<()> {
    Ok(())
}

async fn send(_: Send) -> Result<()> {
    Ok(())
}

fn orders() -> Service {
    Service::new("orders").publishes::<Placed>()
}

fn app(mails: Service) -> App {
    App::new().service(orders()).service(mails)
}

/// Returns the codes of all findings.
fn codes(app: &App) -> Vec<&'static str> {
    app.findings().iter().map(|it| it.code).collect()
}

#[test]
fn an_app_in_order_has_no_findings() {
    assert_eq!(codes(&app(Service::new("mails").on(placed))), [""; 0]);
}

#[test]
fn a_command_that_nobody_handles_is_an_error() {
    let sends = || Service::new("mails").on(placed).sends::<Send>();
    let app_of = |mails| app(mails);
    let findings = app_of(sends()).findings();
    assert_eq!(findings[0].severity, Severity::Error);
    let text = findings[0].to_string();
    for part in [
        "mails sends mails.send.v1",
        "docs/errors/command_unhandled.md",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let refused = app(sends()).check().expect_err("it is refused");
    assert_eq!(refused.code(), "wiring");
    assert!(
        refused.to_string().contains("command_unhandled"),
        "{refused}"
    );
    assert!(codes(&app(sends().on(send))).is_empty());
    // A test stands in for the missing service, or another system has it.
    assert!(codes(&app(sends()).allow_unknown_owners()).is_empty());
    assert!(codes(&app(sends()).outside(["mails"])).is_empty());
}

#[test]
fn an_event_that_nobody_takes_is_a_warning() {
    let app = app(Service::new("mails"));
    let findings = app.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].code, findings[0].severity),
        ("event_unsubscribed", Severity::Warning)
    );
    assert!(
        findings[0].text.contains("orders.placed.v1"),
        "{findings:?}"
    );
    app.check().expect("it starts all the same");
}

#[test]
fn all_errors_are_reported_at_once() {
    let patient = Retry {
        parked: vec![Duration::from_secs(3600)],
        ..Retry::default()
    };
    let mails = Service::new("mails")
        .on(placed.retry(patient).ordered())
        .on(placed)
        .sends::<Send>();
    let refused = app(mails).check().expect_err("it is refused").to_string();
    for part in ["exists twice", "command_unhandled", "retry_too_long"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn retries_in_place_end_before_the_timeout_of_a_consumer() {
    let with = |quick, parked: &[u64]| Retry {
        quick,
        backoff: Duration::from_secs(1),
        parked: parked.iter().copied().map(Duration::from_secs).collect(),
        ..Retry::default()
    };
    let in_order = |retry| codes(&app(Service::new("mails").on(placed.retry(retry).ordered())));
    let parked = |retry| codes(&app(Service::new("mails").on(placed.retry(retry))));
    assert!(in_order(Retry::default()).is_empty());
    // With its random part, a pause is a quarter longer.
    assert!(in_order(with(1, &[1439])).is_empty());
    assert_eq!(in_order(with(1, &[1440])), ["retry_too_long"]);
    assert_eq!(in_order(with(1, &[720, 720])), ["retry_too_long"]);
    // A rule may hold a delivery, too.
    let holds = |seconds| {
        let attempts = Attempts::held([Duration::from_secs(seconds)]);
        Retry::default().on_code("busy", attempts.then_parked([Duration::from_secs(9_000)]))
    };
    assert!(parked(holds(1439)).is_empty());
    assert_eq!(parked(holds(1440)), ["retry_too_long"]);
    // Nothing waits beyond its maximum age.
    let ten_minutes = Duration::from_secs(600);
    assert!(in_order(with(1, &[1440]).max_age(ten_minutes)).is_empty());
    // Out of order, a delivery is parked and acknowledged.
    assert!(parked(with(1, &[720, 720, 7200])).is_empty());
    // Quick attempts wait in memory: 1 s, 2 s, 4 s and so on.
    assert!(parked(with(10, &[])).is_empty());
    assert_eq!(parked(with(11, &[])), ["retry_too_long"]);
}

#[derive(SagaInput)]
enum Only {
    #[saga(start)]
    Placed(Placed),
}

#[derive(SagaInput)]
enum Answered {
    #[saga(start)]
    Placed(Placed),
    Send(Send),
}

#[derive(SagaInput)]
enum Timed {
    #[saga(start)]
    Placed(Placed),
    #[saga(timer)]
    Due(Send),
}

macro_rules! sagas {
    ($($name:ident($input:ty))*) => {
        $(
            #[derive(Default, Serialize, Deserialize)]
            struct $name;

            impl Saga for $name {
                const NAME: &'static str = "waiting";
                type Input = $input;

                fn step(&mut self, _: $input, _: &mut SagaEffects<$input>) {}

                fn unexpected(&mut self, _: Unexpected, _: $input, _: &mut SagaEffects<$input>) {}
            }
        )*
    };
}

sagas! {
    Stuck(Only)
    Patient(Answered)
    Ending(Timed)
}

#[test]
fn a_saga_needs_a_way_out_and_a_deadline() {
    let of = |mails| codes(&app(mails));
    assert_eq!(
        of(Service::new("mails").saga::<Stuck>()),
        ["saga_without_exit"]
    );
    assert_eq!(
        of(Service::new("mails").saga::<Patient>()),
        ["saga_without_deadline"]
    );
    assert!(of(Service::new("mails").saga::<Ending>()).is_empty());
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Mail {
    to: String,
}

/// Rows of the first release, with another comment and another name of the type.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "A mail.")]
struct Renamed {
    to: String,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct DatedMail {
    to: String,
    #[serde(default)]
    at: u64,
}

macro_rules! mails {
    ($($name:ident)*) => {
        $(
            impl Entity for $name {
                const NAME: &'static str = "mail";
                type Id = String;
            }

            impl View for $name {
                const NAME: &'static str = "mails";
            }
        )*
    };
}

mails! { Mail Renamed DatedMail }

async fn keep(_: Placed, _: Table<Mail>) -> Result<()> {
    Ok(())
}

/// Starts a program again and again on the same data.
#[cfg(all(feature = "host", feature = "embedded"))]
mod restarts {
    use std::sync::Arc;

    use wingbeat::TokioRuntime;
    use wingbeat::run::{Backends, Host};
    use wingbeat::tls::TlsFiles;

    use super::*;

    /// Starts a release and returns what has changed since the last one.
    async fn start(backends: &Backends, release: fn() -> App) -> Vec<Finding> {
        let ports = backends.ports.clone();
        let started = Host::start(TokioRuntime::new(), ports, Arc::new(release), |_| true).await;
        let host = started.expect("it starts");
        let found = host
            .running()
            .flat_map(|it| it.findings().to_vec())
            .collect();
        host.stop().await;
        found
    }

    fn mails<V: View + JsonSchema>() -> Service {
        Service::new("mails").on(keep).stores(Stored::view::<V>())
    }

    #[tokio::test]
    async fn what_changes_between_two_starts_is_reported_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
        let opened = Backends::open(None, directory.path(), "mails", &tls, &runtime).await;
        let backends = opened.expect("the directory opens");
        let first = || app(mails::<Mail>());
        assert_eq!(start(&backends, first).await, [], "the first start");
        assert_eq!(start(&backends, first).await, [], "nothing has changed");
        assert_eq!(
            start(&backends, || app(mails::<Renamed>())).await,
            [],
            "only names of types"
        );

        let changed = start(&backends, || app(mails::<DatedMail>())).await;
        let codes: Vec<_> = changed.iter().map(|it| it.code).collect();
        assert_eq!(codes, ["view_changed"], "{changed:?}");
        assert!(
            changed[0].text.contains("the view mails of mails"),
            "{changed:?}"
        );

        let renamed = || {
            let mails = Service::new("mails").on(placed.named("order_placed"));
            app(mails.stores(Stored::view::<DatedMail>()))
        };
        let gone = start(&backends, renamed).await;
        assert!(gone.iter().all(|it| it.code == "name_vanished"), "{gone:?}");
        let texts: Vec<_> = gone.iter().map(|it| it.text.as_str()).collect();
        for name in ["the entity mail,", "the queue mails.placed,"] {
            assert!(
                texts.iter().any(|text| text.contains(name)),
                "{name}: {texts:?}"
            );
        }
        assert_eq!(gone.len(), 2, "{texts:?}");
        assert_eq!(start(&backends, renamed).await, [], "it was reported");
    }
}
