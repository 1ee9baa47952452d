//! Sorts new dead letters into their groups, and removes those that nobody has decided about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::store::{Position, Query, Select};
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Record, Result, Timestamp};

use super::action::Decision;
use super::dead_letter::{DEAD_LETTERS, DeadLetter};
use super::group::{GROUPS, GROUPS_MAX, Incident, OTHER, SETTLES_WITHIN, group_key, put};
use super::incidents::{Incidents, letter_key};
use super::summary::{INDEX, MARKS, Summary};
use crate::runtime::Control;
use crate::unit::{OwnTable, Scope, ServiceContext, remove, run_unit};
use crate::{decode, encode};

/// The pause between two looks at the marks.
const LOOK: Duration = Duration::from_secs(1);
/// The marks that one unit takes.
const BATCH: usize = 256;
/// The looks between two that begin at the oldest mark. Others pass over marks that were removed.
const WHOLE_EVERY: u64 = 60;
/// The looks between two that search for dead letters that expire.
const EXPIRE_EVERY: u64 = 60;
/// The dead letters that are tested for expiry at once.
const EXPIRE_BATCH: usize = 64;
/// The dead letters that are searched for marks at once. Each contains its message.
const FIND_BATCH: usize = 16;
/// The time in which dead letters that earlier releases write are searched for.
const UPGRADE: Duration = Duration::from_secs(24 * 3600);
/// The looks between two such searches.
const FIND_EVERY: u64 = 3_600;
/// The table with the time of the first search.
const SEARCH: Name = Name::new("wb.dead_search");

/// The search for dead letters of earlier releases, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Search>(SEARCH);

#[derive(Serialize, Deserialize)]
struct Search {
    began: Timestamp,
}

/// Sorts the dead letters of one service. All replicas do so; the store commits each mark once.
pub(crate) struct Sorting {
    pub(crate) service: Arc<ServiceContext>,
    /// The time for which a dead letter waits for a decision.
    pub(crate) kept: Duration,
    pub(crate) control: watch::Receiver<Control>,
}

