//! The log of actions on dead letters and subscriptions: who did what, when and why.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat_core::text::printable;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result, ServiceStore, Timestamp};

use crate::unit::{OwnTable, Scope};
use crate::{decode, encode};

/// The table of actions. Later ones have lower ids, so a scan returns the latest first.
const ACTIONS: Name = Name::new("wb.action");
/// The time for which an action is kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// The longest text of an action, in bytes.
const TEXT_MAX: usize = 1_024;

/// Actions, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Action>(ACTIONS);

/// The person or program that acts, and the reason.
///
/// ```
/// use wingbeat::app::Decision;
///
/// let decision = Decision::by("ada").because("mended in 1.4.2");
/// # drop(decision);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub(crate) by: String,
    pub(crate) why: String,
}

impl Decision {
    /// Creates a decision of this person or program, without a reason.
    pub fn by(name: impl AsRef<str>) -> Self {
        Self {
            by: printable(name.as_ref(), TEXT_MAX),
            why: String::new(),
        }
    }

    /// Sets the reason.
    #[must_use]
    pub fn because(self, why: impl AsRef<str>) -> Self {
        Self {
            why: printable(why.as_ref(), TEXT_MAX),
            ..self
        }
    }
}

/// An action that was taken. It is kept for 90 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Action {
    /// The time.
    pub at: Timestamp,
    /// The person or program that acted.
    pub by: String,
    /// The reason that was given.
    pub why: String,
    /// `retry`, `discard`, `edit`, `redrive`, `redrive_stopped`, `redrive_done`, `pause`, `resume`
    /// or `expire`.
    pub what: String,
    /// The dead letter, the retry or the subscription.
    pub target: String,
    /// More about it, for example the error that stopped a retry.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Records an action in the unit of `scope`.
pub(crate) fn record(
    scope: &Scope,
    decision: &Decision,
    (what, target): (&str, &str),
    note: &str,
) -> Result<()> {
    let at = scope.now();
    let action = Action {
        at,
        by: decision.by.clone(),
        why: decision.why.clone(),
        what: what.into(),
        target: target.into(),
        note: printable(note, TEXT_MAX),
    };
    let later = u64::MAX - at.as_micros().max(0).unsigned_abs();
    scope.write(Write {
        key: Key::new(ACTIONS, format!("{later:016x}-{}", scope.new_id())),
        body: Some(encode(&action)),
        due_at: None,
        expires_at: Some(at + KEPT),
    })
}

/// Returns the latest actions of a service.
pub(crate) async fn latest(store: &ServiceStore, limit: usize) -> Result<Vec<Action>> {
    let records = store.scan(ACTIONS, None, limit).await?;
    let actions = records.iter().map(|(_, record)| decode(&record.body));
    actions.collect()
}
