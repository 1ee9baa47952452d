//! The parked deliveries and dead letters of one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Error, Key, Name, Result};

use super::action::{self, Decision};
use super::dead_letter::{
    DEAD_LETTERS, DeadLetter, Failures, PARKED, Parked, Retried, pack, parked_key,
};
use super::group::TakenOut;
use super::waiting::WAITING;
use crate::unit::{self, Attempt, Meta, Scope, ServiceContext, counter, due, remove};
use crate::{decode, encode};

/// The parked deliveries read at once.
const PAGE: usize = 1_000;
/// The dead letters read at once. Each contains its message, which may be large.
const LETTERS_AT_ONCE: usize = 16;
/// The table of discarded dead letters. They have one of their own, so that listing the others does
/// not read them. Early releases marked them in the table of dead letters.
const DISCARDED: Name = Name::new("wb.discarded");
/// The time for which a discarded dead letter is kept.
const DISCARDED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The failed deliveries of one service.
pub(crate) struct Incidents<'a> {
    pub(crate) service: &'a Arc<ServiceContext>,
}

impl Incidents<'_> {
    /// Counts the parked deliveries by queue, those that wait for another release included.
    pub(crate) async fn parked(&self) -> Result<BTreeMap<Name, u64>> {
        let mut counts = BTreeMap::new();
        for table in [PARKED, WAITING] {
            self.count(table, &mut counts).await?;
        }
        Ok(counts)
    }

    async fn count(&self, table: Name, counts: &mut BTreeMap<Name, u64>) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.service.store.scan(table, after, PAGE).await?;
            after = page.last().map(|(id, _)| id.clone());
            for (_, record) in page {
                let parked: Parked = decode(&record.body)?;
                *counts.entry(Name::intern(&parked.queue)).or_default() += 1;
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Returns the dead letters that were not discarded, by id.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        self.page(None, usize::MAX).await
    }

    /// Returns at most `limit` dead letters that were not discarded, by id, from after an id.
    pub(crate) async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        let mut after = after.map(|id| id.to_string());
        while letters.len() < limit {
            let page = self
                .service
                .store
                .scan(DEAD_LETTERS, after, LETTERS_AT_ONCE)
                .await?;
            let is_last = page.len() < LETTERS_AT_ONCE;
            after = page.last().map(|(id, _)| id.clone());
            for (_, record) in page {
                let letter: DeadLetter = decode(&record.body)?;
                if !letter.discarded && letters.len() < limit {
                    letters.push(letter);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(letters)
    }

    /// Returns the dead letter with this id, unless it was discarded.
    pub(crate) async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>> {
        let Some(record) = self.service.store.load(&letter_key(id)).await? else {
            return Ok(None);
        };
        let letter: DeadLetter = decode(&record.body)?;
        Ok((!letter.discarded).then_some(letter))
    }

    /// Delivers a dead letter to its subscription again; `false` if there is none with this id.
    /// `runs_here` returns whether a queue has a subscription in this process.
    ///
    /// # Errors
    ///
    /// `undecodable` if its message cannot be read; `unknown_subscription` if its subscription does
    /// not run here; those of the commit.
    pub(crate) async fn retry(
        &self,
        id: Uuid,
        runs_here: impl Fn(Name) -> bool + Send + Sync,
        by: &Decision,
    ) -> Result<bool> {
        self.change(id, ("retry", by), |scope, letter| {
            if letter.message().is_none() {
                return Err(Error::reject(
                    "undecodable",
                    "the message of the dead letter cannot be read",
                ));
            }
            let queue = Name::intern(&letter.subscription);
            if !runs_here(queue) {
                let text = format!("no subscription {queue} runs here");
                return Err(Error::reject("unknown_subscription", text));
            }
            deliver(scope, letter, None).map(drop)
        })
        .await
    }

    /// Discards a dead letter; `false` if there is none with this id. The store deletes it after
    /// [`DISCARDED_RETENTION`].
    pub(crate) async fn discard(&self, id: Uuid, (what, by): (&str, &Decision)) -> Result<bool> {
        self.change(id, (what, by), |scope, letter| {
            let letter = DeadLetter {
                discarded: true,
                ..letter
            };
            scope.write(remove(letter_key(id)))?;
            scope.write(Write {
                key: Key::new(DISCARDED, id.to_string()),
                body: Some(encode(&letter)),
                due_at: None,
                expires_at: Some(scope.now() + DISCARDED_RETENTION),
            })
        })
        .await
    }

    /// Replaces the body of a dead letter's message; `false` if there is none with this id. The
    /// caller has checked the body.
    ///
    /// # Errors
    ///
    /// `undecodable` if its message cannot be read; `not_editable` if its body is encrypted or
    /// stored elsewhere, or its signature was not verified; those of the commit.
    pub(crate) async fn edit(&self, id: Uuid, body: &Bytes, by: &Decision) -> Result<bool> {
        self.apply(id, ("edit", by), |scope, mut letter| {
            let letter = letter.edited(body.clone(), scope.now())?;
            scope.write(Write {
                key: letter_key(id),
                body: Some(encode(letter)),
                due_at: None,
                expires_at: None,
            })
        })
        .await
    }

    /// Takes a dead letter out of its group, and changes it.
    async fn change(
        &self,
        id: Uuid,
        action: (&str, &Decision),
        change: impl Fn(&Scope, DeadLetter) -> Result<()> + Send + Sync,
    ) -> Result<bool> {
        let change = &change;
        self.in_unit(id, action, |scope, letter| async move {
            let mut taken = TakenOut::default();
            taken.take(&scope, &letter).await?;
            taken.apply(&scope).await?;
            change(&scope, letter)
        })
        .await
    }

    /// Changes a dead letter in its place.
    async fn apply(
        &self,
        id: Uuid,
        action: (&str, &Decision),
        change: impl Fn(&Scope, DeadLetter) -> Result<()> + Send + Sync,
    ) -> Result<bool> {
        let change = &change;
        self.in_unit(
            id,
            action,
            |scope, letter| async move { change(&scope, letter) },
        )
        .await
    }

    async fn in_unit<F>(
        &self,
        id: Uuid,
        (what, by): (&str, &Decision),
        change: impl Fn(Scope, DeadLetter) -> F + Send + Sync,
    ) -> Result<bool>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let change = &change;
        unit::run(self.service, || async move {
            let now = self.service.runtime.now();
            let meta = Meta::without_message(CorrelationId(id), now);
            let scope = Scope::new(Arc::clone(self.service), meta);
            let answer = async {
                let Some(body) = scope.load(&letter_key(id)).await?.body else {
                    return Ok(false);
                };
                let letter: DeadLetter = decode(&body)?;
                if letter.discarded {
                    return Ok(false);
                }
                let note = format!("{}: {}", letter.subscription, letter.reason);
                change(scope.clone(), letter).await?;
                action::record(&scope, by, (what, &id.to_string()), &note)?;
                Ok(true)
            };
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        })
        .await
    }
}

