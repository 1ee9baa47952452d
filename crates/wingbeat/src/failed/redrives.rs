//! Runs redrives, step by step.
//!
//! A redrive is a due record: any replica takes its next step, and a restart continues it. A step
//! is one unit that turns dead letters into parked deliveries that are due, so each is either the
//! one or the other. It reads the record of the redrive, and so does the unit that makes one of
//! them a dead letter again: that unit stops the redrive, and no step can follow unnoticed.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use uuid::Uuid;
use wingbeat_core::store::{DueRecord, Page, Position, Query, Select};
use wingbeat_core::{Error, Key, Name, Result};

use super::action::{self, Decision};
use super::dead_letter::{DeadLetter, PARKED};
use super::group::TakenOut;
use super::incidents::{deliver, letter_key};
use super::redrive::{Redrive, RedriveState, Selection, redrive_key};
use super::summary::{BY_GROUP, BY_SUBSCRIPTION, INDEX, Summary};
use crate::decode;
use crate::unit::{Scope, ServiceContext, run_unit, within_lease};

pub(crate) use super::redrive::REDRIVES;

/// Redrives of one service that are in progress at once.
const ACTIVE_MAX: usize = 16;
/// Redrives that are listed. They are kept for 30 days.
const LISTED_MAX: usize = 200;
/// Rows of the index that one step reads.
const ROWS: usize = 500;
/// Dead letters that are loaded at once.
const AT_ONCE: usize = 32;
/// The size of the messages after which a step takes no further dead letter, in bytes.
const STEP_BYTES: usize = 1 << 20;
/// The pauses between two looks at the delivery that is awaited: they grow with its age.
const AWAIT: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// The pause after a step that has failed.
const FAILED: Duration = Duration::from_secs(5);

/// The redrives of one service.
pub(crate) struct Redrives {
    service: Arc<ServiceContext>,
    /// The queues of its subscriptions.
    queues: BTreeSet<Name>,
}

/// Notes in the unit of `scope` that a retried delivery is a dead letter again. Stops the redrive
/// that it is part of, unless that tolerates it.
pub(crate) async fn failed_again(scope: &Scope, letter: &DeadLetter) -> Result<()> {
    let Some(run) = letter.run else {
        return Ok(());
    };
    let Some(body) = scope.load(&redrive_key(run)).await?.body else {
        return Ok(());
    };
    let mut redrive: Redrive = decode(&body)?;
    // After it has ended, all that is still in flight may fail, too. Their units must not wait for
    // one another to count that.
    if !redrive.is_active() {
        return Ok(());
    }
    let error = format!("{}: {}", letter.reason, letter.error);
    if redrive.fail(letter.id, &error, scope.now()) {
        let by = Decision::by("wingbeat").because("a dead letter failed again");
        let what = ("redrive_stopped", &*run.to_string());
        action::record(scope, &by, what, &error)?;
        tracing::warn!(service = %scope.service().name, redrive = %run, letter = %letter.id, "a redrive has stopped: {error}");
    }
    scope.write(redrive.write())
}

impl Redrives {
    pub(crate) fn new(service: Arc<ServiceContext>, queues: BTreeSet<Name>) -> Self {
        Self { service, queues }
    }

    /// Begins a redrive.
    ///
    /// # Errors
    ///
    /// `bad_selection`; `too_many_redrives`; those of the commit.
    pub(crate) async fn begin(&self, selection: Selection, by: &Decision) -> Result<Redrive> {
        selection.check()?;
        let active = self.all().await?;
        if active.iter().filter(|it| it.is_active()).count() >= ACTIVE_MAX {
            let text = format!("{ACTIVE_MAX} redrives are in progress");
            return Err(Error::reject("too_many_redrives", text));
        }
        let selection = &selection;
        run_unit(&self.service, |scope| async move {
            let redrive = Redrive::new(scope.new_id(), selection.clone(), by, scope.now());
            let what = ("redrive", &*redrive.id.to_string());
            action::record(&scope, by, what, &described(selection))?;
            scope.write(redrive.write())?;
            Ok(redrive)
        })
        .await
    }

