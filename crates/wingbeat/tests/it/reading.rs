//! A process that reads the data of a system and runs nothing of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::run::RunningSystem;
use wingbeat::test::{Model, Simulation};
use wingbeat::{
    App, Command, Event, JsonSchema, Name, Result, Runtime as _, RuntimeExt as _, Service, schemars,
};

#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "doors.open", version = 1, key = door)]
struct Open {
    door: String,
}

#[derive(Event, Serialize, Deserialize, JsonSchema)]
#[event(name = "doors.opened", version = 1, key = door)]
struct Opened {
    door: String,
}

async fn open(command: Open) -> Result<Opened> {
    Ok(Opened { door: command.door })
}

fn doors() -> App {
    App::new().service(Service::new("doors").on(open))
}

#[test]
fn a_system_that_is_only_read_handles_nothing_and_shows_what_others_store() {
    let simulation = Simulation::new(1);
    let world = simulation.clone();
    simulation.run(async move {
        let model = Model::new(world.runtime());
        let outside = wingbeat::call::HyperClient::new();
        let ports = model.ports(&world.group(), outside);
        let system = RunningSystem::reading(doors(), &ports).await;
        let system = system.expect("it opens");
        let reads = system.reads("doors").expect("all services can be read");
        let minute = Duration::from_secs(60);
        let waiting = async || {
            world.sleep(minute).await;
            let depth = ports.transport.depth(Name::new("doors.open")).await;
            depth.expect("the queue exists")
        };

        model
            .publish(
                world.id().into(),
                &Open {
                    door: "front".into(),
                },
            )
            .await;
        assert_eq!(waiting().await, 1);
        assert_eq!(reads.counters().await.expect("they are read"), []);

        let _running = doors().start(ports.clone()).await.expect("it starts");
        assert_eq!(waiting().await, 0);
        let counters = reads.counters().await.expect("they are read");
        let handled = counters
            .iter()
            .find(|(name, _)| name.as_str() == "handled:doors.open");
        assert_eq!(handled.map(|(_, count)| *count), Some(1), "{counters:?}");
    });
}
