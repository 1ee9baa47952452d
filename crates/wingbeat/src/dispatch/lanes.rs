//! Work by key: one piece or one batch at a time for each key, the others wait in order of arrival.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::in_flight::InFlight;
use super::work::Work;

/// The limits of a batch.
#[derive(Clone, Copy)]
pub(super) struct Gathering {
    pub(super) up_to: usize,
    pub(super) within: Duration,
}

/// Work by key, in order of arrival.
#[derive(Default)]
pub(super) struct Lanes {
    /// Set if work is handled in batches.
    gathering: Option<Gathering>,
    /// Work that waits behind ready or running work with its key.
    behind: BTreeMap<String, VecDeque<Work>>,
    /// Work that can start. In a subscription with batches it waits for others.
    ready: VecDeque<Work>,
    /// In a subscription with batches: work that starts without waiting, alone or in the part of a
    /// batch that has failed.
    again: VecDeque<Work>,
    pub(super) in_flight: InFlight,
    /// The number of pieces of running work for each key.
    active: BTreeMap<String, usize>,
}

impl Lanes {
    pub(super) fn new(gathering: Option<Gathering>) -> Self {
        Self {
            gathering,
            ..Self::default()
        }
    }

    /// Adds new work.
    pub(super) fn take(&mut self, work: Work) {
        self.in_flight.add(work.sent);
        self.push(work);
    }

    fn push(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_back(work),
            None => {
                self.behind
                    .insert(work.envelope.key.clone(), VecDeque::new());
                self.make_ready(work);
            }
        }
    }

    pub(super) fn push_front(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_front(work),
            None => self.push(work),
        }
    }

    fn make_ready(&mut self, work: Work) {
        if self.gathering.is_some() && !work.gathers() {
            self.again.push_back(work);
        } else {
            self.ready.push_back(work);
        }
    }

    /// Takes the next piece of work, or the next batch. Its keys are busy until [`Self::free`] was
    /// called for each piece. A batch that is not full starts when it has waited long enough, or if
    /// it is `hurried`.
    pub(super) fn start(&mut self, now: Duration, hurried: bool) -> Option<Vec<Work>> {
        let Some(gathering) = self.gathering else {
            let work = self.ready.pop_front()?;
            self.activate(&work);
            return Some(vec![work]);
        };
        if let Some(first) = self.again.pop_front() {
            return Some(self.batch(first, gathering.up_to));
        }
        let waited = self.gathered_at().is_some_and(|at| at <= now);
        if !hurried && !waited && !self.is_full(gathering.up_to) {
            return None;
        }
        let first = self.ready.pop_front()?;
        Some(self.batch(first, gathering.up_to))
    }

    /// Returns the time at which the batch that gathers has waited long enough.
    pub(super) fn gathered_at(&self) -> Option<Duration> {
        let within = self.gathering?.within;
        let first = self.ready.front()?;
        Some(first.arrived.saturating_add(within))
    }

    /// Returns whether enough work is ready for a full batch.
    fn is_full(&self, up_to: usize) -> bool {
        let mut count = 0;
        self.ready.iter().any(|work| {
            let behind = self.behind.get(&work.envelope.key);
            count += 1 + behind.map_or(0, VecDeque::len);
            count >= up_to
        })
    }

    /// Takes work that may be in one batch with `first`, each with its successors of the same key.
    fn batch(&mut self, first: Work, up_to: usize) -> Vec<Work> {
        if first.is_alone() {
            self.activate(&first);
            return vec![first];
        }
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(work) = next.take() {
            self.take_lane(work, up_to, &mut batch);
            if batch.len() < up_to {
                next = self.next_to_join(&batch[0]);
            }
        }
        batch
    }

    fn next_to_join(&mut self, first: &Work) -> Option<Work> {
        if first.part.is_none() {
            return self.ready.pop_front();
        }
        let at = self.again.iter().position(|work| work.joins(first))?;
        self.again.remove(at)
    }

    fn take_lane(&mut self, work: Work, up_to: usize, batch: &mut Vec<Work>) {
        self.activate(&work);
        let key = work.envelope.key.clone();
        batch.push(work);
        let Some(lane) = self.behind.get_mut(&key) else {
            return;
        };
        let mut taken = 0;
        while batch.len() < up_to
            && let Some(next) = lane.pop_front_if(|next| next.joins(&batch[0]))
        {
            batch.push(next);
            taken += 1;
        }
        if let Some(active) = self.active.get_mut(&key) {
            *active += taken;
        }
    }

    fn activate(&mut self, work: &Work) {
        *self.active.entry(work.envelope.key.clone()).or_default() += 1;
    }

    /// Ends one piece of running work. The next one of its key can start after the last of them.
    pub(super) fn free(&mut self, key: &str) {
        if let Some(active) = self.active.get_mut(key) {
            *active -= 1;
            if *active > 0 {
                return;
            }
            self.active.remove(key);
        }
        let Some(lane) = self.behind.get_mut(key) else {
            return;
        };
        match lane.pop_front() {
            Some(next) => self.make_ready(next),
            None => {
                self.behind.remove(key);
            }
        }
    }

    /// Drops work that has not started. The broker redelivers it.
    pub(super) fn clear(&mut self) {
        let ready = self.ready.iter().chain(&self.again);
        for work in ready.chain(self.behind.values().flatten()) {
            self.in_flight.remove(work.sent);
        }
        self.ready.clear();
        self.again.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            self.active.contains_key(key)
        });
    }
}
