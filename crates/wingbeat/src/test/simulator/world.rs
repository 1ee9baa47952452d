//! The world of one lifetime: its processes, and the history of requests to them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::http::session::{Sessions, identify};
use crate::{Entity, Message, Name, Running, decode};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tower::ServiceExt as _;
use wingbeat_core::HttpClient;
use wingbeat_core::{Runtime as _, RuntimeExt as _, Timestamp};

use super::exchange::{Answer, Exchange, read};
use super::probe::Probe;
use super::process::{Build, Process};
use super::schedule::{Episode, Fault, Schedule};
use crate::test::executor::Group;
use crate::test::model::{CLIENT, lock};
use crate::test::{Model, Simulation};

/// The pause between attempts to start while the store or the broker is unavailable.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

struct Replica {
    service: &'static str,
    number: usize,
    build: Build,
    group: Option<Arc<Group>>,
    live: Option<Live>,
    crashing: bool,
}

#[derive(Clone)]
struct Live {
    group: Arc<Group>,
    running: Arc<Running>,
    routes: Router,
}

#[derive(Default)]
struct Shared {
    replicas: Vec<Replica>,
    history: Vec<Exchange>,
    outside: Option<Arc<dyn HttpClient>>,
    clients_left: usize,
}

/// The world of one lifetime: its processes, their data, and the history of requests. Clones share
/// it.
///
/// ```
/// use wingbeat::test::{Violation, World};
///
/// /// An invariant for `System::while_running`: no client gets an error 500.
/// fn no_internal_errors(world: &World) -> Vec<Violation> {
///     let failed = world.history().into_iter().filter(|it| it.answer.status() == 500);
///     failed.map(|it| Violation::new("no internal errors", "", it.ask.path)).collect()
/// }
/// ```
#[derive(Clone)]
pub struct World {
    seed: u64,
    simulation: Simulation,
    model: Model,
    schedule: Arc<Schedule>,
    probe: Probe,
    shared: Arc<Mutex<Shared>>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        let model = Model::new(simulation.runtime());
        Self {
            seed,
            simulation,
            model,
            schedule: Arc::default(),
            probe: Probe::default(),
            shared: Arc::default(),
        }
    }

    pub(super) fn with_schedule(self, schedule: Schedule) -> Self {
        Self {
            schedule: Arc::new(schedule),
            ..self
        }
    }

    /// Returns the time of the start.
    pub(super) fn start_time(&self) -> Timestamp {
        self.simulation.now() - self.simulation.elapsed()
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the executor: clock, randomness and tasks.
    #[must_use]
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Returns the model: store, broker and cache.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn probe(&self) -> &Probe {
        &self.probe
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Returns the requests of clients and their answers, ordered by the time of the answer.
    #[must_use]
    pub fn history(&self) -> Vec<Exchange> {
        self.shared().history.clone()
    }

    pub(super) fn record(&self, exchange: Exchange) {
        self.simulation.note(format!("{:?}", exchange.answer));
        self.shared().history.push(exchange);
    }

    /// Returns the running apps, one for each replica.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<Running>> {
        let shared = self.shared();
        let live = shared
            .replicas
            .iter()
            .filter_map(|replica| replica.live.as_ref());
        live.map(|live| Arc::clone(&live.running)).collect()
    }

    /// Returns the entities of a service, with their ids, for invariants.
    ///
    /// # Panics
    ///
    /// If a stored record is not an `E`.
    #[must_use]
    pub fn entities<E: Entity>(&self, service: &str) -> Vec<(String, E)> {
        self.records(service, E::NAME)
    }

    /// Returns the records of a service's table, decoded.
    ///
    /// # Panics
    ///
    /// If a stored record is not a `T`.
    #[must_use]
    pub fn records<T: DeserializeOwned>(&self, service: &str, table: &str) -> Vec<(String, T)> {
        let store = &self.model.store;
        let records = store.records(Name::intern(service), Name::intern(table));
        let decoded = records.into_iter().map(|(id, record)| {
            let one = decode(&record.body).expect("a record that the service stored");
            (id, one)
        });
        decoded.collect()
    }

    /// Publishes a message from outside of the system, and repeats it until the broker confirms it.
    pub async fn publish<M: Message>(&self, message: &M) {
        self.model
            .publish(self.simulation.id().into(), message)
            .await;
    }

    /// Sends a request to one of the service's replicas.
    ///
    /// # Panics
    ///
    /// If the system has no such process.
    pub(super) async fn request(&self, service: &str, request: Request<Body>) -> Answer {
        self.model.injector.record_use(CLIENT);
        let live: Vec<Live> = {
            let shared = self.shared();
            let known = shared
                .replicas
                .iter()
                .any(|replica| replica.service == service);
            assert!(known, "`System::processes` names no process `{service}`");
            let of_service = shared
                .replicas
                .iter()
                .filter(|replica| replica.service == service);
            let live = of_service.filter_map(|replica| replica.live.clone());
            live.filter(|live| live.group.is_alive()).collect()
        };
        if live.is_empty() {
            return Answer::Unreachable;
        }
        let chosen = &live[self.simulation.random() as usize % live.len()];
        let (send, receive) = oneshot::channel();
        let routes = chosen.routes.clone();
        // The request runs in the process, so a crash of the process ends it.
        chosen.group.spawn(Box::pin(async move {
            let Ok(response) = routes.oneshot(request).await;
            drop(send.send(read(response).await));
        }));
        let injector = &self.model.injector;
        injector.delay().await;
        let answer = receive.await.unwrap_or(Answer::Unknown);
        if injector.occurs("answer_lost", |faults| faults.answer_lost) {
            return Answer::Unknown;
        }
        answer
    }

    /// Adds the processes, without starting them.
    pub(super) fn set_up(&self, processes: Vec<Process>, outside: Arc<dyn HttpClient>) {
        let mut shared = self.shared();
        shared.outside = Some(outside);
        for process in processes {
            for number in 0..process.replicas {
                shared.replicas.push(Replica {
                    service: process.service,
                    number,
                    build: Arc::clone(&process.build),
                    group: None,
                    live: None,
                    crashing: false,
                });
            }
        }
    }

    pub(super) fn processes(&self) -> usize {
        self.shared().replicas.len()
    }

    /// Starts a process. It serves once the store and the broker are available.
    fn start(&self, at: usize) {
        let skew = self.schedule.skew(at);
        let group = self.simulation.skewed_group(skew);
        if skew != 0 {
            self.model.injector.count("skew");
        }
        let (build, outside) = {
            let mut shared = self.shared();
            shared.replicas[at].group = Some(Arc::clone(&group));
            let outside = shared.outside.clone().expect("the world is set up");
            (Arc::clone(&shared.replicas[at].build), outside)
        };
        let ports = self.model.ports(&group, outside);
        let (world, own) = (self.clone(), Arc::clone(&group));
        group.spawn(Box::pin(async move {
            let running = loop {
                let app = world.probe.watch(build(&ports).allow_unknown_owners());
                match app.start(ports.clone()).await {
                    Ok(running) => break running,
                    Err(why) if why.class() == crate::Class::Reject => {
                        panic!("{}: {why}", why.code())
                    }
                    Err(_) => ports.runtime.sleep(RESTART_PAUSE).await,
                }
            };
            let sessions = Sessions::new(ports.cache.clone(), ports.runtime.clone());
            let routes = running.routes();
            let routes = routes.layer(from_fn_with_state(sessions, identify));
            world.shared().replicas[at].live = Some(Live {
                group: own,
                running: Arc::new(running),
                routes,
            });
        }));
    }

    /// Starts all processes and waits until they serve.
    pub(super) async fn start_all(&self) {
        let processes = self.processes();
        (0..processes).for_each(|at| self.start(at));
        while self.running().len() < processes {
            self.simulation.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Discards the app of a killed process.
    fn discard(&self, at: usize) {
        let live = {
            let mut shared = self.shared();
            let replica = &mut shared.replicas[at];
            replica.crashing = false;
            let event = format!("{} {} dies", replica.service, replica.number);
            self.model.injector.log(event);
            replica.live.take()
        };
        drop(live);
    }

    /// Marks a process as crashing and returns its tasks. Returns `None` if it is crashing already.
    fn begin_crash(&self, at: usize) -> Option<Arc<Group>> {
        let mut shared = self.shared();
        let replica = &mut shared.replicas[at];
        let crashing = std::mem::replace(&mut replica.crashing, true);
        replica.group.clone().filter(|_| !crashing)
    }

    /// Kills a process after `polls` polls of its tasks, or else at its next commit, and restarts
    /// it after `downtime`.
    async fn crash(&self, at: usize, polls: Option<u64>, downtime: Duration) {
        let Some(group) = self.begin_crash(at) else {
            return;
        };
        match polls {
            Some(polls) => group.kill_after(polls),
            None => group.kill_at_commit(),
        }
        self.simulation.sleep(downtime).await;
        group.kill(); // An idle process reaches neither.
        self.discard(at);
        self.model.injector.count("crash");
        self.start(at);
    }

    /// Kills the replicas of a process one after another and starts each again after `downtime`, as
    /// the deployment of another release does: the function that builds the app is called again.
    pub async fn restart(&self, service: &str, downtime: Duration) {
        let replicas: Vec<usize> = {
            let shared = self.shared();
            let all = shared.replicas.iter().enumerate();
            let of_service = all.filter(|(_, replica)| replica.service == service);
            of_service.map(|(at, _)| at).collect()
        };
        for at in replicas {
            self.crash(at, Some(1), downtime).await;
        }
    }

    /// Applies the faults of the schedule at their times.
    pub(super) async fn apply_schedule(self) {
        let simulation = self.simulation.clone();
        let start = simulation.elapsed();
        for time in self.schedule.boundaries() {
            let passed = simulation.elapsed() - start;
            simulation.sleep(time.saturating_sub(passed)).await;
            let (faults, outages) = self.schedule.conditions(time);
            self.model.set_faults(faults);
            self.model.set_outages(outages);
            for episode in &self.schedule.episodes {
                if episode.from == time {
                    self.begin(episode);
                }
            }
        }
    }

    fn begin(&self, episode: &Episode) {
        let lasts = episode.until - episode.from;
        let injector = &self.model.injector;
        injector.log(format!(
            "{:?} for {:.3} s",
            episode.fault,
            lasts.as_secs_f64()
        ));
        match episode.fault {
            Fault::BrokerRestart => {
                injector.count("broker_restart");
                self.model.transport.restart();
            }
            Fault::LeasesLost => {
                injector.count("leases_lost");
                self.model.store.restart();
            }
            Fault::CacheLost => {
                injector.count("cache_lost");
                self.model.cache.lose();
            }
            Fault::Crash { process, polls } => self.begin_crash_of(process, Some(polls), lasts),
            Fault::CrashAtCommit { process } => self.begin_crash_of(process, None, lasts),
            _ => {}
        }
    }

    fn begin_crash_of(&self, process: usize, polls: Option<u64>, downtime: Duration) {
        let world = self.clone();
        self.simulation.spawn(Box::pin(async move {
            world.crash(process, polls, downtime).await;
        }));
    }

    pub(super) fn set_clients(&self, clients: usize) {
        self.shared().clients_left = clients;
    }

    pub(super) fn client_is_done(&self) {
        self.shared().clients_left -= 1;
    }

    pub(super) fn clients_left(&self) -> usize {
        self.shared().clients_left
    }
}
