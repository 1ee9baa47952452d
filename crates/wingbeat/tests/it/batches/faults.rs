//! Batches while replicas are killed and store and broker fail.

use std::time::Duration;

use uuid::Uuid;
use wingbeat::test::{Faults, Model, Outages, Simulation};
use wingbeat::{Handler as _, Retry, Runtime as _, RuntimeExt as _, Service};

use super::{Desk, SECOND, Sales, Trouble, gathering, key, launch, sold};
use crate::again::fails_without;
use crate::transfers::rough;

const TILLS: [&str; 4] = ["a", "b", "c", "d"];
const SALES: u32 = 40;
/// A sale that is always rejected.
const POISON: u32 = 23;

/// The end of a story.
struct End {
    /// The sales of each till.
    sales: Vec<Vec<u32>>,
    /// The keys of the dead letters.
    dead: Vec<String>,
    /// The largest batch that took effect.
    largest: usize,
}

/// Restarts the broker, makes the store unavailable for a while, or lets time pass.
fn trouble(world: &Simulation, model: &Model) {
    match world.random() % 7 {
        0 => model.transport.restart(),
        1 => {
            model.set_outages(Outages {
                store: true,
                ..Outages::default()
            });
            world.advance(world.jitter(2 * SECOND));
            model.set_outages(Outages::default());
        }
        _ => world.advance(world.jitter(Duration::from_millis(500))),
    }
}

/// Restarts two replicas while sales arrive, some of which fail. One sale of each till is poisoned.
fn story(seed: u64, ordered: bool) -> End {
    crate::again::disable();
    let world = Simulation::new(seed);
    let model = Model::new(world.runtime());
    let desk = Desk::default();
    for number in (0..SALES).step_by(7) {
        let times = 1 + world.random() as u32 % 9;
        desk.is_to(number, Trouble::Retry(times));
    }
    desk.is_to(POISON, Trouble::Reject);
    let retry = Retry {
        parked: vec![2 * SECOND; 9],
        ..Retry::default()
    };
    let handler = gathering(8, Duration::from_millis(300)).retry(retry);
    let on = move |service: Service<Desk>| match ordered {
        true => service.on(handler.clone().ordered()),
        false => service.on(handler.clone()),
    };
    let launch = || launch(&world, &model, &desk, &on);
    let mut replicas = [launch(), launch()];
    model.set_faults(rough());
    for number in 0..SALES {
        for till in TILLS {
            let sold = sold(till, number);
            world.run(model.publish(Uuid::from_u128(1).into(), &sold));
        }
        let at = world.random() as usize % 16;
        if at < 2 {
            replicas[at].0.kill();
            replicas[at] = launch();
        } else {
            trouble(&world, &model);
        }
    }
    model.set_faults(Faults::default());
    world.advance(Duration::from_secs(3_600));
    let left = model.unsettled(world.runtime().now());
    assert!(left.is_empty(), "seed {seed}: {left:?}");
    let reads = replicas[0].1.reads("totals").expect("it runs");
    let sales = world.run(async {
        let mut sales = Vec::new();
        for till in TILLS {
            let of = reads.entity::<Sales>(&till.to_owned()).await;
            sales.push(of.expect("it can be read").unwrap_or_default().numbers);
        }
        sales
    });
    let letters = replicas[0].1.dead_letters("totals".into());
    let letters = world.run(letters).expect("they can be read");
    let units = model.store.log();
    let largest = units.iter().map(|unit| unit.settled.len()).max();
    world.end();
    End {
        sales,
        dead: letters.iter().map(key).collect(),
        largest: largest.unwrap_or_default(),
    }
}

fn expected() -> Vec<u32> {
    (0..SALES).filter(|number| *number != POISON).collect()
}

fn assert_held(seed: u64, ordered: bool) {
    let mut end = story(seed, ordered);
    if !ordered {
        end.sales.iter_mut().for_each(|sales| sales.sort_unstable());
    }
    for (till, sales) in TILLS.iter().zip(&end.sales) {
        assert_eq!(*sales, expected(), "seed {seed}, till {till}");
    }
    end.dead.sort_unstable();
    assert_eq!(end.dead, TILLS, "seed {seed}");
    assert!(end.largest > 2, "seed {seed}: nothing was handled together");
}

#[test]
fn every_message_of_a_batch_takes_effect_once_despite_faults() {
    for seed in 0..30 {
        assert_held(seed, false);
    }
}

#[test]
fn an_ordered_subscription_with_batches_keeps_its_order_despite_faults() {
    for seed in 0..30 {
        assert_held(seed, true);
    }
}

#[test]
fn the_faults_are_noticed_without_the_inbox_and_with_early_acknowledgements() {
    let test = "batches::faults::every_message_of_a_batch_takes_effect_once_despite_faults";
    for mechanism in ["inbox", "ack-after-commit", "read-set"] {
        fails_without(mechanism, test);
    }
}
