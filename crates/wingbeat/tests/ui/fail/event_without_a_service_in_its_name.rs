use serde::{Deserialize, Serialize};
use wingbeat::{Event, JsonSchema};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "turned_on", version = 1, key = lamp)]
struct TurnedOn {
    lamp: String,
}

fn main() {}
