//! Mails, and the people who get them. Pure.

mod contact;
mod mail;

pub use contact::{Contact, PENDING_MAX, Person, TooManyPending};
pub use mail::{Letter, Mail};
