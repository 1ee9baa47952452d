//! The public state of a projection.

use std::collections::BTreeSet;

use wingbeat_core::Name;

use crate::rebuild::{ProjectionStatus, RebuildStatus};
use crate::state::Control;
use crate::unit::Projected;

/// Returns the states of all versions of a projection: those that have rows, and the one of this
/// release.
pub(super) fn all(service: Name, it: &Projected, control: &Control) -> Vec<RebuildStatus> {
    let mut versions: BTreeSet<u32> = control.versions.keys().copied().collect();
    versions.insert(it.version);
    let of = |version| {
        let built = control.versions.get(&version);
        let removing = built.is_some_and(|built| built.removing);
        let is_replaced = version != it.version && control.shown == Some(it.version);
        let incomplete = control.shown.is_none() && version == it.version;
        RebuildStatus {
            service,
            table: it.table.as_str().to_owned(),
            incomplete: incomplete
                .then(|| it.view.as_str().to_owned())
                .into_iter()
                .collect(),
            records: built.map_or(0, |it| it.aggregates),
            began: built
                .filter(|it| it.walk.is_some() || it.done.is_some())
                .map(|it| it.began),
            done: built.and_then(|it| it.done),
            failure: built.and_then(|it| it.failure.clone()),
            projection: Some(ProjectionStatus {
                view: it.view.as_str().to_owned(),
                version,
                shown: control.shown,
                events: built.map_or(0, |it| it.events),
                removing: removing || is_replaced,
                abandoned: control.abandoned == Some(version),
            }),
        }
    };
    versions.into_iter().map(of).collect()
}
