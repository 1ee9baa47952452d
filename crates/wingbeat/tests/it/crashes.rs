//! Transfers of money while processes are killed at any await, and store and broker fail.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Outages, Simulation};
use wingbeat::{Running, Runtime as _, RuntimeExt as _};

use crate::transfers::{
    ACCOUNTS, Account, ChangeBalance, Outcome, TRANSFERS, Transfer, app, ports, publish, rough,
};

/// Replicas of the same app on one model.
struct Cluster {
    world: Simulation,
    model: Model,
    replicas: Vec<(Arc<Group>, Running)>,
}

impl Cluster {
    fn start(seed: u64, replicas: usize) -> Self {
        let world = Simulation::new(seed);
        let model = Model::new(world.runtime());
        let replicas = (0..replicas).map(|_| launch(&world, &model)).collect();
        Self {
            world,
            model,
            replicas,
        }
    }

    /// Kills a random replica within the next second, and restarts it later.
    fn crash(&mut self) {
        let moment = self.world.jitter(Duration::from_secs(1));
        self.world.advance(moment);
        let at = self.world.random() as usize % self.replicas.len();
        self.replicas[at].0.kill();
        let down_for = self.world.jitter(Duration::from_secs(3));
        self.world.advance(down_for);
        self.replicas[at] = launch(&self.world, &self.model);
    }

    /// Makes store, broker, cache or several of them unavailable for a while.
    fn outage(&self) {
        let random = self.world.random();
        self.model.set_outages(Outages {
            store: random & 1 == 0,
            broker: random & 2 == 0,
            cache: random & 4 == 0,
            ..Outages::default()
        });
        let away_for = self.world.jitter(Duration::from_secs(20));
        self.world.advance(away_for);
        self.model.set_outages(Outages::default());
    }

    fn open_accounts(&self) {
        for account in 0..ACCOUNTS {
            let opening = ChangeBalance {
                account: account.to_string(),
                transfer: "opening".into(),
                amount: 100,
            };
            self.world.run(publish(&self.world, &self.model, &opening));
        }
    }

    fn transfer(&self, number: usize) {
        let random = self.world.random();
        let transfer = Transfer {
            transfer: number.to_string(),
            from: (random % ACCOUNTS).to_string(),
            to: ((random / 7 + 1) % ACCOUNTS).to_string(),
            amount: (random % 60) as i64,
        };
        self.world.run(publish(&self.world, &self.model, &transfer));
    }

    /// Returns the balances, and the number of endings of each transfer.
    fn books(&self) -> (Vec<i64>, Vec<u32>) {
        let reads = |service| self.replicas[0].1.reads(service).expect("runs");
        let (accounts, bank) = (reads("accounts"), reads("bank"));
        self.world.run(async {
            let (mut balances, mut ended) = (Vec::new(), Vec::new());
            for account in 0..ACCOUNTS {
                let account = accounts.aggregate::<Account>(&account.to_string()).await;
                balances.push(account.expect("reads").unwrap_or_default().balance);
            }
            for transfer in 0..TRANSFERS {
                let outcome = bank.entity::<Outcome>(&transfer.to_string()).await;
                ended.push(outcome.expect("reads").unwrap_or_default().times_ended);
            }
            (balances, ended)
        })
    }
}

fn launch(world: &Simulation, model: &Model) -> (Arc<Group>, Running) {
    let group = world.group();
    let started = app()
        .allow_unknown_owners()
        .start(ports(model, group.clone()));
    let running = world.run(started).expect("starts");
    (group, running)
}

/// Runs transfers with crashes and outages. Returns the digest, the balances and the endings.
fn story(seed: u64, replicas: usize, faults: Faults) -> (u64, Vec<i64>, Vec<u32>) {
    let mut cluster = Cluster::start(seed, replicas);
    cluster.open_accounts();
    cluster.world.advance(Duration::from_secs(120));
    cluster.model.set_faults(faults);
    for number in 0..TRANSFERS {
        cluster.transfer(number);
        match cluster.world.random() % 8 {
            0 | 1 => cluster.crash(),
            2 => cluster.outage(),
            _ => {}
        }
    }
    cluster.model.set_faults(Faults::default());
    cluster.world.advance(Duration::from_secs(3600));
    let (balances, ended) = cluster.books();
    cluster.world.end();
    (cluster.world.digest(), balances, ended)
}

fn books_balance(balances: &[i64], ended: &[u32]) -> bool {
    let covered = balances.iter().all(|balance| *balance >= 0);
    let sum = balances.iter().sum::<i64>();
    covered && sum == 100 * ACCOUNTS as i64 && ended == [1; TRANSFERS]
}

fn assert_books_balance(seed: u64, replicas: usize) {
    let (_, balances, ended) = story(seed, replicas, rough());
    let balanced = books_balance(&balances, &ended);
    assert!(balanced, "seed {seed}: {balances:?} {ended:?}");
}

#[test]
fn crashes_repeat_work_but_not_its_effects() {
    (0..20).for_each(|seed| assert_books_balance(seed, 1));
}

#[test]
fn replicas_crash_independently() {
    (100..115).for_each(|seed| assert_books_balance(seed, 3));
}

#[test]
fn one_seed_gives_one_sequence_of_crashes() {
    assert_eq!(story(5, 2, rough()), story(5, 2, rough()));
    assert_ne!(story(5, 2, rough()).0, story(6, 2, rough()).0);
}
