//! A tenant with many messages does not hold back the others.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat::policy::NewLimits;
use wingbeat::test::executor::Group;
use wingbeat::test::{Faults, Model, Simulation};
use wingbeat::{
    App, Event, Handler as _, JsonSchema, Part, Reads, Result, Running, Service, State, schemars,
};

use crate::found::Nowhere;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "reports.requested", version = 1, key = report)]
struct Requested {
    report: u32,
    customer: String,
}

/// What happens in all replicas: by customer, the number of runs now, the largest number of a
/// replica, and the reports that were printed.
#[derive(Clone, Default)]
struct Press {
    replica: usize,
    customers: Arc<Mutex<BTreeMap<String, Customer>>>,
}

#[derive(Clone, Debug, Default)]
struct Customer {
    now: BTreeMap<usize, usize>,
    most: usize,
    printed: BTreeMap<u32, u32>,
}

impl Part<Press> for Press {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

impl Press {
    fn of<T>(&self, customer: &str, change: impl FnOnce(&mut Customer) -> T) -> T {
        let mut all = self.customers.lock().expect("no test thread panicked");
        change(all.entry(customer.to_owned()).or_default())
    }

    fn printed(&self, customer: &str) -> usize {
        self.of(customer, |it| it.printed.len())
    }

    fn most(&self, customer: &str) -> usize {
        self.of(customer, |it| it.most)
    }
}

/// Prints for a second.
async fn print(event: Requested, reads: Reads, State(press): State<Press>) -> Result<()> {
    press.of(&event.customer, |it| {
        let now = it.now.entry(press.replica).or_default();
        *now += 1;
        it.most = it.most.max(*now);
    });
    reads.runtime().sleep(Duration::from_secs(1)).await;
    press.of(&event.customer, |it| {
        *it.now.entry(press.replica).or_default() -= 1;
        *it.printed.entry(event.report).or_default() += 1;
    });
    Ok(())
}

const QUIET: [&str; 3] = ["a", "b", "c"];

fn customer(event: &Requested) -> String {
    event.customer.clone()
}

struct Scene {
    world: Simulation,
    model: Model,
    press: Press,
    replicas: Vec<(Running, Arc<Group>)>,
}

impl Scene {
    fn start(
        seed: u64,
        replicas: usize,
        service: impl Fn(Service<Press>) -> Service<Press>,
    ) -> Self {
        let world = Simulation::new(seed);
        let model = Model::new(world.runtime());
        let press = Press::default();
        let launch = |replica: usize| {
            let process = world.group();
            let ports = model.ports(&process, Arc::new(Nowhere));
            let press = Press {
                replica,
                ..press.clone()
            };
            let service = service(Service::new("printers").with_state(press));
            let started = App::new()
                .service(service)
                .allow_unknown_owners()
                .start(ports);
            (world.run(started).expect("it starts"), process)
        };
        let replicas = (0..replicas).map(launch).collect();
        Self {
            world,
            model,
            press,
            replicas,
        }
    }

    fn request(&self, customer: &str, reports: std::ops::Range<u32>) {
        for report in reports {
            let story = Uuid::from_u128(report.into()).into();
            let customer = customer.to_owned();
            let event = Requested { report, customer };
            self.world.run(self.model.publish(story, &event));
        }
    }

    fn pass(&self, seconds: u64) {
        self.world.advance(Duration::from_secs(seconds));
    }

