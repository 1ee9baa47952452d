//! The descriptions of what a service stores.

use wingbeat_core::SchemaOf;

/// A kind of stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoredKind {
    /// The events of an aggregate.
    Events,
    /// The state of an aggregate at its last event.
    Snapshot,
    /// The records of an entity.
    Entity,
    /// The rows of a view.
    View,
    /// The states of a saga.
    Saga,
    /// The calls to an outside system that wait for their turn.
    Call,
}

impl StoredKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Snapshot,
        Self::Entity,
        Self::View,
        Self::Saga,
        Self::Call,
    ];

    /// Returns its name in files and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Snapshot => "snapshot",
            Self::Entity => "entity",
            Self::View => "view",
            Self::Saga => "saga",
            Self::Call => "call",
        }
    }
}

/// Stored data that a handler, a saga or a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct StoredName {
    /// Its kind.
    pub kind: StoredKind,
    /// The name under which it is stored.
    pub name: &'static str,
}

impl StoredName {
    /// Creates the name of stored data.
    #[must_use]
    pub const fn new(kind: StoredKind, name: &'static str) -> Self {
        Self { kind, name }
    }
}

/// Stored data with its schema.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StoredType {
    /// Its kind and name.
    pub of: StoredName,
    /// The schema of the stored JSON.
    pub schema: SchemaOf,
    /// Returns a number that says how the data is read: the number of
    /// [upcasts](crate::Aggregate::upcasts) of events, the shape of a snapshot; `None` for other
    /// kinds.
    pub form: Option<fn() -> u32>,
    /// Returns the form of events that this release writes, if it is an earlier one.
    pub writes: Option<fn() -> u32>,
}

impl StoredType {
    /// Creates the description of stored data.
    #[must_use]
    pub const fn new(of: StoredName, schema: SchemaOf, form: Option<fn() -> u32>) -> Self {
        Self {
            of,
            schema,
            form,
            writes: None,
        }
    }

    /// Sets the form of events that this release writes.
    #[must_use]
    pub const fn writing(self, form: fn() -> u32) -> Self {
        Self {
            writes: Some(form),
            ..self
        }
    }
}