/// Turns a dead letter into a parked delivery that is due, in the unit of `scope`. Returns the id
/// of its record.
pub(super) fn deliver(scope: &Scope, letter: DeadLetter, run: Option<Uuid>) -> Result<String> {
    let envelope = letter.message().ok_or_else(|| {
        let text = "the message of the dead letter cannot be read";
        Error::reject("undecodable", text)
    })?;
    let queue = Name::intern(&letter.subscription);
    let retried = Retried {
        letter: letter.id,
        times: letter.retries.saturating_add(1),
        run,
    };
    let parked = Parked {
        queue: letter.subscription.clone(),
        failures: Failures::default(),
        admitted: letter.admitted,
        suspect: letter.suspect,
        timer: letter.timer,
        envelope: pack(&envelope),
        broken: letter.broken,
        retried: Some(retried),
    };
    let key = parked_key(queue, &envelope, letter.suspect);
    let id = key.id.clone();
    scope.write(due(key, encode(&parked), scope.now()))?;
    scope.write(remove(letter_key(letter.id)))?;
    scope.count(counter("dead", queue.as_str()), -1)?;
    scope.count(counter("parked", queue.as_str()), 1)?;
    Ok(id)
}

pub(super) fn letter_key(id: Uuid) -> Key {
    Key::new(DEAD_LETTERS, id.to_string())
}
