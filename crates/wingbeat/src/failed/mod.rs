//! Failed deliveries: parked until their next attempt, or kept as dead letters for a person to
//! decide about.

mod broker_dead_letters;
mod dead_letter;
mod incidents;
#[cfg(feature = "personal")]
pub(crate) mod personal;
mod waiting;

pub use dead_letter::{DeadLetter, Failures};

pub(crate) use broker_dead_letters::BrokerDeadLetters;
pub(crate) use dead_letter::{
    PARKED, Parked, STORED, UNKNOWN_SOURCE, bounded, harmless, keep_unsendable, pack, parked_key,
    stand_in, unpack,
};
pub(crate) use incidents::Incidents;
pub(crate) use waiting::{WAITING, WAITS_FOR, Waiting, waiting_key, withdraw};
