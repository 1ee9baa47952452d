use serde::{Deserialize, Serialize};
use wingbeat::{Event, JsonSchema};

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "lamp.turned_on", version = 1, key = lmap)]
struct TurnedOn {
    lamp: String,
}

fn main() {}
