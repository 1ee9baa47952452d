//! Inventory on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod admin;
mod flash;
mod many_sales;
mod old_sales;
mod old_stock;
mod orders;
mod warehouse;
