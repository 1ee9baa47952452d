//! A service's data: aggregates, entities, claims, views and cached reads.

mod aggregate;
mod allotment;
mod cached;
mod claims;
mod derived;
mod entity;
mod history;
#[cfg(feature = "personal")]
mod personal;
mod published;
mod reads;
mod repo;
mod shape;
mod verify;
mod view;

pub use aggregate::Aggregate;
pub(crate) use aggregate::snapshot_shape;
pub use allotment::Allotment;
pub use cached::{CacheOf, Cached};
pub use claims::Claims;
pub use derived::ViewColumns;
pub(crate) use derived::{Columns, Definition, Derived};
pub use entity::{Entity, Table};
pub use history::Upcasts;
#[cfg(feature = "personal")]
pub use personal::{Personal, Subjects, lookup_digest};
pub use published::Happened;
pub(crate) use published::{Chapter, Chapters, History, Position, Publish};
pub use reads::{Listed, Reads};
pub use repo::Repo;
pub use verify::{Difference, Verified};
pub use view::{Rows, View, ViewRow};
