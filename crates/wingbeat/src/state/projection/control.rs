//! The stored state of a projection.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::store::ServiceStore;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result, Timestamp};

use crate::unit::{OwnTable, Scope};
use crate::{decode, encode};

/// The table of these records; ids are the names of projections.
const PROJECTIONS: Name = Name::new("wb.projection");

/// The records, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Control>(PROJECTIONS);

/// The stored views of one version of a projection.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    /// Its rows.
    pub(crate) rows: Name,
    /// A checkpoint for each aggregate.
    pub(crate) progress: Name,
    /// A row for each unit that has appended events to an aggregate: the events may not count yet.
    pub(crate) changed: Name,
}

impl Parts {
    pub(crate) fn of(view: &str, version: u32) -> Self {
        let part = |kind: &str| Name::intern(&format!("wb.{kind}.{view}.{version}"));
        Self {
            rows: part("projected"),
            progress: part("progress"),
            changed: part("changed"),
        }
    }

    pub(crate) const fn all(self) -> [Name; 3] {
        [self.rows, self.progress, self.changed]
    }
}

/// The state of a projection. Every unit that writes rows or checkpoints of any version reads and
/// writes this record, so that no two of them take effect on the same rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Control {
    /// The version whose rows readers see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<u32>,
    /// The versions that have rows.
    pub(crate) versions: BTreeMap<u32, Built>,
    /// A version that an operator has abandoned, so that it is not built again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) abandoned: Option<u32>,
}

/// A version of a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Built {
    pub(crate) columns: BTreeSet<String>,
    /// The process that applies events.
    pub(crate) holder: Uuid,
    /// The number of units that have changed this version, so that others see that its holder is
    /// at work.
    pub(crate) units: u64,
    pub(crate) began: Timestamp,
    /// The walk over all aggregates; `None` between walks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) walk: Option<Walk>,
    /// The time at which the last walk was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<Timestamp>,
    /// The aggregates of the current walk, or of the last one.
    pub(crate) aggregates: u64,
    /// The events that count.
    pub(crate) events: u64,
    /// Its rows are being removed.
    #[serde(default)]
    pub(crate) removing: bool,
    /// The error because of which it does not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// A walk over all aggregates, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walk {
    /// The id up to which all aggregates were visited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<String>,
}

impl Built {
    pub(crate) fn new(columns: &[&str], holder: Uuid, began: Timestamp) -> Self {
        Self {
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            holder,
            units: 0,
            began,
            walk: None,
            done: None,
            aggregates: 0,
            events: 0,
            removing: false,
            failure: None,
        }
    }
}

impl Control {
    fn key(view: Name) -> Key {
        Key::new(PROJECTIONS, view.as_str())
    }

    /// Reads the record outside a unit.
    pub(crate) async fn read(store: &ServiceStore, view: Name) -> Result<Self> {
        let record = store.load(&Self::key(view)).await?;
        let decoded = record.map(|it| decode(&it.body)).transpose()?;
        Ok(decoded.unwrap_or_default())
    }

    /// Reads the record in a unit.
    pub(crate) async fn load(scope: &Scope, view: Name) -> Result<Self> {
        let body = scope.load(&Self::key(view)).await?.body;
        Ok(body.map(|it| decode(&it)).transpose()?.unwrap_or_default())
    }

    /// Writes the record, or removes it if it is empty.
    pub(crate) fn write(&self, scope: &Scope, view: Name) -> Result<()> {
        scope.write(Write {
            key: Self::key(view),
            body: (*self != Self::default()).then(|| encode(self)),
            due_at: None,
            expires_at: None,
        })
    }

    /// Returns whether a version is shown, follows new events, and has no predecessor left.
    pub(crate) fn is_settled(&self, version: u32) -> bool {
        let is_idle = |built: &Built| built.walk.is_none() && !built.removing;
        self.shown == Some(version)
            && self.versions.len() == 1
            && self.versions.get(&version).is_some_and(is_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_does_not_change() {
        let built = Built {
            walk: Some(Walk {
                position: Some("7".into()),
            }),
            aggregates: 128,
            ..Built::new(&["day"], Uuid::nil(), Timestamp::from_micros(0))
        };
        let control = Control {
            shown: Some(1),
            versions: [(2, built)].into(),
            abandoned: None,
        };
        let stored = r#"{"shown":1,"versions":{"2":{"columns":["day"],"holder":"00000000-0000-0000-0000-000000000000","units":0,"began":"1970-01-01T00:00:00.000000Z","walk":{"position":"7"},"aggregates":128,"events":0,"removing":false}}}"#;
        assert_eq!(encode(&control), stored.as_bytes());
        assert_eq!(decode::<Control>(stored.as_bytes()).unwrap(), control);
    }
}
