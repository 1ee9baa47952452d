//! Subscriptions that keep the order of their queue despite failures, restarts and replicas.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{
    App, Entity, Error, Event, Handler as _, JsonSchema, Part, Result, Retry, Runtime as _,
    RuntimeExt as _, Service, State, Table, outgoing, schemars,
};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
struct MeterRead {
    meter: String,
    number: u32,
}

/// The readings of a meter, in the order in which they were handled.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Log {
    numbers: Vec<u32>,
}

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

/// The remaining failures of each reading, over all replicas.
#[derive(Clone, Default)]
struct Trouble(Arc<Mutex<BTreeMap<(String, u32), u32>>>);

impl Part<Trouble> for Trouble {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

async fn keep(event: MeterRead, State(trouble): State<Trouble>, logs: Table<Log>) -> Result<()> {
    {
        let mut left = trouble.0.lock().expect("nobody panics with it");
        if let Some(times) = left.get_mut(&(event.meter.clone(), event.number))
            && *times > 0
        {
            *times -= 1;
            return Err(Error::retry("not_yet", "it fails at first"));
        }
    }
    let kept = logs.update(&event.meter, |known| {
        let mut log: Log = known.unwrap_or_default();
        log.numbers.push(event.number);
        log
    });
    kept.await.map(drop)
}

pub(crate) struct Nobody;

impl wingbeat::ports::HttpClient for Nobody {
    fn send(
        &self,
        _request: outgoing::Request,
    ) -> wingbeat::BoxFuture<'_, Result<outgoing::Response>> {
        Box::pin(std::future::pending())
    }
}

const METERS: [&str; 3] = ["a", "b", "c"];
const READINGS: u32 = 40;

fn app(ordered: bool, trouble: Trouble) -> App {
    let retry = Retry {
        parked: vec![Duration::from_secs(2); 4],
        ..Retry::default()
    };
    let service = Service::new("meters").with_state(trouble);
    let handler = keep.retry(retry);
    App::new().service(if ordered {
        service.on(handler.ordered())
    } else {
        service.on(handler)
    })
}

/// Restarts replicas while readings arrive, some of which fail repeatedly. Returns the handled
/// readings of each meter, and the number of dead letters.
fn story(seed: u64, ordered: bool, hopeless: Option<u32>) -> (Vec<Vec<u32>>, usize) {
    let world = Simulation::new(seed);
    let model = Model::new(world.runtime());
    let trouble = Trouble::default();
    for number in (0..READINGS).step_by(7) {
        let times = 1 + world.random() as u32 % 9;
        let mut left = trouble.0.lock().expect("nobody panics with it");
        left.insert(("a".into(), number), times);
        if let Some(number) = hopeless {
            left.insert(("b".into(), number), 1_000);
        }
    }
    let launch = || {
        let group = world.group();
        let ports = model.ports(&group, Arc::new(Nobody));
        let started = app(ordered, trouble.clone())
            .allow_unknown_owners()
            .start(ports);
        (group, world.run(started).expect("starts"))
    };
    let mut replicas = [launch(), launch()];
    model.set_faults(Faults {
        duplicate: 100,
        commit_unknown: 100,
        ..Faults::default()
    });
    for number in 0..READINGS {
        for meter in METERS {
            let meter = meter.into();
            let reading = MeterRead { meter, number };
            world.run(model.publish(Uuid::from_u128(1).into(), &reading));
        }
        match world.random() % 8 {
            0 => {
                let at = world.random() as usize % 2;
                replicas[at].0.kill();
                replicas[at] = launch();
            }
            1 => model.transport.restart(),
            _ => {
                let moment = world.jitter(Duration::from_millis(500));
                world.advance(moment);
            }
        }
    }
    world.advance(Duration::from_secs(3_600));
    let reads = replicas[0].1.reads("meters").expect("it runs");
    let logs = world.run(async {
        let mut logs = Vec::new();
        for meter in METERS {
            let log = reads.entity::<Log>(&meter.to_owned()).await;
            logs.push(log.expect("reads").unwrap_or_default().numbers);
        }
        logs
    });
    let letters = replicas[0].1.dead_letters("meters".into());
    let letters = world.run(letters).expect("reads").len();
    world.end();
    (logs, letters)
}

fn sent() -> Vec<u32> {
    (0..READINGS).collect()
}

#[test]
fn an_ordered_subscription_keeps_its_order_despite_failures() {
    for seed in 0..20 {
        let (logs, letters) = story(seed, true, None);
        assert_eq!(logs, [sent(), sent(), sent()], "seed {seed}");
        assert_eq!(letters, 0, "seed {seed}");
    }
}

/// The negative control: without `.ordered()` the order changes.
#[test]
fn without_ordered_later_messages_overtake() {
    let (mut logs, _) = story(0, false, None);
    assert_ne!(logs, [sent(), sent(), sent()]);
    logs.iter_mut().for_each(|log| log.sort_unstable());
    assert_eq!(
        logs,
        [sent(), sent(), sent()],
        "every reading is handled once"
    );
}

#[test]
fn a_dead_letter_does_not_block_later_messages_of_its_key() {
    let (logs, letters) = story(3, true, Some(11));
    let without: Vec<u32> = sent().into_iter().filter(|number| *number != 11).collect();
    assert_eq!(logs, [sent(), without, sent()]);
    assert_eq!(letters, 1);
}
