use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wingbeat::{Command, JsonSchema, Result, Service, ServiceContext};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamp.turn_on", version = 1, key = lamp)]
struct TurnOn {
    lamp: String,
}

async fn turn_on(_: TurnOn, _service: Arc<ServiceContext>) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = Service::new("lamp").on(turn_on);
}
