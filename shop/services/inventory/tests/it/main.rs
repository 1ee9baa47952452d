//! Inventory on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod admin;
mod flash;
mod old_sales;
mod orders;
mod warehouse;
