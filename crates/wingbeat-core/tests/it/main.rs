//! The adapter of `docs/writing-an-adapter.md`, line by line as the guide shows it.
#![allow(
    unreachable_pub,
    reason = "the guide's files are modules of a library crate"
)]

mod cache;
mod conformance;
mod controls;
mod guide;
mod outage;