    /// Stops a redrive; `false` if none with this id is in progress.
    pub(crate) async fn cancel(&self, id: Uuid, by: &Decision) -> Result<bool> {
        run_unit(&self.service, |scope| async move {
            let Some(body) = scope.load(&redrive_key(id)).await?.body else {
                return Ok(false);
            };
            let mut redrive: Redrive = decode(&body)?;
            if !redrive.is_active() {
                return Ok(false);
            }
            redrive.end(RedriveState::Cancelled, scope.now());
            let what = ("redrive_stopped", &*id.to_string());
            action::record(&scope, by, what, "a person has stopped it")?;
            scope.write(redrive.write())?;
            Ok(true)
        })
        .await
    }

    /// Returns the redrives, the oldest first.
    pub(crate) async fn all(&self) -> Result<Vec<Redrive>> {
        let store = &self.service.store;
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = store.scan(REDRIVES, after, LISTED_MAX).await?;
            after = page.last().map(|(id, _)| id.clone());
            for (_, record) in &page {
                all.push(decode(&record.body)?);
            }
            let surplus = all.len().saturating_sub(LISTED_MAX);
            all.drain(..surplus);
            if page.len() < LISTED_MAX {
                return Ok(all);
            }
        }
    }

    /// Takes the next step of a claimed record.
    pub(crate) async fn next(self: Arc<Self>, record: DueRecord) {
        let step = within_lease(&self.service, || self.step(&record));
        let done = AssertUnwindSafe(step).catch_unwind().await;
        let done = done.unwrap_or_else(|_| Err(Error::reject("panicked", "a step panicked")));
        // The lease expires, and a replica claims the record again.
        if let Err(why) = done {
            tracing::warn!(service = %self.service.name, redrive = record.key.id, code = why.code(), "a redrive cannot go on, trying again in {FAILED:?}: {why}");
        }
    }

    async fn step(&self, record: &DueRecord) -> Result<()> {
        run_unit(&self.service, |scope| async move {
            let loaded = scope.load(&record.key).await?;
            if loaded.body.as_ref() != Some(&record.record.body) {
                return Ok(()); // Another replica has taken the step, or it was stopped.
            }
            let redrive: Redrive = decode(&record.record.body)?;
            if !redrive.is_active() {
                return Ok(());
            }
            self.advance(&scope, redrive).await
        })
        .await
    }

    /// Takes a step in the unit of `scope`.
    async fn advance(&self, scope: &Scope, mut redrive: Redrive) -> Result<()> {
        let now = scope.now();
        if let Some(parked) = &redrive.awaited {
            let parked = Key::new(PARKED, parked.clone());
            if scope.load(&parked).await?.body.is_some() {
                let age = now.since(redrive.sent_at).max(AWAIT[0]).min(AWAIT[1]);
                redrive.next = now + age;
                return scope.write(redrive.write());
            }
            // It was handled: a failure would have stopped the redrive in the same unit.
            redrive.awaited = None;
            if redrive.state == RedriveState::Settling {
                return finish(scope, redrive);
            }
            redrive.state = RedriveState::Running;
        }
        self.deliver_some(scope, redrive).await
    }

    /// Delivers the dead letters of one step.
    async fn deliver_some(&self, scope: &Scope, mut redrive: Redrive) -> Result<()> {
        let (most, pause) = redrive.selection.step();
        let is_canary = redrive.state == RedriveState::Canary;
        let most = if is_canary { 1 } else { most };
        let (chosen, mut is_last) = self.choose(&mut redrive, most).await?;
        let mut taken = TakenOut::default();
        let (mut sent, mut bytes) = (0, 0);
        for some in chosen.chunks(AT_ONCE) {
            if bytes > STEP_BYTES {
                redrive.after.clone_from(&some[0].before);
                is_last = false;
                break;
            }
            let letters = self.letters(scope, some).await?;
            redrive.skipped += (some.len() - letters.len()) as u64;
            taken.take_indexed(scope, &letters).await?;
            for (letter, _) in letters {
                bytes += letter.size();
                redrive.latest = Some(deliver(scope, letter, Some(redrive.id))?);
                sent += 1;
            }
        }
        taken.apply(scope).await?;
        redrive.sent += sent;
        if sent > 0 {
            redrive.sent_at = scope.now();
        }
        redrive.next = (redrive.next + pause).max(scope.now());
        if is_last && redrive.sent == 0 {
            return finish(scope, redrive);
        }
        if is_canary && sent > 0 {
            redrive.awaited.clone_from(&redrive.latest);
        } else if is_last {
            redrive.state = RedriveState::Settling;
            redrive.awaited.clone_from(&redrive.latest);
        }
        scope.write(redrive.write())
    }

    /// Returns the next dead letters of the index that are selected, at most this number, and
    /// whether none follow. Moves the position behind them.
    async fn choose(&self, redrive: &mut Redrive, most: usize) -> Result<(Vec<Chosen>, bool)> {
        let page = self.rows(redrive).await?;
        let mut chosen = Vec::new();
        for (id, row) in page.rows {
            if chosen.len() == most {
                return Ok((chosen, false));
            }
            let before = redrive.after.clone();
            redrive.after = Some(position(&redrive.selection, &id, &row.columns));
            let summary: Summary = decode(&row.body)?;
            if summary.last_at <= redrive.began && redrive.selection.matches(&summary) {
                let mut columns = row.columns.into_iter();
                let group = columns.find(|(column, _)| *column == BY_GROUP);
                let group = group.map(|(_, group)| group).unwrap_or_default();
                chosen.push(Chosen {
                    id: summary.id,
                    group,
                    before,
                });
            }
        }
        Ok((chosen, page.next.is_none()))
    }

    /// Returns the next rows of the index that the selection can match.
    async fn rows(&self, redrive: &Redrive) -> Result<Page> {
        let by = |column, value: &Option<String>| {
            value.clone().map(|prefix| Select::Prefix {
                column,
                prefix,
                descending: false,
            })
        };
        let selection = &redrive.selection;
        let select = by(BY_GROUP, &selection.group)
            .or_else(|| by(BY_SUBSCRIPTION, &selection.subscription))
            .unwrap_or(Select::All);
        let query = Query {
            view: INDEX,
            select,
            after: redrive.after.clone(),
            limit: ROWS,
        };
        self.service.store.rows(query).await
    }

    /// Returns the dead letters that can be handled here, with their groups.
    async fn letters(&self, scope: &Scope, some: &[Chosen]) -> Result<Vec<(DeadLetter, String)>> {
        let keys: Vec<Key> = some.iter().map(|it| letter_key(it.id)).collect();
        let loaded = try_join_all(keys.iter().map(|key| scope.load(key))).await?;
        let mut letters = Vec::new();
        for (loaded, chosen) in loaded.into_iter().zip(some) {
            let Some(body) = loaded.body else { continue };
            let letter: DeadLetter = decode(&body)?;
            let queue = Name::intern(&letter.subscription);
            let can = self.queues.contains(&queue) && letter.message().is_some();
            if can && !letter.discarded {
                letters.push((letter, chosen.group.clone()));
            }
        }
        Ok(letters)
    }
}

