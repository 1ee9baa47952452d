//! Dead letters, for a person to decide about.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use wingbeat_core::unit::{Outcome, Write};
use wingbeat_core::{CorrelationId, Error, Name, Result};

use crate::app::Running;
use crate::dead::{self, DeadLetter, Failures, Parked};
use crate::dispatch::parked_key;
use crate::scope::{counter, due};
use crate::unsent::Unroutable;
use crate::{Meta, Scope, decode, encode};

/// Parked deliveries read at once.
const PAGE: usize = 1_000;

impl Running {
    /// How many deliveries of a service are parked, by queue: counted, not remembered.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn parked(&self, service: Name) -> Result<BTreeMap<Name, u64>> {
        let mut counts = BTreeMap::new();
        let Some(context) = self.services.get(&service) else {
            return Ok(counts);
        };
        let mut after = None;
        loop {
            let page = context.store.scan(dead::PARKED, after, PAGE).await?;
            after = page.last().map(|(id, _)| id.clone());
            for (_, record) in page {
                let parked: Parked = decode(&record.body)?;
                *counts.entry(Name::intern(&parked.queue)).or_default() += 1;
            }
            if after.is_none() {
                return Ok(counts);
            }
        }
    }

    /// The message types that the broker cannot route, as this process knows them.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn unroutable(&self) -> Result<Vec<Unroutable>> {
        let types = self
            .unsent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .types();
        let mut all = Vec::new();
        if let Some(outbox) = self.ports.store.outbox() {
            for (kind, since) in types {
                let waiting = outbox.waiting(&kind).await?;
                all.push(Unroutable {
                    kind,
                    since,
                    waiting,
                });
            }
        }
        Ok(all)
    }

    /// The dead letters of a service that were not discarded, by id.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn dead_letters(&self, service: Name) -> Result<Vec<DeadLetter>> {
        let Some(context) = self.services.get(&service) else {
            return Ok(Vec::new());
        };
        let records = context.store.scan(dead::TABLE, None, 10_000).await?;
        let letters = records
            .into_iter()
            .map(|(_, record)| decode::<DeadLetter>(&record.body));
        letters
            .filter(|letter| letter.as_ref().map_or(true, |letter| !letter.discarded))
            .collect()
    }

    /// The dead letter with this id, unless it was discarded.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn dead_letter(&self, service: Name, id: uuid::Uuid) -> Result<Option<DeadLetter>> {
        let Some(context) = self.services.get(&service) else {
            return Ok(None);
        };
        let Some(record) = context.store.load(&letter_key(id)).await? else {
            return Ok(None);
        };
        let letter: DeadLetter = decode(&record.body)?;
        Ok((!letter.discarded).then_some(letter))
    }

    /// Hands a dead letter to its subscription once more; `false` when there is none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn retry_dead_letter(&self, service: Name, id: uuid::Uuid) -> Result<bool> {
        self.change_dead_letter(service, id, |scope, letter| {
            let Some(envelope) = letter.message() else {
                return Err(Error::reject(
                    "undecodable",
                    "the dead letter's message cannot be read",
                ));
            };
            let queue = Name::intern(&letter.subscription);
            if !self.subscriptions.iter().any(|it| it.queue == queue) {
                let text = format!("no subscription {queue} runs here");
                return Err(Error::reject("unknown_subscription", text));
            }
            let parked = Parked {
                queue: letter.subscription.clone(),
                failures: Failures::default(),
                envelope: dead::pack(&envelope),
                broken: letter.broken,
            };
            scope.write(due(
                parked_key(queue, &envelope),
                encode(&parked),
                scope.now(),
            ))?;
            scope.write(Write {
                key: letter_key(id),
                body: None,
                due_at: None,
                expires_at: None,
            })?;
            scope.count(counter("dead", queue.as_str()), -1)?;
            scope.count(counter("parked", queue.as_str()), 1)?;
            scope.service().due.at(scope.now());
            Ok(())
        })
        .await
    }

    /// Marks a dead letter as discarded; `false` when there is none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn discard_dead_letter(&self, service: Name, id: uuid::Uuid) -> Result<bool> {
        self.change_dead_letter(service, id, |scope, letter| {
            let letter = DeadLetter {
                discarded: true,
                ..letter
            };
            scope.write(Write {
                key: letter_key(id),
                body: Some(encode(&letter)),
                due_at: None,
                expires_at: None,
            })
        })
        .await
    }

    async fn change_dead_letter(
        &self,
        service: Name,
        id: uuid::Uuid,
        change: impl Fn(&Scope, DeadLetter) -> Result<()>,
    ) -> Result<bool> {
        let Some(context) = self.services.get(&service) else {
            return Ok(false);
        };
        loop {
            let now = context.runtime.now();
            let meta = Meta {
                correlation: CorrelationId(id),
                message: None,
                operation: None,
                sequence: None,
                time: now,
            };
            let scope = Scope::new(Arc::clone(context), meta);
            let Some(body) = scope.load(&letter_key(id)).await?.body else {
                return Ok(false);
            };
            let letter: DeadLetter = decode(&body)?;
            if letter.discarded {
                return Ok(false);
            }
            change(&scope, letter)?;
            if context.committer.commit(scope.seal(None)?).await == Outcome::Committed {
                return Ok(true);
            }
        }
    }
}

fn letter_key(id: uuid::Uuid) -> wingbeat_core::Key {
    wingbeat_core::Key::new(dead::TABLE, id.to_string())
}
