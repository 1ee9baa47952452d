//! The whole runtime on the model, under the seeded executor.

mod cached;
mod conformance;
mod controls;
mod crashes;
mod described;
mod early;
mod found;
mod isolation;
mod misled;
mod ordered;
mod paging;
mod sessions;
mod sql;
mod suites;
mod traces;
mod transfers;
mod unsent;
