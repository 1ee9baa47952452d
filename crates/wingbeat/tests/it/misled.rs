//! Two replicas: one of them has cached records that the other one changes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::test::{Model, Outages, Simulation};
use wingbeat::{
    App, Entity, Error, Event, Handler as _, JsonSchema, Result, Retry, Running, Service, Table,
    schemars,
};

use crate::found::Nowhere;
use crate::transfers::publish;

const MILLI: Duration = Duration::from_millis(1);

/// Makes the first replica read and cache the tank.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "tank.looked_at", version = 1, key = tank)]
struct LookedAt {
    tank: String,
}

/// Makes the second replica fill the tank.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "tank.filled", version = 1, key = tank)]
struct Filled {
    tank: String,
}

/// Makes the first replica open the tank, which must be filled.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "tank.opened", version = 1, key = tank)]
struct Opened {
    tank: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Tank {
    opened: bool,
}

impl Entity for Tank {
    const NAME: &'static str = "tank";
    type Id = String;
}

async fn look(event: LookedAt, tanks: Table<Tank>) -> Result<()> {
    tanks.get(&event.tank).await.map(drop)
}

async fn fill(event: Filled, tanks: Table<Tank>) -> Result<()> {
    tanks.put(&event.tank, Tank::default())
}

async fn open_as(event: Opened, tanks: Table<Tank>, empty: fn() -> Error) -> Result<()> {
    if tanks.get(&event.tank).await?.is_none() {
        return Err(empty());
    }
    tanks.put(&event.tank, Tank { opened: true })
}

async fn open_or_reject(event: Opened, tanks: Table<Tank>) -> Result<()> {
    open_as(event, tanks, || Error::reject("empty", "nothing to open")).await
}

async fn open_or_retry(event: Opened, tanks: Table<Tank>) -> Result<()> {
    open_as(event, tanks, || {
        Error::retry("empty", "nothing to open yet")
    })
    .await
}

/// Lets one replica cache a tank, and the other one fill it before or after the first opens it.
/// Returns the number of dead letters, and whether the tank is open.
fn opened(replica: Service, fill_first: bool) -> (usize, bool) {
    opened_in(replica, fill_first, Outages::default())
}

/// Like [`opened`], with outages when the second of the two is asked.
fn opened_in(replica: Service, fill_first: bool, outages: Outages) -> (usize, bool) {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let start = |service: Service| -> Running {
        let ports: Ports = model.ports(&simulation.group(), Arc::new(Nowhere));
        let started = App::new()
            .service(service)
            .allow_unknown_owners()
            .start(ports);
        simulation.run(started).expect("starts")
    };
    let first = start(replica.on(look));
    let second = start(Service::new("tanks").on(fill));
    let tank = "a".to_owned();
    let say = async |filled: bool| {
        let tank = tank.clone();
        if filled {
            publish(&simulation, &model, &Filled { tank }).await;
        } else {
            publish(&simulation, &model, &Opened { tank }).await;
        }
    };
    simulation.run(publish(
        &simulation,
        &model,
        &LookedAt { tank: tank.clone() },
    ));
    simulation.advance(Duration::from_secs(1));
    simulation.run(say(fill_first));
    simulation.advance(Duration::from_secs(1));
    model.set_outages(outages);
    simulation.run(say(!fill_first));
    simulation.advance(Duration::from_secs(20));
    model.set_outages(Outages::default());
    // The second replica cannot handle the parked delivery, so its lease may expire several times.
    simulation.advance(Duration::from_secs(600));
    let letters = simulation.run(first.dead_letters("tanks".into()));
    let reads = second.reads("tanks").expect("it runs");
    let found = simulation.run(reads.entities::<Tank>(None, 10));
    let open = found
        .expect("it reads")
        .first()
        .is_some_and(|(_, it)| it.opened);
    drop((first, second));
    simulation.end();
    (letters.expect("it reads").len(), open)
}

#[test]
fn a_rejection_on_stale_reads_is_retried() {
    let replica = Service::new("tanks").on(open_or_reject);
    assert_eq!(opened(replica, true), (0, true));
}

#[test]
fn a_failure_on_stale_reads_is_retried_after_an_outage_of_the_store() {
    let store = Outages {
        store: true,
        ..Outages::default()
    };
    let once = Retry {
        quick: 1,
        parked: Vec::new(),
        ..Retry::default()
    };
    for replica in [
        Service::new("tanks").on(open_or_reject),
        Service::new("tanks").on(open_or_retry.retry(once)),
        Service::new("tanks").on(open_or_retry.retry(Retry::default().max_age(MILLI))),
    ] {
        assert_eq!(opened_in(replica, true, store), (0, true));
    }
}

/// A rejection on current data is not retried.
#[test]
fn a_rejection_on_current_reads_becomes_a_dead_letter() {
    let replica = Service::new("tanks").on(open_or_reject);
    assert_eq!(opened(replica, false), (1, false));
}

#[test]
fn a_last_attempt_on_stale_reads_is_retried() {
    let once = Retry {
        quick: 1,
        backoff: Duration::from_millis(1),
        parked: Vec::new(),
        ..Retry::default()
    };
    let replica = Service::new("tanks").on(open_or_retry.retry(once));
    assert_eq!(opened(replica, true), (0, true));
}

#[test]
fn a_failure_on_stale_reads_is_retried_if_it_is_too_late_for_another_attempt() {
    let limited = Retry::default().max_age(MILLI);
    let replica = Service::new("tanks").on(open_or_retry.retry(limited));
    assert_eq!(opened(replica, true), (0, true));
}

/// The cached version must not survive the first attempts.
#[test]
fn the_next_attempt_reads_from_the_store() {
    let replica = Service::new("tanks").on(open_or_retry);
    assert_eq!(opened(replica, false), (0, true));
}
