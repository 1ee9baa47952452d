//! Mails and their recipients. Pure.

mod contact;
mod letter;
mod mail;
mod person;

pub use contact::{Contact, PENDING_MAX, TooManyPending};
pub use letter::{Letter, one_line};
pub use mail::Mail;
pub use person::Person;
