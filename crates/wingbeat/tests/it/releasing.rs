//! A process that ends leaves no message claimed: other processes publish the rest at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Envelope, Transport};
use wingbeat::test::executor::Group;
use wingbeat::test::{Model, Simulation};
use wingbeat::transport::Refused;
use wingbeat::{
    App, BoxFuture, Command, Event, JsonSchema, Ports, Result, Running, Service, schemars,
};

use crate::transfers::envelope;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "bell.ring", version = 1, key = bell)]
struct Ring {
    bell: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "bell.rang", version = 1, key = bell)]
struct Rang {
    bell: String,
}

async fn ring(Ring { bell }: Ring) -> Result<Rang> {
    Ok(Rang { bell })
}

/// A broker that does not answer publishers while it is stuck.
struct Stuck {
    inner: Arc<dyn Transport>,
    stuck: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<String>>>,
}

impl Transport for Stuck {
    forward_transport!(ping, declare, consume, depth);

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            if self.stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let keys = messages.iter().map(|it| it.key.clone());
            let mut accepted = self.accepted.lock().expect("nobody panics with it");
            accepted.extend(keys);
            messages.iter().map(|_| Ok(())).collect()
        })
    }
}

struct World {
    simulation: Simulation,
    model: Model,
    stuck: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let simulation = Simulation::new(3);
        Self {
            model: Model::new(simulation.runtime()),
            simulation,
            stuck: Arc::new(AtomicBool::new(true)),
            accepted: Arc::default(),
        }
    }

    fn start(&self) -> (Arc<Group>, Running) {
        let process = self.simulation.group();
        let ports = self.model.ports(&process, Arc::new(crate::ordered::Nobody));
        let transport = Stuck {
            inner: ports.transport,
            stuck: Arc::clone(&self.stuck),
            accepted: Arc::clone(&self.accepted),
        };
        let ports = Ports {
            transport: Arc::new(transport),
            ..ports
        };
        let app = App::new().service(Service::new("bell").on(ring));
        let running = self.simulation.run(app.start(ports));
        (process, running.expect("it starts"))
    }

    fn ring(&self, bells: &[&str]) {
        let commands = bells.iter().map(|bell| {
            let bell = (*bell).to_owned();
            envelope(&self.simulation, &Ring { bell })
        });
        let sent = self.model.transport.publish(commands.collect());
        let sent = self.simulation.run(sent);
        assert!(sent.iter().all(std::result::Result::is_ok), "{sent:?}");
    }

    fn accepted(&self) -> Vec<String> {
        let mut accepted = self.accepted.lock().expect("nobody panics with it").clone();
        accepted.sort();
        accepted
    }

    /// Drains a process, and ends it.
    fn drain(&self, (process, running): (Arc<Group>, Running)) {
        let began = self.simulation.runtime().elapsed();
        self.simulation.run(running.drain());
        let took = self.simulation.runtime().elapsed() - began;
        assert!(took <= Duration::from_secs(7), "draining took {took:?}");
        process.kill();
    }

    /// Starts another process on a broker that answers. Returns what it has published soon.
    fn published_by_another(&self) -> Vec<String> {
        self.stuck.store(false, Ordering::SeqCst);
        let (_process, running) = self.start();
        self.simulation.advance(Duration::from_secs(1));
        drop(running);
        let accepted = self.accepted();
        self.simulation.end();
        accepted
    }
}

#[test]
fn messages_of_a_draining_process_are_published_by_another_one_at_once() {
    let world = World::new();
    let first = world.start();
    world.ring(&["a", "b", "c"]);
    world.simulation.advance(Duration::from_secs(1));
    world.drain(first);
    assert_eq!(world.published_by_another(), ["a", "b", "c"]);
}

/// A process claims messages from the outbox for longer than those that it commits itself.
#[test]
fn messages_claimed_from_the_outbox_are_released_too() {
    let world = World::new();
    let (first, _running) = world.start();
    world.ring(&["a", "b", "c"]);
    world.simulation.advance(Duration::from_secs(1));
    first.kill();
    world.simulation.advance(Duration::from_secs(6));
    let second = world.start();
    world.simulation.advance(Duration::from_secs(1));
    world.drain(second);
    assert_eq!(world.published_by_another(), ["a", "b", "c"]);
}