/// A dead letter that a step delivers.
struct Chosen {
    id: Uuid,
    group: String,
    /// The position before it.
    before: Option<Position>,
}

fn finish(scope: &Scope, mut redrive: Redrive) -> Result<()> {
    redrive.end(RedriveState::Done, scope.now());
    let by = Decision::by("wingbeat");
    let note = format!(
        "{} delivered, {} failed again",
        redrive.sent, redrive.failed
    );
    let what = ("redrive_done", &*redrive.id.to_string());
    action::record(scope, &by, what, &note)?;
    scope.write(redrive.write())
}

/// Returns the position of a row in the order of the selection.
fn position(selection: &Selection, id: &str, columns: &[(Name, String)]) -> Position {
    let by = if selection.group.is_some() {
        Some(BY_GROUP)
    } else {
        selection.subscription.as_ref().map(|_| BY_SUBSCRIPTION)
    };
    let value = columns.iter().find(|(column, _)| Some(*column) == by);
    Position {
        value: value.map(|(_, value)| value.clone()).unwrap_or_default(),
        key: id.to_owned(),
    }
}

/// Returns a selection as text, for the log of actions.
fn described(selection: &Selection) -> String {
    let fields = [
        ("group", &selection.group),
        ("subscription", &selection.subscription),
        ("type", &selection.kind),
        ("reason", &selection.reason),
        ("key", &selection.key),
        ("error", &selection.error),
    ];
    let fields = fields.into_iter();
    let given = fields.filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    let given: Vec<String> = given.collect();
    let given = if given.is_empty() {
        "all".to_owned()
    } else {
        given.join(" ")
    };
    format!("{given}, {} a second", selection.rate)
}
