use serde::{Deserialize, Serialize};
use wingbeat::{Command, JsonSchema, Reads, Result, Scope, Service, run_unit};

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "lamp.turn_on", version = 1, key = lamp)]
struct TurnOn {
    lamp: String,
}

async fn turn_on(_: TurnOn, scope: Scope, reads: Reads) -> Result<()> {
    run_unit(&scope, |_| async { Ok(()) }).await?;
    run_unit(&reads, |_| async { Ok(()) }).await
}

fn main() {
    let _ = Service::new("lamp").on(turn_on);
}
