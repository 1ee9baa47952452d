//! A service as users write it: the macros accept it.

use serde::{Deserialize, Serialize};
use wingbeat::{
    Command, Effects, Entity, Event, Handler as _, JsonSchema, Now, Parts, Result, Retry, Service,
    State, Table,
};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamp.turn_on", version = 1, key = lamp)]
struct TurnOn {
    lamp: String,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "lamp.turned_on", version = 1, key = lamp)]
struct TurnedOn {
    lamp: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Lamp {
    on: bool,
}

impl Entity for Lamp {
    const NAME: &'static str = "lamp";
    type Id = String;
}

#[derive(Clone)]
struct Brightness(u8);

#[derive(Clone, Parts)]
struct Settings {
    brightness: Brightness,
}

async fn turn_on(
    command: TurnOn,
    State(Brightness(_level)): State<Brightness>,
    Now(_now): Now,
    lamps: Table<Lamp>,
) -> Result<Option<TurnedOn>> {
    let TurnOn { lamp } = command;
    lamps.put(&lamp, Lamp { on: true })?;
    Ok(Some(TurnedOn { lamp }))
}

async fn look(event: TurnedOn) -> Result<Effects> {
    let mut effects = Effects::new();
    effects.send(&TurnOn { lamp: event.lamp });
    Ok(effects)
}

#[test]
fn a_service_of_the_domain_compiles() {
    let settings = Settings {
        brightness: Brightness(3),
    };
    let _service = Service::new("lamp")
        .with_state(settings)
        .on(turn_on.retry(Retry::default()).concurrency(8))
        .on(look);
}
