//! The lifetime of one seed, from the start of the processes to the verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use wingbeat_core::Runtime as _;

use super::coverage::{Coverage, Listener};
use super::schedule::Schedule;
use super::story;
use super::system_wiring::names;
use super::world::World;
use super::{System, Violation};
use crate::test::model::{Faults, Outages, twice};

/// The pause between two checks of the invariants.
const LOOK: Duration = Duration::from_millis(250);
/// The longest duration of the clients.
const CLIENTS_MAX: Duration = Duration::from_secs(3_600);
/// The longest wait until the system is idle.
const REST_MAX: Duration = Duration::from_secs(1_800);

/// The result of one seed.
#[derive(Clone, Debug)]
pub struct Lifetime {
    /// The first violation, if any.
    pub violation: Option<Violation>,
    /// The story of the violation's subject.
    pub story: Vec<String>,
    /// The schedule of faults.
    pub schedule: Schedule,
    /// A fingerprint of everything that ran.
    pub digest: u64,
    /// The coverage.
    pub coverage: Coverage,
}

impl Lifetime {
    /// Runs a seed with this schedule of faults, or with the one that the seed draws.
    #[must_use]
    pub fn run<S: System>(seed: u64, schedule: Option<Schedule>) -> Self {
        let listener = Listener::default();
        metrics::with_local_recorder(&listener, || {
            let mut lifetime = live::<S>(seed, schedule);
            lifetime.coverage.visits = listener.visits();
            lifetime
        })
    }
}

fn live<S: System>(seed: u64, schedule: Option<Schedule>) -> Lifetime {
    let world = World::new(seed);
    let system = S::new(&world);
    let processes = system.processes();
    let count = processes.iter().map(|process| process.replicas).sum();
    let schedule = schedule.unwrap_or_else(|| Schedule::draw(seed, count, system.span()));
    let world = world.with_schedule(schedule.clone());
    world.furnish(processes, system.outside());
    let simulation = world.simulation().clone();
    let lived = catch_unwind(AssertUnwindSafe(|| {
        simulation.run(verdict(&system, &world))
    }));
    let violation = lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let words = text.unwrap_or("no words");
        Some(Violation::new("nothing panics", "", words))
    });
    let story = match &violation {
        Some(violation) => story::tell(&world, &violation.subject),
        None => Vec::new(),
    };
    let lifetime = Lifetime {
        story,
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
        faults: model.fired(),
        used: model.weather.used(),
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

/// Runs the lifetime. Returns the first violation.
async fn verdict<S: System>(system: &S, world: &World) -> Option<Violation> {
    world.open().await;
    system.prepare(world).await;
    world.probe().set_disturbed(true);
    let broken = go_on(system, world).await;
    world.probe().set_disturbed(false);
    if broken.is_some() {
        return broken;
    }
    world.model().set_faults(Faults::default());
    world.model().set_outages(Outages::default());
    let left = world.model().until_idle(system.horizon(), REST_MAX).await;
    if let Some(first) = left.first() {
        let detail = format!("{} items of work are left, such as: {first}", left.len());
        return Some(Violation::new(
            "the system becomes idle",
            id_in(first),
            detail,
        ));
    }
    once(world).or(system.at_rest(world).await.into_iter().next())
}

/// Returns the first id in a text.
fn id_in(text: &str) -> &str {
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words
        .find(|word| uuid::Uuid::try_parse(word).is_ok())
        .unwrap_or_default()
}

/// Runs clients and faults until both have ended. Checks invariants meanwhile.
async fn go_on<S: System>(system: &S, world: &World) -> Option<Violation> {
    let simulation = world.simulation();
    let clients = system.clients(world);
    world.set_clients(clients.len() + 1);
    let suffering = world.clone();
    let faults: super::BoxFuture<'static, ()> = Box::pin(suffering.suffer());
    for task in clients.into_iter().chain([faults]) {
        let world = world.clone();
        simulation.spawn(Box::pin(async move {
            task.await;
            world.client_is_done();
        }));
    }
    let until = simulation.elapsed() + CLIENTS_MAX;
    while world.clients_left() > 0 || world.running().len() < world.processes() {
        if let Some(broken) = system.while_running(world).into_iter().next() {
            return Some(broken);
        }
        if simulation.elapsed() > until {
            let left = world.clients_left();
            let detail = format!("{left} clients still wait for their answers");
            return Some(Violation::new("clients are served", "", detail));
        }
        simulation.sleep(LOOK).await;
    }
    None
}

/// Checks that every delivery, timer and call took effect once.
fn once(world: &World) -> Option<Violation> {
    let messages = world.model().transport.taken();
    let found = twice(&world.model().store.log(), &messages);
    let (id, what) = found.into_iter().next()?;
    Some(Violation::new("everything takes effect once", id, what))
}
