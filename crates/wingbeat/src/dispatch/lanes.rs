//! Work by key: one piece or one batch at a time for each key, the others wait in order of arrival.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::in_flight::InFlight;
use super::tenancy::Tenancy;
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
    /// Set if the concurrency of each tenant is limited.
    tenancy: Option<Tenancy>,
    /// Work that is put off, without regard to its key.
    off: VecDeque<Work>,
    /// Marks of a router. Each waits until everything is settled that arrived before it.
    marks: Vec<Work>,
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

    /// Limits the work of each tenant.
    pub(super) fn with_tenancy(mut self, tenancy: Option<Tenancy>) -> Self {
        self.tenancy = tenancy;
        self
    }

    /// Adds new work. If there is too much of its tenant, it is put off; what cannot be put off
    /// comes again when its lease expires.
    pub(super) fn take(&mut self, mut work: Work) {
        if work.is_mark && !self.in_flight.is_empty() {
            self.marks.push(work);
            return;
        }
        let is_behind = self.behind.contains_key(&work.envelope.key);
        let tenancy = self.tenancy.as_ref();
        work.put_off = tenancy.and_then(|it| it.puts_off(&work, is_behind));
        if work.put_off.is_some() && !work.can_be_parked() {
            return;
        }
        self.in_flight.add(work.sent);
        if work.put_off.is_some() {
            self.off.push_back(work);
        } else {
            self.push(work);
        }
    }

    /// Lets marks start once nothing is in flight.
    pub(super) fn release_marks(&mut self) {
        if self.in_flight.is_empty() {
            for mark in std::mem::take(&mut self.marks) {
                self.in_flight.add(mark.sent);
                self.push(mark);
            }
        }
    }

    fn push(&mut self, work: Work) {
        if let Some(tenancy) = &mut self.tenancy {
            tenancy.hold(&work);
        }
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
            Some(lane) => {
                if let Some(tenancy) = &mut self.tenancy {
                    tenancy.hold(&work);
                }
                lane.push_front(work);
            }
            None => self.push(work),
        }
    }

    fn make_ready(&mut self, work: Work) {
        let work = match &mut self.tenancy {
            Some(tenancy) => tenancy.admit(work),
            None => Some(work),
        };
        let Some(work) = work else {
            return;
        };
        if self.gathering.is_some() && !work.gathers() {
            self.again.push_back(work);
        } else {
            self.ready.push_back(work);
        }
    }

    /// Waits until work can start that has waited for others of its tenant. Dropping the future
    /// loses nothing.
    pub(super) async fn next_of_tenant(&mut self) {
        match &mut self.tenancy {
            Some(tenancy) => {
                let next = tenancy.next().await;
                self.ready.extend(next);
            }
            None => std::future::pending().await,
        }
    }

    /// Takes the next piece of work that is put off. Its key is not busy.
    pub(super) fn next_off(&mut self) -> Option<Work> {
        self.off.pop_front()
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
        if !self.is_ready(now, hurried) {
            return None;
        }
        if let Some(first) = self.again.pop_front() {
            return Some(self.batch(first, gathering.up_to));
        }
        let first = self.ready.pop_front()?;
        Some(self.batch(first, gathering.up_to))
    }

    /// Returns whether [`start`](Self::start) would take something.
    pub(super) fn is_ready(&self, now: Duration, hurried: bool) -> bool {
        let Some(gathering) = self.gathering else {
            return !self.ready.is_empty();
        };
        let waited = self.gathered_at().is_some_and(|at| at <= now);
        let gathered = hurried || waited || self.is_full(gathering.up_to);
        !self.again.is_empty() || gathered && !self.ready.is_empty()
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
        if let Some(tenancy) = &mut self.tenancy {
            tenancy.started(work);
        }
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
        let ready = self.ready.iter().chain(&self.again).chain(&self.off);
        for work in ready.chain(self.behind.values().flatten()) {
            self.in_flight.remove(work.sent);
        }
        for work in self.tenancy.iter_mut().flat_map(Tenancy::clear) {
            self.in_flight.remove(work.sent);
        }
        self.off.clear();
        self.ready.clear();
        self.again.clear();
        self.marks.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            self.active.contains_key(key)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::work::{Part, deliveries};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gathering(up_to: usize, all: impl IntoIterator<Item = Work>) -> Lanes {
        let within = 10 * SECOND;
        let mut lanes = Lanes::new(Some(Gathering { up_to, within }));
        all.into_iter().for_each(|work| lanes.take(work));
        lanes
    }

    fn tags(works: &[Work]) -> Vec<String> {
        let tag = |work: &Work| format!("{}{}", work.envelope.key, work.envelope.body.len());
        works.iter().map(tag).collect()
    }

    fn start(lanes: &mut Lanes, hurried: bool) -> Option<Vec<String>> {
        lanes.start(SECOND, hurried).as_deref().map(tags)
    }

    #[test]
    fn a_batch_starts_when_it_is_full_or_has_waited() {
        let mut lanes = gathering(3, deliveries(["a", "b"]));
        assert_eq!(start(&mut lanes, false), None);
        assert_eq!(lanes.gathered_at(), Some(10 * SECOND));
        deliveries(["c", "d"])
            .into_iter()
            .for_each(|it| lanes.take(it));
        let full = lanes.start(SECOND, false).expect("it is full");
        assert_eq!(tags(&full), ["a0", "b1", "c0"]);
        assert_eq!(start(&mut lanes, false), None);
        assert!(lanes.start(9 * SECOND, false).is_none());
        assert!(lanes.start(10 * SECOND, false).is_some());
    }

    #[test]
    fn a_key_is_in_one_batch_at_a_time_and_in_order() {
        let mut lanes = gathering(2, deliveries(["a", "a", "a", "b", "a"]));
        let first = lanes.start(SECOND, false).expect("it is full");
        assert_eq!(tags(&first), ["a0", "a1"]);
        assert_eq!(start(&mut lanes, true), Some(vec!["b3".into()]));
        assert_eq!(start(&mut lanes, true), None, "`a` is busy");
        lanes.free("a");
        assert_eq!(start(&mut lanes, true), None, "one of two is in flight");
        lanes.free("a");
        assert_eq!(
            start(&mut lanes, true),
            Some(vec!["a2".into(), "a4".into()])
        );
    }

    #[test]
    fn parts_of_a_batch_are_not_mixed_and_do_not_wait() {
        let mut lanes = gathering(4, deliveries(["a", "a", "b", "c", "c"]));
        let mut works = lanes.start(SECOND, false).expect("it is full");
        for half in works.chunks_mut(2) {
            let part = Arc::new(Part::new(half.len()));
            half.iter_mut()
                .for_each(|it| it.part = Some(Arc::clone(&part)));
        }
        for work in works.into_iter().rev() {
            let key = work.envelope.key.clone();
            lanes.push_front(work);
            lanes.free(&key);
        }
        let mut parts = [start(&mut lanes, false), start(&mut lanes, false)];
        parts.sort();
        let expected = [["a0", "a1"], ["c3", "b2"]]; // The last key is free first.
        assert_eq!(parts.map(Option::unwrap), expected);
        assert_eq!(start(&mut lanes, true), None, "`c` is busy");
    }

    #[test]
    fn a_mark_waits_for_everything_before_it() {
        let mut all = deliveries(["a", "b", "mark"]);
        all[2].is_mark = true;
        let mut lanes = Lanes::default();
        all.into_iter().for_each(|work| lanes.take(work));
        let start = |lanes: &mut Lanes| lanes.start(SECOND, false).map(|it| tags(&it));
        assert_eq!(start(&mut lanes), Some(vec!["a0".into()]));
        assert_eq!(start(&mut lanes), Some(vec!["b1".into()]));
        lanes.release_marks();
        assert_eq!(start(&mut lanes), None);
        for _ in 0..2 {
            lanes.in_flight.remove(wingbeat_core::Timestamp::default());
        }
        lanes.release_marks();
        assert_eq!(start(&mut lanes), Some(vec!["mark2".into()]));
    }

    #[test]
    fn work_that_has_not_started_is_dropped() {
        let mut lanes = gathering(2, deliveries(["a", "a", "a", "b"]));
        let started = lanes.start(SECOND, false).expect("it is full");
        lanes.clear();
        assert_eq!(start(&mut lanes, true), None);
        for work in started {
            lanes.in_flight.remove(work.sent);
        }
        assert!(lanes.in_flight.is_empty());
    }
}
