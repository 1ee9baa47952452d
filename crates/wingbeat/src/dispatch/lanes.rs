//! Work by key: one piece a key at a time, the others behind it in the order they came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Work;
use super::hand::Hand;

/// Work by key, in the order it arrived.
#[derive(Default)]
pub(super) struct Lanes {
    /// What waits behind the work of its key that is ready or running.
    behind: BTreeMap<String, VecDeque<Work>>,
    ready: VecDeque<Work>,
    pub(super) hand: Hand,
    /// The keys of what is running.
    active: BTreeSet<String>,
}

impl Lanes {
    /// Work that is new here.
    pub(super) fn take(&mut self, work: Work) {
        self.hand.add(work.envelope.time);
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

    /// The next piece of work. Its key is taken until it is freed.
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
            None => drop(self.behind.remove(key)),
        }
    }

    /// Forgets what has not started; the broker brings it again.
    pub(super) fn clear(&mut self) {
        let waiting = self.behind.values().flatten();
        for work in self.ready.iter().chain(waiting) {
            self.hand.remove(work.envelope.time);
        }
        self.ready.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            self.active.contains(key)
        });
    }
}
