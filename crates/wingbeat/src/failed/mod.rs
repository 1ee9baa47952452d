//! Failed deliveries: parked until their next attempt, or kept as dead letters for a person to
//! decide about.
//!
//! Dead letters are sorted by cause ([`group`]), and retried alone ([`incidents`]) or many at a
//! bounded rate ([`redrives`]). [`action`] records who decided what, and why.

mod action;
mod broker_dead_letters;
mod dead_letter;
mod group;
mod incidents;
#[cfg(feature = "personal")]
pub(crate) mod personal;
mod redrive;
mod redrives;
mod sorting;
mod summary;
mod waiting;

use crate::unit::OwnTable;

pub use action::{Action, Decision};
pub use dead_letter::{DeadLetter, Failures};
pub use group::Incident;
pub use redrive::{Redrive, RedriveState, Selection};
pub use summary::Summary;

pub(crate) use action::{latest as latest_actions, record as record_action};
pub(crate) use broker_dead_letters::BrokerDeadLetters;
pub(crate) use dead_letter::{
    PARKED, Parked, Retried, UNKNOWN_SOURCE, bounded, harmless, keep_unsendable, pack, parked_key,
    stand_in, unpack,
};
pub(crate) use group::{groups, letters};
pub(crate) use incidents::Incidents;
pub(crate) use redrives::{REDRIVES, Redrives, failed_again};
pub(crate) use sorting::Sorting;
pub(crate) use waiting::{WAITING, WAITS_FOR, Waiting, waiting_key, withdraw};

/// The tables of this module, for the verification of what is stored.
pub(crate) const STORED: [OwnTable; 6] = [
    dead_letter::STORED,
    group::STORED[0],
    group::STORED[1],
    redrive::STORED,
    action::STORED,
    sorting::STORED,
];
