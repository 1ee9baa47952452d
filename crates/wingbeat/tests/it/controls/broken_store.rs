//! Stores that each break one promise.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::conformance::store as suite;
use wingbeat_core::store::{Backlog, DueRecord, Page, Query, Waiting};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Error, Key, Name, Record, Result, Store, Timestamp, Unit};

use super::with_store;

/// The broken promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    NeverReady,
    ReadsUnchecked,
    AbsencesUnchecked,
    InboxIgnored,
    UnitsForgotten,
    MessagesLost,
    UnitsTorn,
    BatchFailsTogether,
    LeaseIgnored,
    RowsUntidy,
    OthersVisible,
    BacklogHidden,
}

struct BrokenStore {
    inner: Arc<dyn Store>,
    breach: Breach,
}

impl BrokenStore {
    fn spoil(&self, unit: &mut Unit) {
        match self.breach {
            Breach::ReadsUnchecked => unit.reads.clear(),
            Breach::AbsencesUnchecked => unit.reads.retain(|read| read.version > 0),
            Breach::InboxIgnored => unit.settles.clear(),
            Breach::MessagesLost => unit.messages.clear(),
            _ => {}
        }
    }

    async fn commit_spoiled(&self, mut units: Vec<Unit>) -> Result<Vec<Outcome>> {
        units.iter_mut().for_each(|unit| self.spoil(unit));
        let outcomes = self.inner.commit(Arc::new(units.clone())).await?;
        let failed = outcomes
            .iter()
            .any(|outcome| *outcome != Outcome::Committed);
        if self.breach == Breach::BatchFailsTogether && failed {
            return Ok(vec![Outcome::Stale; units.len()]);
        }
        if self.breach == Breach::UnitsForgotten && !failed {
            // As if the units had been submitted again under other ids.
            let renamed = |unit: Unit| Unit {
                id: uuid::Uuid::from_u128(unit.id.0.as_u128() ^ 1).into(),
                ..unit
            };
            let part = |unit: Unit| Unit {
                settles: Vec::new(),
                reads: vec![],
                appends: vec![],
                ..renamed(unit)
            };
            let again = units.into_iter().map(part);
            self.inner.commit(Arc::new(again.collect())).await?;
        }
        Ok(outcomes)
    }

    /// Writes the counters of every unit, even if the rest of the unit is not written.
    async fn commit_torn(&self, units: &[Unit]) -> Result<Vec<Outcome>> {
        for unit in units {
            let empty = Unit {
                id: uuid::Uuid::from_u128(unit.id.0.as_u128() ^ 1).into(),
                ..unit.clone()
            };
            let part = Unit {
                reads: vec![],
                settles: Vec::new(),
                appends: vec![],
                messages: vec![],
                journal: None,
                ..empty
            };
            self.inner.commit(Arc::new(vec![part])).await?;
        }
        self.inner.commit(Arc::new(units.to_vec())).await
    }
}

impl Store for BrokenStore {
    forward_store!(
        prepare, scan, history, row, journal, counters, settled, next_due, retain, outbox
    );

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        match self.breach {
            Breach::NeverReady => {
                Box::pin(async { Err(Error::retry("store_unavailable", "never")) })
            }
            _ => self.inner.ping(),
        }
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move {
            match self.breach {
                Breach::UnitsTorn => self.commit_torn(&units).await,
                _ => self.commit_spoiled(units.to_vec()).await,
            }
        })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        Box::pin(async move {
            let own = self.inner.load(service, &key).await?;
            if own.is_none() && self.breach == Breach::OthersVisible {
                self.inner.load(Name::new("orders"), &key).await
            } else {
                Ok(own)
            }
        })
    }

    fn rows(&self, service: Name, mut query: Query) -> BoxFuture<'_, Result<Page>> {
        if self.breach == Breach::RowsUntidy {
            query.after = None; // Without the cursor, pages repeat.
        }
        self.inner.rows(service, query)
    }

    fn claim_due(
        &self,
        services: &[Name],
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let ignored = self.breach == Breach::LeaseIgnored;
        self.inner.claim_due(
            services,
            now,
            if ignored { Duration::ZERO } else { lease },
            limit,
        )
    }

    fn backlog(&self, service: Name, now: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        Box::pin(async move {
            let mut told = self.inner.backlog(service, now).await?;
            if self.breach == Breach::BacklogHidden {
                let due = told.due.iter_mut();
                due.for_each(|due| due.overdue = Waiting::default());
                told.outbox = Waiting::default();
            }
            Ok(told)
        })
    }
}

macro_rules! caught {
    ($($name:ident: $breach:ident is caught by $test:ident;)*) => {
        $(
            #[test]
            #[should_panic]
            fn $name() {
                let broken = |inner| -> Arc<dyn Store> {
                    let breach = Breach::$breach;
                    Arc::new(BrokenStore { inner, breach })
                };
                with_store(broken, |fixture| Box::pin(suite::$test(fixture)));
            }
        )*
    };
}

caught! {
    a_store_that_is_never_ready: NeverReady is caught by a_ping_succeeds_at_any_time;
    a_store_that_skips_validation: ReadsUnchecked
        is caught by a_stale_read_is_refused_and_leaves_nothing;
    a_store_that_lets_two_units_claim_a_key: AbsencesUnchecked
        is caught by a_claimed_key_has_one_winner;
    a_store_that_does_not_validate_absences: AbsencesUnchecked
        is caught by an_absence_that_was_read_is_validated;
    a_store_that_commits_units_built_on_refused_ones: ReadsUnchecked
        is caught by a_unit_built_on_a_refused_unit_is_stale;
    a_store_without_an_inbox: InboxIgnored is caught by a_duplicate_delivery_has_no_effects;
    a_store_that_forgets_units: UnitsForgotten
        is caught by a_unit_submitted_again_is_committed_once;
    a_store_that_loses_messages: MessagesLost
        is caught by a_unit_sends_its_messages_with_the_commit;
    a_store_that_commits_parts_of_units: UnitsTorn
        is caught by a_stale_read_is_refused_and_leaves_nothing;
    a_store_that_fails_whole_batches: BatchFailsTogether
        is caught by units_that_share_nothing_do_not_fail_together;
    a_store_that_ignores_leases: LeaseIgnored is caught by a_claimed_record_is_not_claimed_twice;
    a_store_that_forgets_cursors: RowsUntidy
        is caught by rows_are_paged_by_prefix_in_both_directions;
    a_store_that_hides_overdue_records: BacklogHidden
        is caught by pending_and_overdue_records_are_counted_separately;
    a_store_that_hides_its_outbox: BacklogHidden
        is caught by unconfirmed_messages_are_part_of_the_backlog;
    a_store_that_shows_data_of_other_services: OthersVisible
        is caught by a_service_sees_only_its_own_data;
}
