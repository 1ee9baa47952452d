use serde::{Deserialize, Serialize};
use wingbeat::{Command, JsonSchema, Reads, Result, Scope, Service};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamp.turn_on", version = 1, key = lamp)]
struct TurnOn {
    lamp: String,
}

async fn turn_on(_: TurnOn, scope: Scope, reads: Reads) -> Result<()> {
    let _ = scope.service();
    let _ = reads.service();
    Ok(())
}

fn main() {
    let _ = Service::new("lamp").on(turn_on);
}
