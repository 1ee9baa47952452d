//! Compares the index rows of a service's tables with their definitions, and rebuilds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;
use wingbeat_core::store::{Query, Select};
use wingbeat_core::{Name, Result, RuntimeExt as _};

use super::state::{Filled, Followings, Pass, Release, Seen, State, key};
use super::status::RebuildStatus;
use super::walk::{Page, Stopped, page};
use crate::decode;
use crate::runtime::Control;
use crate::state::{Columns, Definition, Derived};
use crate::unit::{ServiceContext, run_unit};

/// The pause between two looks at the record. A random part is added, so that replicas do not look
/// at the same time.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause after an error of the store.
const AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two pages. A page that took longer is followed by a pause as long as
/// itself, so that live units get at least half of the store's time.
const PAGE_EVERY: Duration = Duration::from_millis(25);
/// The pause after a record that cannot be read.
const FAILED: Duration = Duration::from_secs(60);
/// The number of looks after which the processes of another release have ended, if its number has
/// not changed meanwhile. They drain for ten seconds at most.
const RELEASE_ENDED: u32 = 7;
/// The number of looks without progress after which another process continues a pass.
const HOLDER_ENDED: u32 = 3;
/// The same for a pass that has met an unreadable record, which is tried again once a minute.
const FAILED_HOLDER_ENDED: u32 = 18;

/// The rows of one service's tables.
pub(crate) struct Rebuilds {
    service: Arc<ServiceContext>,
    tables: BTreeMap<String, Derived>,
    pub(super) release: Release,
    /// This process among the replicas.
    process: Uuid,
    looks: Mutex<Looks>,
    /// The time before which a page that has failed is not tried again.
    not_before: Mutex<Duration>,
    /// The projections of all releases, as of the last look.
    followings: Mutex<Followings>,
}

/// For each part of the record, the number of looks since it last changed.
#[derive(Default)]
struct Looks {
    releases: Vec<(Seen, u32)>,
    pass: Option<(Pass, u32)>,
}

impl Looks {
    /// Counts a look.
    fn count(&mut self, state: &State) {
        let before = std::mem::take(&mut self.releases);
        let known = |seen: &Seen| before.iter().find(|(it, _)| it == seen);
        let looks = |seen: &Seen| known(seen).map_or(0, |(_, looks)| looks + 1);
        let counted = state
            .releases
            .iter()
            .map(|seen| (seen.clone(), looks(seen)));
        self.releases = counted.collect();
        let before = self.pass.take();
        self.pass = state.pass.clone().map(|pass| {
            let looks = before
                .filter(|(it, _)| *it == pass)
                .map_or(0, |it| it.1 + 1);
            (pass, looks)
        });
    }
}

impl Rebuilds {
    /// Returns the rows of a service's tables, all of which count as incomplete at first.
    pub(crate) fn new(service: Arc<ServiceContext>, tables: Vec<Derived>) -> Self {
        let tables = tables.into_iter();
        let mut tables: BTreeMap<_, _> = tables
            .map(|it| (it.table.as_str().to_owned(), it))
            .collect();
        for projected in &service.projections.0 {
            if let Some(table) = tables.get_mut(projected.table.as_str()) {
                let name = projected.view.as_str().to_owned();
                let projections = &mut table.definition.projections;
                projections.insert(name, projected.version);
            }
        }
        let release = tables
            .iter()
            .map(|(table, it)| (table.clone(), it.definition.clone()));
        let rebuilds = Self {
            process: service.runtime.id(),
            release: release.collect(),
            service,
            tables,
            looks: Mutex::default(),
            not_before: Mutex::default(),
            followings: Mutex::default(),
        };
        rebuilds.apply(&State::default());
        rebuilds
    }

    /// Adds this release, before its first unit.
    pub(crate) async fn begin(&self) {
        if let Err(why) = self.look().await {
            tracing::warn!(service = %self.service.name, code = why.code(), "cannot read which index columns are complete, lists by them are refused until the store answers: {why}");
        }
    }

    /// Follows the record, and rebuilds tables, until the service drains.
    pub(crate) async fn follow(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        let runtime = &self.service.runtime;
        let mut pause = LOOK_EVERY;
        loop {
            let random = runtime.jitter(pause / 8);
            tokio::select! {
                biased;
                _ = control.changed() => return,
                () = runtime.sleep(pause + random) => {}
            }
            pause = self.turn().await.unwrap_or_else(|why| {
                tracing::debug!(service = %self.service.name, code = why.code(), "cannot look after index rows, trying again: {why}");
                AGAIN
            });
        }
    }