impl Sorting {
    pub(crate) async fn run(mut self) {
        let mut looks = 0;
        while *self.control.borrow() != Control::Draining {
            if let Err(why) = self.look(looks).await {
                tracing::warn!(service = %self.service.name, code = why.code(), "cannot sort dead letters, trying again: {why}");
            }
            looks += 1;
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                () = self.service.runtime.sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, looks: u64) -> Result<()> {
        if looks.is_multiple_of(FIND_EVERY) {
            self.find_unmarked().await?;
        }
        let whole = looks.is_multiple_of(WHOLE_EVERY);
        let recent = self.service.runtime.now() - SETTLES_WITHIN;
        let mut after = (!whole).then(|| uuid_v7(recent, 0).to_string());
        while *self.control.borrow() != Control::Draining {
            match self.sort(after).await? {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        if looks % EXPIRE_EVERY == EXPIRE_EVERY - 1 {
            self.expire().await?;
        }
        Ok(())
    }

    /// Takes the marks after this one, as many as one unit takes; returns the last one.
    async fn sort(&self, after: Option<String>) -> Result<Option<String>> {
        let after = &after;
        if self
            .service
            .store
            .scan(MARKS, after.clone(), 1)
            .await?
            .is_empty()
        {
            return Ok(None);
        }
        run_unit(&self.service, |scope| async move {
            let store = &scope.service().store;
            let marks = store.scan(MARKS, after.clone(), BATCH).await?;
            let known = Known::read(&scope).await?;
            sort(&scope, &marks, known).await?;
            let last = marks.last().filter(|_| marks.len() == BATCH);
            Ok(last.map(|(id, _)| id.clone()))
        })
        .await
    }

    /// Marks dead letters that a release without marks has written.
    async fn find_unmarked(&self) -> Result<()> {
        let search = &Key::new(SEARCH, "all");
        let began = match self.service.store.load(search).await? {
            Some(record) => decode::<Search>(&record.body)?.began,
            None => self.service.runtime.now(),
        };
        if self.service.runtime.now().since(began) > UPGRADE {
            return Ok(());
        }
        let mut after = None;
        loop {
            let store = &self.service.store;
            let page = store.scan(DEAD_LETTERS, after, FIND_BATCH).await?;
            after = page.last().map(|(id, _)| id.clone());
            let unmarked: Vec<Uuid> = unmarked(&page)?;
            let ids = &unmarked;
            if !ids.is_empty() {
                run_unit(&self.service, |scope| async move {
                    for id in ids {
                        mark(&scope, *id).await?;
                    }
                    Ok::<(), wingbeat_core::Error>(())
                })
                .await?;
            }
            if after.is_none() {
                break;
            }
        }
        run_unit(&self.service, |scope| async move {
            scope.write(Write {
                key: search.clone(),
                body: Some(encode(&Search { began })),
                due_at: None,
                expires_at: None,
            })
        })
        .await
    }

    /// Discards dead letters that have waited too long.
    async fn expire(&self) -> Result<()> {
        let mut after: Option<Position> = None;
        let by = Decision::by("wingbeat").because("it has waited too long for a decision");
        loop {
            let page = self.service.store.rows(Query {
                view: INDEX,
                select: Select::All,
                after,
                limit: EXPIRE_BATCH,
            });
            let page = page.await?;
            let now = self.service.runtime.now();
            let mut young = 0;
            for (_, row) in &page.rows {
                let letter: Summary = decode(&row.body)?;
                if now.since(letter.last_at) < self.kept {
                    young += 1;
                    continue;
                }
                let incidents = Incidents {
                    service: &self.service,
                };
                incidents.discard(letter.id, ("expire", &by)).await?;
                tracing::warn!(service = %self.service.name, letter = %letter.id, "a dead letter expired");
            }
            after = page.next;
            // The ids are ordered by time, so those after a page of young ones are younger.
            if after.is_none() || young == page.rows.len() {
                return Ok(());
            }
        }
    }
}

fn unmarked(page: &[(String, Record)]) -> Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    for (_, record) in page {
        let letter: DeadLetter = decode(&record.body)?;
        if letter.mark.is_none() && !letter.discarded {
            ids.push(letter.id);
        }
    }
    Ok(ids)
}

/// Gives a dead letter a mark, unless another replica has done so.
async fn mark(scope: &Scope, id: Uuid) -> Result<()> {
    let Some(body) = scope.load(&letter_key(id)).await?.body else {
        return Ok(());
    };
    let mut letter: DeadLetter = decode(&body)?;
    if letter.mark.is_some() || letter.discarded {
        return Ok(());
    }
    letter.mark = Some(scope.new_id());
    letter.write(scope)
}

/// The groups that a unit has read.
struct Known {
    groups: BTreeMap<String, Option<Incident>>,
    /// The number of groups that the store had.
    stored: usize,
}

impl Known {
    async fn read(scope: &Scope) -> Result<Self> {
        let store = &scope.service().store;
        let stored = store.scan(GROUPS, None, GROUPS_MAX).await?.len();
        let groups = BTreeMap::new();
        Ok(Self { groups, stored })
    }

    /// Returns the group of a dead letter.
    async fn of(&mut self, scope: &Scope, letter: &Summary) -> Result<&mut Incident> {
        let own = &letter.fingerprint;
        self.load(scope, own).await?;
        let exists = self.groups[own].is_some();
        let group = if exists || self.stored < GROUPS_MAX {
            self.stored += usize::from(!exists);
            own.clone()
        } else {
            self.load(scope, OTHER).await?;
            OTHER.to_owned()
        };
        let found = self.groups.entry(group.clone()).or_default();
        Ok(found.get_or_insert_with(|| Incident::new(&group, letter)))
    }

    async fn load(&mut self, scope: &Scope, group: &str) -> Result<()> {
        if !self.groups.contains_key(group) {
            let body = scope.load(&group_key(group)).await?.body;
            let found = body.map(|body| decode(&body)).transpose()?;
            self.groups.insert(group.to_owned(), found);
        }
        Ok(())
    }
}

/// Counts marked dead letters in their groups, and writes their index rows.
async fn sort(scope: &Scope, marks: &[(String, Record)], mut known: Known) -> Result<()> {
    let keys: Vec<Key> = marks
        .iter()
        .map(|(id, _)| Key::new(MARKS, id.clone()))
        .collect();
    let loaded = try_join_all(keys.iter().map(|key| scope.load(key))).await?;
    for (key, loaded) in keys.into_iter().zip(loaded) {
        // Another replica may have taken it, or a person has retried the dead letter.
        let Some(body) = loaded.body else { continue };
        let letter: Summary = decode(&body)?;
        let incident = known.of(scope, &letter).await?;
        incident.count(&letter);
        let row = letter.row(&incident.group);
        scope.put_row(INDEX, letter.id.to_string(), Some(row))?;
        scope.write(remove(key))?;
    }
    for incident in known.groups.into_values().flatten() {
        scope.write(put(group_key(&incident.group), &incident))?;
    }
    Ok(())
}
