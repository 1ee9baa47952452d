use serde::{Deserialize, Serialize};
use wingbeat::{Command, JsonSchema, Result, Service, call::Http};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamp.turn_on", version = 1, key = lamp)]
struct TurnOn {
    lamp: String,
}

async fn turn_on(_: TurnOn, _http: Http) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = Service::new("lamp").on(turn_on);
}
