//! One lifetime: the run of a system under one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use wingbeat_core::Runtime as _;

use super::coverage::{Coverage, Listener};
use super::names;
use super::schedule::Schedule;
use super::timeline::timeline;
use super::world::World;
use super::{System, Violation};
use crate::test::model::{Faults, Outages, repeated_effects};

/// The pause between two checks of the invariants.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The time limit of the clients.
const CLIENTS_MAX: Duration = Duration::from_secs(3_600);
/// The time limit for the system to become idle.
const IDLE_WITHIN: Duration = Duration::from_secs(1_800);

/// The result of one seed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lifetime {
    /// The first violation, if any.
    pub violation: Option<Violation>,
    /// The timeline of the violation's subject.
    pub timeline: Vec<String>,
    /// The schedule of faults.
    pub schedule: Schedule,
    /// A digest of all events. Equal seeds yield equal digests.
    pub digest: u64,
    /// The coverage.
    pub coverage: Coverage,
}

impl Lifetime {
    /// Runs a seed with `schedule`, or with the schedule that the seed draws.
    #[must_use]
    pub fn run<S: System>(seed: u64, schedule: Option<Schedule>) -> Self {
        let listener = Listener::default();
        metrics::with_local_recorder(&listener, || {
            let mut lifetime = run_once::<S>(seed, schedule);
            lifetime.coverage.visits = listener.visits();
            lifetime
        })
    }
}

fn run_once<S: System>(seed: u64, schedule: Option<Schedule>) -> Lifetime {
    let world = World::new(seed);
    let system = S::new(&world);
    let processes = system.processes();
    let count = processes.iter().map(|process| process.replicas).sum();
    let schedule = schedule.unwrap_or_else(|| Schedule::draw(seed, count, system.span()));
    let world = world.with_schedule(schedule.clone());
    world.set_up(processes, system.outside());
    let simulation = world.simulation().clone();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        simulation.run(first_violation(&system, &world))
    }));
    let violation = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("the panic has no message");
        Some(Violation::new("nothing panics", "", text))
    });
    let timeline = match &violation {
        Some(violation) => timeline(&world, &violation.subject),
        None => Vec::new(),
    };
    let lifetime = Lifetime {
        timeline,
        schedule,
        digest: simulation.digest(),
        coverage: coverage(&world),
        violation,
    };
    simulation.end();
    lifetime
}

fn coverage(world: &World) -> Coverage {
    let model = world.model();
    let mut coverage = Coverage {
        faults: model.fault_counts(),
        used: model.injector.used(),
        ..Coverage::default()
    };
    for ((queue, message), set) in model.store.timers() {
        let saga = queue.split_once('.').map_or(&*queue, |(_, saga)| saga);
        let timer = coverage.timers.entry(names::timer(saga, &message));
        timer.or_default().set += set;
    }
    world.probe().report(&mut coverage);
    coverage
}

/// Runs the steps of a lifetime. Returns the first violation.
async fn first_violation<S: System>(system: &S, world: &World) -> Option<Violation> {
    world.start_all().await;
    system.prepare(world).await;
    world.probe().set_disturbed(true);
    let violation = run_clients(system, world).await;
    world.probe().set_disturbed(false);
    if violation.is_some() {
        return violation;
    }
    world.model().set_faults(Faults::default());
    world.model().set_outages(Outages::default());
    let left = world
        .model()
        .until_idle(system.horizon(), IDLE_WITHIN)
        .await;
    if let Some(first) = left.first() {
        let detail = format!("{} items of work are left, such as: {first}", left.len());
        return Some(Violation::new(
            "the system becomes idle",
            id_in(first),
            detail,
        ));
    }
    effects_happened_once(world).or(system.when_idle(world).await.into_iter().next())
}

/// Returns the first id in a text.
fn id_in(text: &str) -> &str {
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words
        .find(|word| uuid::Uuid::try_parse(word).is_ok())
        .unwrap_or_default()
}

/// Runs clients and faults until both have ended, and checks invariants every 250 ms.
async fn run_clients<S: System>(system: &S, world: &World) -> Option<Violation> {
    let simulation = world.simulation();
    let clients = system.clients(world);
    world.set_clients(clients.len() + 1);
    let faulty = world.clone();
    let faults: super::BoxFuture<'static, ()> = Box::pin(faulty.apply_schedule());
    for task in clients.into_iter().chain([faults]) {
        let world = world.clone();
        simulation.spawn(Box::pin(async move {
            task.await;
            world.client_is_done();
        }));
    }
    let deadline = simulation.elapsed() + CLIENTS_MAX;
    while world.clients_left() > 0 || world.running().len() < world.processes() {
        if let Some(violation) = system.while_running(world).into_iter().next() {
            return Some(violation);
        }
        if simulation.elapsed() > deadline {
            let left = world.clients_left();
            let detail = format!("{left} clients still wait for their answers");
            return Some(Violation::new("clients are served", "", detail));
        }
        simulation.sleep(CHECK_INTERVAL).await;
    }
    None
}

/// Returns a violation if a delivery, timer or call took effect more than once.
fn effects_happened_once(world: &World) -> Option<Violation> {
    let messages = world.model().transport.accepted();
    let found = repeated_effects(&world.model().store.log(), &messages);
    let (id, what) = found.into_iter().next()?;
    Some(Violation::new("everything takes effect once", id, what))
}
