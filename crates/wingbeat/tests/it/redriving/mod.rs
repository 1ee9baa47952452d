//! Dead letters by cause, and redrives: many dead letters that are handled again, a canary first.

mod groups;
mod kills;
mod runs;
mod switching;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::app::{Decision, Incident, Redrive, RedriveState, Selection};
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::{
    App, Entity, Error, Event, JsonSchema, Name, Parts, Result, Running, Service, State, Table,
    schemars,
};

use crate::found::Nowhere;
use crate::transfers::publish;

const SERVICE: Name = Name::new("loans");

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "library.book_lent", version = 1, key = reader)]
struct BookLent {
    reader: String,
    book: u32,
    /// The error with which its handler fails until it is mended.
    fault: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Loan {
    times: u32,
}

impl Entity for Loan {
    const NAME: &'static str = "loan";
    type Id = u32;
}

/// What the handlers of all processes share.
#[derive(Clone, Default, Parts)]
struct Shared {
    /// Set once the handler can handle every message.
    mended: Arc<AtomicBool>,
}

async fn lend(
    event: BookLent,
    loans: Table<Loan>,
    State(mended): State<Arc<AtomicBool>>,
) -> Result<()> {
    match event.fault {
        Some(fault) if fault == "poison" || !mended.load(Ordering::Relaxed) => {
            let code = if fault == "poison" { "poison" } else { "lost" };
            return Err(Error::reject(code, format!("{fault}: book {}", event.book)));
        }
        _ => {}
    }
    let lent = loans.update(&event.book, |known| Loan {
        times: known.unwrap_or_default().times + 1,
    });
    lent.await.map(drop)
}

/// A store and a broker, and the processes of one service.
struct World {
    simulation: Simulation,
    model: Model,
    shared: Shared,
}

struct Process {
    running: Running,
    group: Arc<Group>,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let model = Model::new(simulation.runtime());
        Self {
            simulation,
            model,
            shared: Shared::default(),
        }
    }

    fn start(&self) -> Process {
        self.start_with(|service| service)
    }

    fn start_with(&self, change: impl FnOnce(Service<Shared>) -> Service<Shared>) -> Process {
        let group = self.simulation.group();
        let ports = self.model.ports(&group, Arc::new(Nowhere));
        let service = Service::new("loans").with_state(self.shared.clone());
        let app = App::new().service(change(service.on(lend)));
        let running = self.simulation.run(app.outside(["library"]).start(ports));
        let running = running.expect("it starts");
        Process { running, group }
    }

    fn lend(&self, book: u32, fault: Option<&str>) {
        let message = BookLent {
            reader: format!("reader-{}", book % 5),
            book,
            fault: fault.map(str::to_owned),
        };
        let sent = publish(&self.simulation, &self.model, &message);
        self.simulation.run(sent);
    }

    /// Makes dead letters, and waits until they are sorted.
    fn fail(&self, books: std::ops::Range<u32>, fault: &str) {
        for book in books {
            self.lend(book, Some(fault));
        }
        self.pass(5);
    }

    fn pass(&self, seconds: u64) {
        self.simulation.advance(Duration::from_secs(seconds));
    }

    fn mend(&self) {
        self.shared.mended.store(true, Ordering::Relaxed);
    }

    fn incidents(&self, process: &Process) -> Vec<Incident> {
        let incidents = process.running.incidents_of(SERVICE);
        self.simulation.run(incidents).expect("the store reads")
    }

    fn letters(&self, process: &Process) -> usize {
        let letters = process.running.dead_letters(SERVICE);
        self.simulation.run(letters).expect("the store reads").len()
    }

    /// Returns how often the effect of each book took place.
    fn times(&self, process: &Process, books: std::ops::Range<u32>) -> Vec<u32> {
        let reads = process.running.reads("loans").expect("it runs");
        let times = books.map(|book| {
            let loan = self.simulation.run(reads.entity::<Loan>(&book));
            loan.expect("the store reads").unwrap_or_default().times
        });
        times.collect()
    }

    fn redrive(&self, process: &Process, selection: Selection) -> Redrive {
        let by = Decision::by("ada").because("it is mended");
        let begun = process.running.redrive(SERVICE, selection, &by);
        let begun = self.simulation.run(begun).expect("it begins");
        begun.expect("the service runs")
    }

    /// Returns the only redrive.
    fn state(&self, process: &Process) -> Redrive {
        let all = process.running.redrives_of(SERVICE);
        let all = self.simulation.run(all).expect("the store reads");
        let [only] = all.as_slice() else {
            panic!("not one redrive: {all:?}");
        };
        only.clone()
    }

    fn until_ended(&self, process: &Process) -> Redrive {
        for _ in 0..300 {
            let redrive = self.state(process);
            if !redrive.is_active() {
                return redrive;
            }
            self.simulation.advance(Duration::from_millis(500));
        }
        panic!("it does not end: {:?}", self.state(process));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.simulation.end();
    }
}

/// Selects a group.
fn group(incident: &Incident, rate: u32) -> Selection {
    let mut selection = Selection::default();
    selection.group = Some(incident.group.clone());
    selection.rate = rate;
    selection
}

/// Returns what was recorded: the actions, their authors and their reasons, the first one first.
fn actions(world: &World, process: &Process) -> Vec<[String; 3]> {
    let actions = process.running.actions(SERVICE, 100);
    let actions = world.simulation.run(actions).expect("the store reads");
    let actions = actions.into_iter().rev();
    actions.map(|it| [it.what, it.by, it.why]).collect()
}

fn is(state: RedriveState, redrive: &Redrive) -> bool {
    redrive.state == state
}