    /// Returns the state of each rebuild.
    pub(crate) async fn statuses(&self) -> Result<Vec<RebuildStatus>> {
        let state = self.read().await?.unwrap_or_default();
        let (service, release) = (self.service.name, &self.release);
        Ok(RebuildStatus::all(service, release, &state))
    }

    /// Looks at the record, and writes a page if it is this process's turn. Returns the pause until
    /// the next turn.
    async fn turn(&self) -> Result<Duration> {
        let Some(state) = self.look().await? else {
            return Ok(LOOK_EVERY);
        };
        if !state.is_only(&self.release) {
            self.sign().await?;
            return Ok(LOOK_EVERY);
        }
        match self.pass(state).await? {
            Some(pass) => self.page(pass).await,
            None => Ok(LOOK_EVERY),
        }
    }

    /// Reads the record and adds this release if it is missing. Returns `None` if no release has
    /// rows.
    async fn look(&self) -> Result<Option<State>> {
        let state = match self.read().await? {
            None if self.release.values().all(Definition::is_empty) => None,
            Some(state) if state.has(&self.release) => Some(state),
            state => Some(self.join(state.unwrap_or_default()).await?),
        };
        if let Some(state) = &state {
            self.apply(state);
            self.looks().count(state);
        }
        Ok(state)
    }

    /// Adds this release to the record.
    async fn join(&self, state: State) -> Result<State> {
        let mut found = BTreeMap::new();
        for (table, it) in &self.tables {
            if !state.tables.contains_key(table) && !it.definition.views.is_empty() {
                found.insert(table.clone(), self.found(it).await?);
            }
        }
        let release = &self.release;
        // Older releases may have written records of these tables without any trace here.
        let mut has_records = found.iter().any(|(table, filled)| {
            let number = release.get(table).map(|it| it.number);
            filled.number != number
        });
        for (table, it) in release {
            if !has_records && state.releases.is_empty() && !it.projections.is_empty() {
                let records = self.service.store.scan(Name::intern(table), None, 1);
                has_records = !records.await?.is_empty();
            }
        }
        self.change(|state| {
            if state.releases.is_empty() && has_records {
                state.releases.push(Seen {
                    release: None,
                    beat: 0,
                });
            }
            state.join(release, &found);
        })
        .await
    }

    /// Returns the index rows of a table that no release has described, as its records have them.
    async fn found(&self, table: &Derived) -> Result<Filled> {
        let store = &self.service.store;
        if store.scan(table.table, None, 1).await?.is_empty() {
            return Ok(Filled::by(&table.definition));
        }
        let mut views = Columns::new();
        for (view, columns) in &table.definition.views {
            if !self.has_rows(view, Select::All).await? {
                continue;
            }
            let mut complete = BTreeSet::new();
            for column in columns {
                let select = Select::Prefix {
                    column: Name::intern(column),
                    prefix: String::new(),
                    descending: false,
                };
                if self.has_rows(view, select).await? {
                    complete.insert(column.clone());
                }
            }
            views.insert(view.clone(), complete);
        }
        Ok(Filled {
            views,
            ..Filled::default()
        })
    }

    async fn has_rows(&self, view: &str, select: Select) -> Result<bool> {
        let query = Query {
            view: Name::intern(view),
            select,
            after: None,
            limit: 1,
        };
        Ok(!self.service.store.rows(query).await?.rows.is_empty())
    }

    /// Notes that this release runs, and removes those whose processes have ended.
    async fn sign(&self) -> Result<()> {
        let release = Some(&self.release);
        let ended: Vec<Seen> = {
            let looks = self.looks();
            let others = looks
                .releases
                .iter()
                .filter(|(it, _)| it.release.as_ref() != release);
            let ended = others.filter(|(_, looks)| *looks >= RELEASE_ENDED);
            ended.map(|(it, _)| it.clone()).collect()
        };
        let state = self.change(|state| {
            state.beat(&self.release);
            state.releases.retain(|it| !ended.contains(it));
        });
        self.apply(&state.await?);
        Ok(())
    }

