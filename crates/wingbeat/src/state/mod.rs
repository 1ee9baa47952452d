//! A service's data: aggregates, entities, claims, views and cached reads.

mod aggregate;
mod allotment;
mod cached;
mod check;
mod claims;
mod derived;
mod entity;
mod history;
mod past;
#[cfg(feature = "personal")]
mod personal;
mod projection;
mod published;
mod reads;
mod repo;
mod shape;
mod table;
#[cfg(feature = "personal")]
mod veil;
mod verify;
mod view;

pub use aggregate::Aggregate;
pub(crate) use aggregate::snapshot_shape;
pub use allotment::Allotment;
pub use cached::{CacheOf, Cached};
pub(crate) use check::settled;
pub use claims::Claims;
pub use derived::ViewColumns;
pub(crate) use derived::{CheckRecord, Columns, Definition, Derived};
pub use entity::Entity;
pub use history::Upcasts;
#[cfg(feature = "host")]
pub(crate) use past::masked;
pub use past::{PastRecord, PastState};
#[cfg(feature = "personal")]
pub(crate) use personal::STORED;
#[cfg(feature = "personal")]
pub use personal::{Personal, Subjects, lookup_digest};
pub(crate) use projection::{
    Applied, Applying, Built, Control, Keys, Parts, Projecting, Recount,
    STORED as PROJECTIONS_STORED, Walk, WrongRow,
};
pub use projection::{Changes, PastEvent, Projection};
pub use published::Happened;
pub(crate) use published::{Chapter, Chapters, History, Position, Publish};
pub use reads::{Listed, Reads};
pub use repo::Repo;
pub use table::Table;
#[cfg(feature = "personal")]
pub(crate) use veil::{Stand, Veil};
pub use verify::{Difference, Verified};
pub(crate) use view::{CheckRow, CheckedView};
pub use view::{Rows, View, ViewRow};
