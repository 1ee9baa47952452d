//! Replays: a subscription [from the beginning](crate::Handler::from_beginning) receives the events
//! that were published before it existed.
//!
//! The subscriber's first process asks the owner of the event ([`ask`]). The owner keeps one record
//! for each subscription ([`Replays`]). It sends one chapter of its histories at a time, and a mark
//! after it; the subscriber confirms the mark once it has settled all messages of the chapter
//! ([`Begins::run`]). Until the last mark, the subscription consumes nothing else ([`Gate`]).
//!
//! `docs/adr/0008-the-owner-replays-its-histories.md` says why there is no gap and no double.

mod owner;
mod subscriber;
mod wire;

pub use owner::ReplayStatus;

pub(crate) use owner::{Histories, REPLAYS, Replays, answer};
pub(crate) use subscriber::{Begins, Gate, ask, inbox, is_out_of_order};
pub(crate) use wire::request_type;

use crate::unit::OwnTable;

/// The tables of replays, for the verification of what is stored.
pub(crate) const STORED: [OwnTable; 2] = [owner::STORED, subscriber::STORED];
