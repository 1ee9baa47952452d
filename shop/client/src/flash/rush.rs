//! The state that all buyers share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::report::Report;
use crate::traffic::Percentiles;

/// Requests at once. Further buyers wait for their turn, like behind a load balancer.
const TURNS: usize = 256;
/// The sale.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The buyers.
    pub buyers: u32,
    /// The units.
    pub units: u32,
    /// The longest duration.
    pub within: Duration,
}

/// The state that all buyers share.
pub(super) struct Rush {
    claims_path: String,
    units: u32,
    until: Instant,
    turns: Semaphore,
    claimed: AtomicU32,
    confirmed: AtomicU32,
    paid: AtomicU32,
    refused: AtomicU32,
    reserve: AtomicU32,
    times: Mutex<Histogram<u64>>,
    bar: ProgressBar,
}

impl Rush {
    /// Begins the rush at a sale.
    pub(super) fn new(sale: &str, plan: &Plan, bar: &ProgressBar) -> Self {
        let times = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self {
            claims_path: format!("/api/v1/flash-sales/{sale}/claims"),
            units: plan.units,
            until: Instant::now() + plan.within,
            turns: Semaphore::new(TURNS),
            claimed: AtomicU32::new(0),
            confirmed: AtomicU32::new(0),
            paid: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            reserve: AtomicU32::new(0),
            times: Mutex::new(times.expect("the bounds are valid")),
            bar: bar.clone(),
        }
    }

    pub(super) fn claims_path(&self) -> &str {
        &self.claims_path
    }

    /// Returns whether no buyer needs to claim any more: all units are paid, or the time is over.
    pub(super) fn is_over(&self) -> bool {
        get(&self.paid) >= self.units || self.is_late()
    }

    /// Returns whether the time is over. Until then, all claims are followed to their end, also
    /// those beyond the units.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until the buyer may send a request.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    /// Returns whether a buyer who found the sale sold out waits for units that come back. There is
    /// one such buyer for each unit.
    pub(super) fn joins_reserve(&self) -> bool {
        add(&self.reserve) < self.units
    }

    pub(super) fn decided(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.saturating_record(micros);
    }

    pub(super) fn claimed(&self) {
        add(&self.claimed);
        self.tell();
    }

    pub(super) fn confirmed(&self) {
        add(&self.confirmed);
        self.tell();
    }

    pub(super) fn paid(&self) {
        add(&self.paid);
        self.bar.inc(1);
    }

    pub(super) fn refused(&self) {
        add(&self.refused);
        self.tell();
    }

    fn tell(&self) {
        let (claimed, confirmed) = (get(&self.claimed), get(&self.confirmed));
        let refused = get(&self.refused);
        self.bar.set_message(format!(
            "{claimed} claimed, {confirmed} confirmed, {refused} refused"
        ));
    }

    pub(super) fn report(&self, plan: &Plan, took: Duration) -> Report {
        let paid = get(&self.paid);
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            buyers: plan.buyers,
            units: plan.units,
            claimed: get(&self.claimed),
            confirmed: get(&self.confirmed),
            paid,
            refused: get(&self.refused),
            oversold: paid.saturating_sub(plan.units),
            undersold: plan.units.min(plan.buyers).saturating_sub(paid),
            seconds: took.as_secs_f64(),
            claim_ms: Percentiles::of(&times),
        }
    }
}

fn get(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed)
}
