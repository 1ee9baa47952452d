//! The rows of projections: built from stored histories, and kept up to date.
//!
//! A unit that appends events notes the aggregate in a row of its own, for each projection of its
//! type. One process takes these notes, reads the events after the checkpoint of each aggregate,
//! and writes rows and checkpoints in one unit ([`page`]). The same unit reads and writes the
//! record of the projection ([`Control`](crate::state::Control)), so that no other unit writes the
//! same rows.
//!
//! What no release has noted is found by a walk over all aggregates. It begins when a version is
//! new, and again after a release without this version has run
//! ([`Releases`](crate::rebuild::Releases)). When the walk is complete and no note is left, readers
//! see the new version, and the rows of the old one are removed.

mod keeper;
mod page;
mod status;

pub(crate) use keeper::{Projections, Registered};