    /// Returns the pass that this process has to continue, if any.
    async fn pass(&self, state: State) -> Result<Option<Pass>> {
        let wanted = state.wanted(&self.release);
        let Some(&first) = wanted.first() else {
            return Ok(None);
        };
        let ended = match &state.pass {
            None => true,
            Some(pass) if pass.holder == self.process => return Ok(state.pass),
            Some(pass) => {
                let ended = match pass.failure {
                    Some(_) => FAILED_HOLDER_ENDED,
                    None => HOLDER_ENDED,
                };
                let looks = self.looks();
                looks.pass.as_ref().is_some_and(|it| it.1 >= ended)
            }
        };
        if !ended {
            return Ok(None);
        }
        let began = self.service.runtime.now();
        let taken = match &state.pass {
            Some(pass) => Pass {
                holder: self.process,
                ..pass.clone()
            },
            None => Pass {
                table: first.clone(),
                holder: self.process,
                position: None,
                records: 0,
                began,
                failure: None,
            },
        };
        let changed = self.change(|now| {
            if *now == state {
                now.pass = Some(taken.clone());
            }
        });
        let pass = changed.await?.pass;
        Ok(pass.filter(|it| it.holder == self.process))
    }

    /// Writes a page, and stores the position after it. Returns the pause until the next one.
    async fn page(&self, pass: Pass) -> Result<Duration> {
        let runtime = &self.service.runtime;
        let Some(table) = self.tables.get(&pass.table) else {
            return Ok(LOOK_EVERY); // Only tables of this release are wanted.
        };
        let began = runtime.elapsed();
        if began < *lock(&self.not_before) {
            return Ok(LOOK_EVERY); // It goes on looking: other releases must not miss it.
        }
        match page(&self.service, table, &pass).await {
            Ok(page) => self.advance(&pass, page, &table.definition).await?,
            Err(Stopped::Unavailable(why)) => return Err(why),
            Err(Stopped::Failed(why)) => {
                tracing::warn!(service = %self.service.name, table = pass.table, "index rows cannot be rebuilt, trying again in a minute: {why}");
                let failed = Pass {
                    failure: Some(why),
                    ..pass.clone()
                };
                self.change(|state| {
                    if state.pass.as_ref() == Some(&pass) {
                        state.pass = Some(failed.clone());
                    }
                })
                .await?;
                *lock(&self.not_before) = runtime.elapsed() + FAILED;
                return Ok(LOOK_EVERY);
            }
        }
        Ok(runtime.elapsed().saturating_sub(began).max(PAGE_EVERY))
    }

    /// Stores the position after a page, unless another release or process has taken over.
    async fn advance(&self, pass: &Pass, page: Page, definition: &Definition) -> Result<()> {
        let now = self.service.runtime.now();
        let next = Pass {
            position: page.last.clone().or_else(|| pass.position.clone()),
            records: pass.records + page.records,
            failure: None,
            ..pass.clone()
        };
        let state = self.change(|state| {
            if state.pass.as_ref() != Some(pass) {
                return;
            }
            state.pass = Some(next.clone());
            if page.is_last {
                state.finish(definition, now);
            }
        });
        let state = state.await?;
        if page.is_last && state.pass.is_none() {
            let records = next.records;
            tracing::info!(service = %self.service.name, table = pass.table, records, "index rows were rebuilt");
        }
        self.apply(&state);
        Ok(())
    }

    async fn read(&self) -> Result<Option<State>> {
        let record = self.service.store.load(&key()).await?;
        record.map(|record| decode(&record.body)).transpose()
    }

    /// Changes the record, and returns it.
    async fn change(&self, change: impl Fn(&mut State) + Send + Sync) -> Result<State> {
        let change = &change;
        run_unit(&self.service, |scope| async move {
            let stored = scope.load(&key()).await?.body;
            let before: State = match stored {
                Some(body) => decode(&body)?,
                None => State::default(),
            };
            let mut after = before.clone();
            change(&mut after);
            if after != before {
                scope.write(after.write())?;
            }
            Ok(after)
        })
        .await
    }

    /// Refuses lists by columns that are not complete, from now on.
    fn apply(&self, state: &State) {
        self.followings().clone_from(&state.projections);
        let mut all = BTreeSet::new();
        for (table, definition) in &self.release {
            let filled = state.tables.get(table);
            for (view, columns) in &definition.views {
                let complete = filled.and_then(|it| it.views.get(view));
                let view = Name::intern(view);
                if complete.is_none() {
                    all.insert((view, None));
                }
                let lacks = |column: &&String| complete.is_none_or(|it| !it.contains(*column));
                let columns = columns.iter().filter(lacks);
                all.extend(columns.map(|column| (view, Some(Name::intern(column)))));
            }
        }
        self.service.incomplete.set(all);
    }

    pub(super) fn followings(&self) -> MutexGuard<'_, Followings> {
        lock(&self.followings)
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        lock(&self.looks)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
