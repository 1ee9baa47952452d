//! Runs subscriptions: takes messages from a queue, and runs its handler.

mod attempt;
mod batch;
mod dispatcher;
mod forwarding;
mod in_flight;
mod intake;
mod lanes;
mod limits;
mod next_step;
mod outages;
mod pauses;
mod settling;
mod stored;
mod switch;
mod tenancy;
mod work;

pub use pauses::Pause;
pub use work::Stats;

pub(crate) use dispatcher::Dispatcher;
pub(crate) use limits::{LIMITS_STORED, Limiting};
pub(crate) use pauses::{Controlled, Pauses, STORED};
pub(crate) use switch::Switch;
pub(crate) use work::{Origin, Subscription, Work, short_name};
