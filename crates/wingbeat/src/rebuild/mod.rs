//! Rebuilds: a release with other index columns writes the rows of older records again.
//!
//! Each service keeps one record ([`state`]) with the definitions of the releases whose processes
//! run, and with the complete columns: those that every record of a table has. A process adds its
//! release when it starts ([`keeper`]), before it writes rows. While processes of several releases
//! run, each of them increases a number in the record from time to time. A release whose number no
//! longer changes has ended, and writes no more rows in its form.
//!
//! Then one process walks each table that lacks columns, a page at a time ([`walk`]), and stores
//! its position after each page. If it ends, another process continues. No process compares clocks
//! with others: each counts how often it has read the record without a change.
//!
//! Until a column is complete, lists by it are refused with `index_incomplete`
//! ([`Incomplete`](crate::unit::Incomplete)).

mod keeper;
mod releases;
mod state;
mod status;
mod walk;

pub(crate) use keeper::Rebuilds;
pub(crate) use releases::Releases;
pub(crate) use state::{Followed, STORED, pending};
pub use status::{ProjectionStatus, RebuildStatus};
