//! Work by key: one piece at a time for each key, the others wait in order of arrival.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::in_flight::InFlight;
use super::work::Work;

/// Work by key, in order of arrival.
#[derive(Default)]
pub(super) struct Lanes {
    /// Work that waits behind ready or running work with its key.
    behind: BTreeMap<String, VecDeque<Work>>,
    ready: VecDeque<Work>,
    pub(super) in_flight: InFlight,
    /// The keys of running work.
    active: BTreeSet<String>,
}

impl Lanes {
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
                self.ready.push_back(work);
            }
        }
    }

    pub(super) fn push_front(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_front(work),
            None => self.push(work),
        }
    }

    /// Returns whether a piece of work can start.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the next piece of work. Its key is busy until [`Self::free`].
    pub(super) fn start(&mut self) -> Option<Work> {
        let work = self.ready.pop_front()?;
        self.active.insert(work.envelope.key.clone());
        Some(work)
    }

    pub(super) fn free(&mut self, key: &str) {
        self.active.remove(key);
        let Some(lane) = self.behind.get_mut(key) else {
            return;
        };
        match lane.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => {
                self.behind.remove(key);
            }
        }
    }

    /// Drops work that has not started. The broker redelivers it.
    pub(super) fn clear(&mut self) {
        let waiting = self.behind.values().flatten();
        for work in self.ready.iter().chain(waiting) {
            self.in_flight.remove(work.sent);
        }
        self.ready.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            self.active.contains(key)
        });
    }
}
