//! Rebuilds: a release with other index columns writes the rows of older records again.
//!
//! Each service keeps one record ([`state`]) with the definitions of the releases whose processes
//! run, and with the columns that every record of a table shows. A process adds its release when it
//! starts ([`keeper`]), before it writes rows. While processes of several releases run, each of
//! them notes now and then that it is alive, so that the others recognize when it has ended; only
//! then are rows of another form no longer written.
//!
//! Then one process walks each table that lacks columns, a page at a time ([`walk`]), and stores
//! its position after each page. Another process continues if it ends. No process compares clocks
//! of others: it counts its own looks at a record that does not change.
//!
//! Until a column is complete, lists by it are refused with `index_incomplete`
//! ([`Incomplete`](crate::unit::Incomplete)).

mod keeper;
mod state;
mod status;
mod walk;

pub(crate) use keeper::Rebuilds;
pub(crate) use state::{STORED, pending};
pub use status::RebuildStatus;
