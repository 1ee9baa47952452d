//! The names under which a service stores data, compared with those of its last start.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wingbeat_core::unit::Write;
use wingbeat_core::{Error, Key, Name, Result};

use super::findings::Finding;
use crate::contracts::fingerprint;
use crate::describe::{StoredKind, StoredName};
use crate::service::Wiring;
use crate::unit::{ServiceContext, run_unit};
use crate::{decode, encode};

/// The table of the record.
const NAMES: Name = Name::new("wb.names");

/// The names of a service, each with its kind; views with a fingerprint of their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names(BTreeMap<String, Option<String>>);

impl Names {
    pub(super) fn of(wiring: &Wiring) -> Self {
        let mut names = Self::default();
        for subscription in &wiring.subscriptions {
            names.add("queue", subscription.queue.as_str());
        }
        for schedule in &wiring.schedules {
            names.add("schedule", schedule.name);
        }
        let description = &wiring.description;
        for timer in &description.timers {
            names.add("timer", timer.name);
        }
        let of_routes = description
            .operations
            .iter()
            .flat_map(|it| &it.request.uses);
        let used = description.uses.iter().chain(of_routes);
        let stored = description.stored.iter().map(|it| &it.of);
        for StoredName { kind, name } in used.chain(stored) {
            match kind {
                StoredKind::Events | StoredKind::Snapshot => names.add("aggregate", name),
                kind => names.add(kind.as_str(), name),
            }
        }
        let views = description.stored.iter();
        for view in views.filter(|it| it.of.kind == StoredKind::View) {
            let name = format!("view {}", view.of.name);
            names.0.insert(name, Some(fingerprint(view.schema)));
        }
        names
    }

    fn add(&mut self, kind: &str, name: &str) {
        self.0.entry(format!("{kind} {name}")).or_default();
    }

    /// Returns the names that are gone, and the views whose rows have other fields.
    fn findings(&self, service: Name, last: &Self) -> Vec<Finding> {
        let gone = last.0.keys().filter(|name| !self.0.contains_key(*name));
        let gone = gone.map(|name| {
            let text = format!(
                "{service} no longer has the {name}, which it had at its last start: what is \
                 stored or queued under that name is not read"
            );
            Finding::warning("name_vanished", text)
        });
        let changed = self.0.iter().filter(|(name, new)| {
            let old = last.0.get(*name).and_then(Option::as_ref);
            old.is_some() && new.is_some() && old != new.as_ref()
        });
        let changed = changed.map(|(name, _)| {
            let text = format!(
                "the {name} of {service} has other fields than at its last start, and its rows \
                 were not rebuilt: older rows lack them until they are written again"
            );
            Finding::warning("view_changed", text)
        });
        gone.chain(changed).collect()
    }

    /// Stores the names in place of those of the last start, and returns what has changed.
    pub(super) async fn remember(&self, service: &Arc<ServiceContext>) -> Result<Vec<Finding>> {
        let key = Key::new(NAMES, "all");
        let last = service.store.load(&key).await?;
        let last = last.map(|record| decode::<Self>(&record.body)).transpose();
        let last = last.unwrap_or_default(); // A release that writes them in another form.
        if last.as_ref() == Some(self) {
            return Ok(Vec::new());
        }
        let key = &key;
        run_unit(service, |scope| async move {
            scope.load(key).await?;
            scope.write(Write {
                key: key.clone(),
                body: Some(encode(self)),
                due_at: None,
                expires_at: None,
            })?;
            Ok::<(), Error>(())
        })
        .await?;
        Ok(last.map_or_else(Vec::new, |last| self.findings(service.name, &last)))
    }
}