    fn in_flight(&self) -> u64 {
        let subscriptions = self.replicas.iter().flat_map(|(it, _)| &it.subscriptions);
        let in_flight = subscriptions.map(|it| it.stats.in_flight.load(Ordering::Relaxed));
        in_flight.sum()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.replicas.clear();
        self.world.end();
    }
}

/// The reports of one customer fill more than the prefetch; the others come after them. The
/// controls have no limit of each tenant, or put nothing off: then the others wait.
#[test]
fn a_tenant_with_many_messages_does_not_hold_back_the_others() {
    type Build = fn(Service<Press>) -> Service<Press>;
    let cases: [(Build, bool); 3] = [
        (
            |service| service.on(print.concurrency(20).concurrency_per(2, customer)),
            true,
        ),
        (|service| service.on(print.concurrency(20)), false),
        (
            |service| {
                let print = print.concurrency(20).concurrency_per(2, customer);
                service.on(print.ordered())
            },
            false,
        ),
    ];
    for (build, are_quick) in cases {
        let scene = Scene::start(1, 1, build);
        scene.request("noisy", 0..1_000);
        for (at, quiet) in (1..).zip(QUIET) {
            scene.request(quiet, 10_000 * at..10_000 * at + 20);
        }
        scene.pass(15);
        let quiet = QUIET.map(|it| scene.press.printed(it));
        assert_eq!(quiet == [20; 3], are_quick, "{quiet:?}");
        if are_quick {
            assert_eq!(scene.press.most("noisy"), 2);
            let noisy = scene.press.printed("noisy");
            assert!(noisy >= 20, "{noisy}: it goes on meanwhile");
            let held = scene.in_flight();
            assert!(held < 300, "{held} are in memory");
        }
    }
}

#[test]
fn messages_that_are_put_off_are_handled_once_and_at_the_pace_of_their_tenant() {
    for seed in 0..3 {
        let scene = Scene::start(seed, 2, |service| {
            service.on(print.concurrency(20).concurrency_per(2, customer))
        });
        scene.model.set_faults(Faults {
            commit_unknown: 50,
            duplicate: 50,
            ..Faults::default()
        });
        scene.request("noisy", 0..700);
        // Four at once would take 175 seconds.
        scene.pass(400);
        assert!(scene.press.most("noisy") <= 2);
        assert_eq!(scene.press.printed("noisy"), 700);
        let (running, _) = &scene.replicas[0];
        let parked = scene.world.run(running.parked("printers".into()));
        assert_eq!(parked.expect("it reads").values().sum::<u64>(), 0);
        let letters = scene.world.run(running.dead_letters("printers".into()));
        assert_eq!(letters.expect("it reads").len(), 0);
        let handled = scene
            .world
            .run(running.reads("printers").expect("it runs").counters());
        let handled = handled.expect("it reads");
        let handled = handled
            .iter()
            .find(|(name, _)| name.as_str().starts_with("handled:"));
        assert_eq!(handled.map(|(_, count)| *count), Some(700));
    }
}

#[test]
fn a_tenant_has_one_limit_over_all_partitions_of_a_process() {
    let scene = Scene::start(1, 1, |service| {
        let print = print.concurrency(20).concurrency_per(3, customer);
        service.on(print.partitioned(4))
    });
    scene.pass(10);
    scene.request("noisy", 0..60);
    scene.request("quiet", 100..110);
    scene.pass(8);
    assert_eq!(scene.press.most("noisy"), 3);
    assert_eq!(scene.press.printed("quiet"), 10);
    scene.pass(20);
    assert_eq!(scene.press.printed("noisy"), 60);
}

#[test]
fn an_operator_changes_the_limit_of_each_tenant() {
    let scene = Scene::start(1, 1, |service| {
        service.on(print.concurrency(20).concurrency_per(1, customer))
    });
    scene.request("noisy", 0..60);
    scene.pass(5);
    assert_eq!(scene.press.most("noisy"), 1);
    let limit = |per_tenant| {
        let (running, _) = &scene.replicas[0];
        let limits = NewLimits {
            per_tenant,
            ..NewLimits::default()
        };
        scene
            .world
            .run(running.limit("printers", "requested", limits))
    };
    assert!(limit(Some(10)).expect("it is stored"));
    scene.pass(20);
    assert_eq!(scene.press.most("noisy"), 10);
    assert_eq!(scene.press.printed("noisy"), 60);
    let refused = limit(Some(0)).expect_err("it is refused");
    assert_eq!(refused.code(), "limit_invalid");
    assert!(limit(None).expect("it is stored"));
    assert_eq!(
        scene.replicas[0].0.subscriptions[0].limits().per_tenant,
        Some(1)
    );
}

#[test]
fn a_subscription_without_tenants_has_no_limit_of_them() {
    let scene = Scene::start(1, 1, |service| service.on(print));
    let (running, _) = &scene.replicas[0];
    let limits = NewLimits {
        per_tenant: Some(1),
        ..NewLimits::default()
    };
    let refused = scene
        .world
        .run(running.limit("printers", "requested", limits));
    assert_eq!(refused.expect_err("it is refused").code(), "limit_invalid");
}
