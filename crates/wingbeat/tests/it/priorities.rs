//! Runs of a service, and calls to an outside system, that wait by their priority.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::policy::{NewLimits, Priority};
use wingbeat::test::TestApp;
use wingbeat::{
    App, Call, Error, Event, GaveUp, Handler as _, JsonSchema, Part, Reads, Result, Service, State,
    TargetPolicy, schemars,
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "clinic.hurt", version = 1, key = patient)]
struct Hurt {
    patient: u32,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "clinic.checked", version = 1, key = patient)]
struct Checked {
    patient: u32,
}

/// The operations, checks and calls that have begun, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Part<Diary> for Diary {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().expect("no test thread panicked").push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().expect("no test thread panicked"))
    }
}

/// Takes a second.
async fn operate(_: Hurt, reads: Reads, State(diary): State<Diary>) -> Result<()> {
    diary.note("operate");
    reads.runtime().sleep(SECOND).await;
    Ok(())
}

/// Takes a second.
async fn check(_: Checked, reads: Reads, State(diary): State<Diary>) -> Result<()> {
    diary.note("check");
    reads.runtime().sleep(SECOND).await;
    Ok(())
}

fn clinic(diary: &Diary, operating: Priority, places: Option<usize>) -> App {
    let service = Service::new("clinic").with_state(diary.clone());
    let service = match places {
        Some(places) => service.concurrency(places),
        None => service,
    };
    let service = service
        .on(check.named("checks"))
        .on(operate.priority(operating).named("operations"));
    App::new().service(service).allow_unknown_owners()
}

/// Ten checks and five operations that wait for one place.
fn rush(app: &TestApp) {
    (0..10).for_each(|it| app.publish(Uuid::from_u128(it.into()), &Checked { patient: it }));
    app.pass(SECOND / 10);
    (10..15).for_each(|it| app.publish(Uuid::from_u128(it.into()), &Hurt { patient: it }));
    app.pass(SECOND / 10);
}

/// Returns how many checks began before the last operation did.
fn before(done: &[&str]) -> usize {
    let last = done.iter().rposition(|it| *it == "operate");
    let first = &done[..last.expect("all are operated")];
    first.iter().filter(|it| **it == "check").count()
}

#[test]
fn a_service_runs_what_has_a_high_priority_first() {
    let diary = Diary::default();
    let orders = [Priority::High, Priority::Normal].map(|operating| {
        let app = TestApp::start(1, clinic(&diary, operating, Some(1)));
        rush(&app);
        app.until_idle();
        let done = diary.take();
        assert_eq!(done.len(), 15, "one at a time, and all of them: {done:?}");
        before(&done)
    });
    // The one that had begun, and the two to which two subscriptions with one seat each gave way.
    assert!(orders[0] <= 2, "{orders:?}");
    // Without priorities both subscriptions take turns.
    assert!(orders[1] >= 4, "{orders:?}");
}

#[test]
fn a_service_makes_as_many_runs_at_once_as_it_has_places() {
    let diary = Diary::default();
    let began = [Some(3), None].map(|places| {
        let app = TestApp::start(1, clinic(&diary, Priority::Normal, places));
        rush(&app);
        let began = diary.take().len();
        app.until_idle();
        drop(diary.take());
        began
    });
    assert_eq!(began, [3, 15]);
}

#[test]
fn an_operator_changes_a_priority() {
    let diary = Diary::default();
    let app = TestApp::start(1, clinic(&diary, Priority::Normal, Some(1)));
    let set = |priority| {
        let limits = NewLimits {
            priority,
            ..NewLimits::default()
        };
        let running = app.running();
        app.run(running.limit("clinic", "operations", limits))
    };
    assert!(set(Some(Priority::High)).expect("it is stored"));
    rush(&app);
    app.until_idle();
    assert!(before(&diary.take()) <= 2);
    assert!(set(None).expect("it is stored"));
    let limits = app.running().subscriptions.iter();
    assert!(
        limits
            .map(|it| it.limits())
            .all(|it| it.priority == Priority::Normal)
    );
}

#[test]
fn a_priority_without_effect_is_refused_or_a_finding() {
    let unlimited = || clinic(&Diary::default(), Priority::High, None);
    let findings = unlimited().findings();
    let code = |it: &&wingbeat::app::Finding| it.code == "priority_unused";
    let found: Vec<_> = findings.iter().filter(code).collect();
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .text
            .starts_with("clinic.operations has the priority high")
    );
    let limited = clinic(&Diary::default(), Priority::High, Some(1));
    assert!(
        !limited
            .findings()
            .iter()
            .any(|it| it.code == "priority_unused")
    );
    let app = TestApp::start(1, unlimited());
    let limits = NewLimits {
        priority: Some(Priority::Low),
        ..NewLimits::default()
    };
    let refused = app.run(app.running().limit("clinic", "checks", limits));
    assert_eq!(refused.expect_err("it is refused").code(), "limit_invalid");
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "clinic.ring", target = "phone", key = patient, outcome = Rung)]
struct Ring {
    patient: u32,
}

#[derive(Call, Serialize, Deserialize)]
#[call(name = "clinic.advertise", target = "phone", key = patient, outcome = Rung)]
struct Advertise {
    patient: u32,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "clinic.rung", version = 1, key = patient)]
struct Rung {
    patient: u32,
}

impl GaveUp<Ring> for Rung {
    fn gave_up(call: &Ring, _: &Error) -> Self {
        Self {
            patient: call.patient,
        }
    }
}

impl GaveUp<Advertise> for Rung {
    fn gave_up(call: &Advertise, _: &Error) -> Self {
        Self {
            patient: call.patient,
        }
    }
}

async fn ring(call: Ring, reads: Reads, State(diary): State<Diary>) -> Result<Rung> {
    diary.note("operate");
    reads.runtime().sleep(SECOND).await;
    Ok(Rung {
        patient: call.patient,
    })
}

async fn advertise(call: Advertise, reads: Reads, State(diary): State<Diary>) -> Result<Rung> {
    diary.note("check");
    reads.runtime().sleep(SECOND).await;
    Ok(Rung {
        patient: call.patient,
    })
}

async fn on_hurt(event: Hurt) -> Result<Ring> {
    Ok(Ring {
        patient: event.patient,
    })
}

async fn on_checked(event: Checked) -> Result<Advertise> {
    Ok(Advertise {
        patient: event.patient,
    })
}

#[test]
fn calls_with_a_high_priority_get_the_place_of_an_outside_system_first() {
    let diary = Diary::default();
    let orders = [Priority::High, Priority::Normal].map(|ringing| {
        let one = TargetPolicy {
            concurrency: 1,
            ..TargetPolicy::default()
        };
        let service = Service::new("clinic")
            .with_state(diary.clone())
            .on(on_hurt)
            .on(on_checked)
            .calls(advertise)
            .calls(ring.priority(ringing))
            .target("phone", one);
        let app = TestApp::start(1, App::new().service(service).allow_unknown_owners());
        rush(&app);
        app.until_idle();
        before(&diary.take())
    });
    assert!(orders[0] <= 2, "{orders:?}");
    assert!(orders[1] >= 9, "in order of arrival: {orders:?}");
}
