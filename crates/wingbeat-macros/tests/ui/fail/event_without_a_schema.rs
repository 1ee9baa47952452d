use serde::{Deserialize, Serialize};
use wingbeat::Event;

#[derive(Event, Clone, Serialize, Deserialize)]
#[event(name = "lamp.turned_on", version = 1, key = lamp)]
struct TurnedOn {
    lamp: String,
}

fn main() {}
