use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event, JsonSchema, Result, Service};

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

async fn turn_on(_: TurnOn, _level: u8) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = Service::new("lamp").on(turn_on);
}
