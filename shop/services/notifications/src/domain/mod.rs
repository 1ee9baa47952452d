//! Mails and their recipients. Pure.

mod contact;
mod mail;

pub use contact::{Contact, PENDING_MAX, Person, TooManyPending};
pub use mail::{Letter, Mail};
