//! Two replicas: what one of them remembers, the other has changed since.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::test::{Model, Simulation};
use wingbeat::{App, Entity, Error, Event, Handler as _, Result, Retry, Running, Service, Table};

use crate::found::Nowhere;
use crate::transfers::publish;

/// Read by the first replica.
#[derive(Event, Clone, Serialize, Deserialize)]
#[event(name = "tank.looked_at", version = 1, key = tank)]
struct LookedAt {
    tank: String,
}

/// Written by the second one.
#[derive(Event, Clone, Serialize, Deserialize)]
#[event(name = "tank.filled", version = 1, key = tank)]
struct Filled {
    tank: String,
}

/// Needs it to be there, in the first.
#[derive(Event, Clone, Serialize, Deserialize)]
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

/// Looks, and opens what was filled elsewhere meanwhile: how many dead letters there are, and whether it is open.
fn opened(replica: Service, fill_first: bool) -> (usize, bool) {
    let simulation = Simulation::new(1);
    let model = Model::new(simulation.runtime());
    let start = |service: Service| -> Running {
        let ports: Ports = model.ports(&simulation.group(), Arc::new(Nowhere));
        let started = App::new().service(service).allow_strangers().start(ports);
        simulation.run(started).expect("starts")
    };
    let first = start(replica.on(look));
    let second = start(Service::new("tanks").on(fill));
    let tank = "a".to_owned();
    let say = async |filled: bool| {
        let tank = tank.clone();
        match filled {
            true => publish(&simulation, &model, &Filled { tank }).await,
            false => publish(&simulation, &model, &Opened { tank }).await,
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
    simulation.run(say(!fill_first));
    // The second replica does not know the parked delivery and lets its lease run out, maybe several times.
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
fn a_refusal_of_what_is_not_so_any_more_is_not_believed() {
    let replica = Service::new("tanks").on(open_or_reject);
    assert_eq!(opened(replica, true), (0, true));
}

/// It is not merely tried once more.
#[test]
fn a_refusal_of_what_is_so_is_a_dead_letter() {
    let replica = Service::new("tanks").on(open_or_reject);
    assert_eq!(opened(replica, false), (1, false));
}

#[test]
fn the_last_attempt_is_not_believed_either() {
    let once = Retry {
        quick: 1,
        backoff: Duration::from_millis(1),
        parked: Vec::new(),
    };
    let replica = Service::new("tanks").on(open_or_retry.retry(once));
    assert_eq!(opened(replica, true), (0, true));
}

/// What it remembers from its first attempts it must not remember for ever.
#[test]
fn the_next_attempt_sees_what_the_store_says() {
    let replica = Service::new("tanks").on(open_or_retry);
    assert_eq!(opened(replica, false), (0, true));
}
