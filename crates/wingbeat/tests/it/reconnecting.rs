//! A broker that does not answer does not keep the dispatcher from its other work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use wingbeat::ports::{Consumer, Delivery, Envelope, Tag, Topology, Transport};
use wingbeat::test::{Model, Simulation};
use wingbeat::transport::{Refused, Settler};
use wingbeat::{
    App, BoxFuture, Error, Event, JsonSchema, Name, Part, Ports, Result, Running, Service, State,
    schemars,
};

use crate::ordered::Nobody;

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "doors.opened", version = 1, key = door)]
struct Opened {
    door: u32,
}

/// Handlers wait until it is open.
#[derive(Clone)]
struct Gate(watch::Receiver<bool>);

impl Part<Gate> for Gate {
    fn part(state: &Self) -> Self {
        state.clone()
    }
}

async fn note(_: Opened, State(mut gate): State<Gate>) -> Result<()> {
    let opened = gate.0.wait_for(|open| *open).await;
    opened
        .map(drop)
        .map_err(|_| Error::retry("no_gate", "it is gone"))
}

/// A broker whose first consumer can be lost. It never answers the request for a second one.
struct Silent {
    model: Model,
    lose: Arc<Notify>,
    consumers: AtomicUsize,
    waits: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Tag>>>,
}

impl Transport for Silent {
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        self.model.transport.declare(topology)
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.model.transport.ping()
    }

    fn publish(&self, messages: Vec<Envelope>) -> BoxFuture<'_, Vec<Result<(), Refused>>> {
        self.model.transport.publish(messages)
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        Box::pin(async move {
            if self.consumers.fetch_add(1, Ordering::SeqCst) > 0 {
                self.waits.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            let inner = self.model.transport.consume(queue, prefetch).await?;
            Ok(Box::new(Losable {
                inner,
                lose: Arc::clone(&self.lose),
                acknowledged: Arc::clone(&self.acknowledged),
            }) as Box<dyn Consumer>)
        })
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        self.model.transport.depth(queue)
    }
}

struct Losable {
    inner: Box<dyn Consumer>,
    lose: Arc<Notify>,
    acknowledged: Arc<Mutex<Vec<Tag>>>,
}

impl Consumer for Losable {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.lose.notified() => Err(Error::retry("consumer_lost", "as planned")),
                delivered = self.inner.next() => delivered,
            }
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Noting(Arc::clone(&self.acknowledged)))
    }
}

struct Noting(Arc<Mutex<Vec<Tag>>>);

impl Settler for Noting {
    fn acknowledge(&self, tags: &[Tag]) {
        self.0.lock().expect("nobody panics with it").extend(tags);
    }

    fn requeue(&self, _: &[Tag]) {}
}

/// A process whose handlers run while its broker does not answer any more.
struct Process {
    world: Simulation,
    running: Running,
    gate: watch::Sender<bool>,
    acknowledged: Arc<Mutex<Vec<Tag>>>,
}

fn without_broker() -> Process {
    let world = Simulation::new(1);
    let model = Model::new(world.runtime());
    let (gate, opened) = watch::channel(false);
    let (lose, waits) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(Mutex::default());
    let group = world.group();
    let silent = Silent {
        model: model.clone(),
        lose: Arc::clone(&lose),
        consumers: AtomicUsize::new(0),
        waits: Arc::clone(&waits),
        acknowledged: Arc::clone(&acknowledged),
    };
    let ports = Ports {
        transport: Arc::new(silent),
        ..model.ports(&group, Arc::new(Nobody))
    };
    let service = Service::new("alarm").with_state(Gate(opened)).on(note);
    let app = App::new().service(service).allow_unknown_owners();
    let running = world.run(app.start(ports)).expect("it starts");
    for door in 0..3 {
        world.run(model.publish(uuid::Uuid::nil().into(), &Opened { door }));
    }
    let second = Duration::from_secs(1);
    world.advance(second);
    lose.notify_one();
    world.advance(second);
    assert!(waits.load(Ordering::SeqCst), "it consumes again");
    Process {
        world,
        running,
        gate,
        acknowledged,
    }
}

impl Process {
    fn acknowledged(&self) -> usize {
        self.acknowledged
            .lock()
            .expect("nobody panics with it")
            .len()
    }
}

#[test]
fn finished_work_is_acknowledged_while_the_broker_does_not_answer() {
    let process = without_broker();
    assert_eq!(process.acknowledged(), 0);
    process.gate.send_replace(true);
    process.world.advance(Duration::from_secs(1));
    assert_eq!(process.acknowledged(), 3);
}

#[test]
fn a_process_drains_while_the_broker_does_not_answer() {
    let process = without_broker();
    process.gate.send_replace(true);
    let runtime = process.world.runtime();
    let drained = process.world.run(async {
        let limit = runtime.sleep(Duration::from_secs(60));
        tokio::select! {
            biased;
            () = process.running.drain() => true,
            () = limit => false,
        }
    });
    assert!(drained);
    assert_eq!(process.acknowledged(), 3);
}
