//! The world of one lifetime: its processes, the requests to them, and their history.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::http::session::{Sessions, identify};
use crate::{Entity, HttpClient, Message, Name, Running, decode};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tower::ServiceExt as _;
use wingbeat_core::{Runtime as _, RuntimeExt as _, Timestamp};

use super::exchange::{Answer, Exchange, read};
use super::probe::Probe;
use super::process::{Build, Process};
use super::schedule::{Episode, Fault, Schedule};
use crate::test::executor::Group;
use crate::test::model::{CLIENT, lock};
use crate::test::{Model, Simulation};

/// The pause between attempts to start while store or broker are unavailable.
const RESTART: Duration = Duration::from_millis(200);

struct Cell {
    service: &'static str,
    replica: usize,
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
    cells: Vec<Cell>,
    history: Vec<Exchange>,
    outside: Option<Arc<dyn HttpClient>>,
    clients_left: usize,
}

/// The world of one lifetime. Clones share it.
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

    /// Returns the time at which it began.
    pub(super) fn begun(&self) -> Timestamp {
        self.simulation.now() - self.simulation.elapsed()
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the simulation: clock, randomness and tasks.
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

    /// Returns all requests of clients and their answers, in the order of the answers.
    #[must_use]
    pub fn history(&self) -> Vec<Exchange> {
        self.shared().history.clone()
    }

    pub(super) fn remember(&self, exchange: Exchange) {
        self.simulation.note(format!("{:?}", exchange.answer));
        self.shared().history.push(exchange);
    }

    /// Returns the running apps, one for each replica.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<Running>> {
        let shared = self.shared();
        let live = shared.cells.iter().filter_map(|cell| cell.live.as_ref());
        live.map(|live| Arc::clone(&live.running)).collect()
    }

    /// Returns the current entities of a service, for invariants.
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

    /// Publishes a message from outside of the system, until it is confirmed.
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
        self.model.weather.uses(CLIENT);
        let live: Vec<Live> = {
            let shared = self.shared();
            let known = shared.cells.iter().any(|cell| cell.service == service);
            assert!(known, "`System::processes` names no process `{service}`");
            let of_service = shared.cells.iter().filter(|cell| cell.service == service);
            let live = of_service.filter_map(|cell| cell.live.clone());
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
        let weather = &self.model.weather;
        weather.delay().await;
        let answer = receive.await.unwrap_or(Answer::Unknown);
        if weather.strikes("answer_lost", |faults| faults.answer_lost) {
            return Answer::Unknown;
        }
        answer
    }

    pub(super) fn furnish(&self, processes: Vec<Process>, outside: Arc<dyn HttpClient>) {
        let mut shared = self.shared();
        shared.outside = Some(outside);
        for process in processes {
            for replica in 0..process.replicas {
                shared.cells.push(Cell {
                    service: process.service,
                    replica,
                    build: Arc::clone(&process.build),
                    group: None,
                    live: None,
                    crashing: false,
                });
            }
        }
    }

    pub(super) fn processes(&self) -> usize {
        self.shared().cells.len()
    }

    /// Starts a process. It serves as soon as store and broker answer.
    fn launch(&self, at: usize) {
        let skew = self.schedule.skew(at);
        let group = self.simulation.skewed_group(skew);
        if skew != 0 {
            self.model.weather.count("skew");
        }
        let (build, outside) = {
            let mut shared = self.shared();
            shared.cells[at].group = Some(Arc::clone(&group));
            let outside = shared.outside.clone().expect("the world is furnished");
            (Arc::clone(&shared.cells[at].build), outside)
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
                    Err(_) => ports.runtime.sleep(RESTART).await,
                }
            };
            let sessions = Sessions::new(ports.cache.clone(), ports.runtime.clone());
            let routes = running.routes();
            let routes = routes.layer(from_fn_with_state(sessions, identify));
            world.shared().cells[at].live = Some(Live {
                group: own,
                running: Arc::new(running),
                routes,
            });
        }));
    }

    /// Starts all processes and waits until they serve.
    pub(super) async fn open(&self) {
        let processes = self.processes();
        (0..processes).for_each(|at| self.launch(at));
        while self.running().len() < processes {
            self.simulation.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Drops the app of a killed process.
    fn bury(&self, at: usize) {
        let live = {
            let mut shared = self.shared();
            let cell = &mut shared.cells[at];
            cell.crashing = false;
            let what = format!("{} {} dies", cell.service, cell.replica);
            self.model.weather.tell(what);
            cell.live.take()
        };
        drop(live);
    }

    /// Marks a process as crashing and returns its tasks; `None` if it crashes already.
    fn doomed(&self, at: usize) -> Option<Arc<Group>> {
        let mut shared = self.shared();
        let cell = &mut shared.cells[at];
        let busy = std::mem::replace(&mut cell.crashing, true);
        cell.group.clone().filter(|_| !busy)
    }

    /// Kills a process after this many polls of its tasks, and restarts it after `away`.
    async fn crash(&self, at: usize, polls: u64, away: Duration) {
        let Some(group) = self.doomed(at) else {
            return;
        };
        group.kill_after(polls);
        self.simulation.sleep(away).await;
        group.kill(); // It may have been idle, and so not have reached that many polls.
        self.bury(at);
        self.model.weather.count("crash");
        self.launch(at);
    }

    /// Applies the schedule.
    pub(super) async fn suffer(self) {
        let simulation = self.simulation.clone();
        let begun = simulation.elapsed();
        for moment in self.schedule.moments() {
            let passed = simulation.elapsed() - begun;
            simulation.sleep(moment.saturating_sub(passed)).await;
            let (faults, outages) = self.schedule.weather(moment);
            self.model.set_faults(faults);
            self.model.set_outages(outages);
            for episode in &self.schedule.episodes {
                if episode.from == moment {
                    self.begin(episode);
                }
            }
        }
    }

    fn begin(&self, episode: &Episode) {
        let lasts = episode.until - episode.from;
        let weather = &self.model.weather;
        weather.tell(format!(
            "{:?} for {:.3} s",
            episode.fault,
            lasts.as_secs_f64()
        ));
        match episode.fault {
            Fault::BrokerRestart => {
                weather.count("broker_restart");
                self.model.transport.restart();
            }
            Fault::LeasesLost => {
                weather.count("leases_lost");
                self.model.store.restart();
            }
            Fault::CacheLost => {
                weather.count("cache_lost");
                self.model.cache.lose();
            }
            Fault::Crash { process, polls } => {
                let world = self.clone();
                self.simulation.spawn(Box::pin(async move {
                    world.crash(process, polls, lasts).await;
                }));
            }
            _ => {}
        }
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
