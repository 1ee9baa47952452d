//! Limits how much happens at the same time in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::policy::Priority;

/// One of so many places goes to whoever has waited longest, whatever its priority, so that those
/// with a low one wait long, but not for ever.
const FAIR_EVERY: u64 = 8;

/// Places for what happens at the same time. Who waits for one gets it by priority, and then in
/// order of arrival.
pub(crate) struct Places {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    count: usize,
    taken: usize,
    /// Those that wait, by the rank of their priority and their arrival.
    waiting: BTreeMap<Turn, oneshot::Sender<Place>>,
    arrivals: u64,
    /// The places that were given to those that waited.
    given: u64,
}

/// The rank of a priority, and the number of an arrival.
type Turn = (u8, u64);

impl State {
    /// Takes a free place for the next one that waits.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        if self.taken >= self.count {
            return None;
        }
        let mut turns = self.waiting.keys().copied();
        let turn = if (self.given + 1).is_multiple_of(FAIR_EVERY) {
            turns.min_by_key(|(_, arrival)| *arrival)?
        } else {
            turns.next()?
        };
        self.given += 1;
        self.taken += 1;
        self.waiting.remove(&turn)
    }
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let state = State {
            count,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the number of places. Those that are taken stay so until they are given back.
    pub(crate) fn resize(self: &Arc<Self>, count: usize) {
        self.state().count = count;
        self.give();
    }

    /// Gives free places to those that wait.
    fn give(self: &Arc<Self>) {
        loop {
            let next = self.state().next();
            let Some(next) = next else { return };
            // A place that nobody waits for any more comes back when it is dropped.
            drop(next.send(self.place()));
        }
    }

    fn place(self: &Arc<Self>) -> Place {
        Place {
            of: Arc::clone(self),
        }
    }

    /// Takes a place if one is free and nobody waits for it.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        if state.taken >= state.count || !state.waiting.is_empty() {
            return None;
        }
        state.taken += 1;
        drop(state);
        Some(self.place())
    }

    /// Waits for a place. The first poll joins those that wait; dropping the future leaves them.
    pub(crate) async fn take(self: Arc<Self>, priority: Priority) -> Place {
        if let Some(place) = self.try_take() {
            return place;
        }
        let mut waiting = self.wait(priority);
        self.give();
        let place = (&mut waiting.receiver).await;
        place.expect("a place comes before its sender is dropped")
    }

    fn wait(self: &Arc<Self>, priority: Priority) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.arrivals += 1;
        let turn = (priority.rank(), state.arrivals);
        state.waiting.insert(turn, sender);
        Waiting {
            of: Arc::clone(self),
            turn,
            receiver,
        }
    }
}

/// One that waits for a place. Dropping it ends that, and gives back a place that it has got.
struct Waiting {
    of: Arc<Places>,
    turn: Turn,
    receiver: oneshot::Receiver<Place>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = self.of.state().waiting.remove(&self.turn);
        drop(left);
    }
}

/// A taken place. It is free again when this is dropped.
pub(crate) struct Place {
    of: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.state().taken -= 1;
        self.of.give();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;

    fn taken(places: &Arc<Places>) -> Vec<Place> {
        std::iter::from_fn(|| places.try_take()).collect()
    }

    /// Waits for a place with a priority.
    fn waiting(places: &Arc<Places>, priority: Priority) -> BoxFuture<'static, Place> {
        let mut waiting = Arc::clone(places).take(priority).boxed();
        assert!((&mut waiting).now_or_never().is_none(), "there is none");
        waiting
    }

    #[test]
    fn the_number_of_places_follows_each_change() {
        let places = Places::new(3);
        let mut held = taken(&places);
        assert_eq!(held.len(), 3);
        places.resize(1);
        held.pop();
        assert_eq!(taken(&places).len(), 0, "two of one are taken");
        places.resize(2);
        assert_eq!(taken(&places).len(), 0, "two of two are taken");
        held.clear();
        assert_eq!(taken(&places).len(), 2);
        places.resize(5);
        assert_eq!(taken(&places).len(), 5);
        places.resize(1);
        assert_eq!(taken(&places).len(), 1);
    }

    #[test]
    fn a_place_goes_by_priority_and_then_by_arrival() {
        let places = Places::new(1);
        let mut held = taken(&places);
        let [low, normal, first, second] = [
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::High,
        ]
        .map(|priority| waiting(&places, priority));
        for next in [first, second, normal, low] {
            held.clear();
            held.extend(next.now_or_never());
            assert_eq!(held.len(), 1, "it is its turn");
        }
    }

    #[test]
    fn who_has_waited_longest_gets_one_of_eight_places() {
        let places = Places::new(1);
        let mut held = taken(&places);
        let mut low = waiting(&places, Priority::Low);
        let mut given = 0;
        loop {
            let high = waiting(&places, Priority::High);
            held.clear();
            given += 1;
            if let Some(place) = (&mut low).now_or_never() {
                drop(high);
                drop(place);
                break;
            }
            held.extend(high.now_or_never());
            assert_eq!(held.len(), 1, "it is its turn");
        }
        assert_eq!(given, FAIR_EVERY);
        assert_eq!(taken(&places).len(), 1);
    }

    #[test]
    fn those_that_no_longer_wait_leave_nothing_behind() {
        let places = Places::new(1);
        let held = taken(&places);
        let (gone, late) = (
            waiting(&places, Priority::High),
            waiting(&places, Priority::Low),
        );
        drop(gone);
        drop(held);
        // It has got the place, and does not use it.
        drop(late);
        assert!(places.state().waiting.is_empty());
        assert_eq!(taken(&places).len(), 1);
    }
}
