//! Mails and their recipients. Pure.

mod contact;
mod mail;
mod person;

pub use contact::{Contact, PENDING_MAX, TooManyPending};
pub use mail::{Letter, Mail};
pub use person::Person;
