//! The place for the next run of a subscription.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Flow, Place};

/// The place of one run: one of its subscription, and one of its service, if that limits the runs
/// of all its subscriptions. It is free again when this is dropped.
pub(crate) struct RunPlace {
    _own: Place,
    shared: Option<Place>,
}

impl Flow {
    /// Takes a place for a run if one is free and nobody waits for it.
    fn try_take(&self) -> Option<RunPlace> {
        let own = self.places().try_take()?;
        let shared = match self.shared() {
            Some(shared) => Some(shared.try_take()?),
            None => None,
        };
        Some(RunPlace { _own: own, shared })
    }

    /// Waits for a place for a run.
    async fn take(self: Arc<Self>) -> RunPlace {
        let priority = self.limits().priority;
        let own = self.places().take(priority).await;
        let shared = match self.shared() {
            Some(shared) => Some(shared.take(priority).await),
            None => None,
        };
        RunPlace { _own: own, shared }
    }
}

/// The place for the next run.
pub(crate) struct Seat {
    flow: Arc<Flow>,
    has: Option<RunPlace>,
    waiting: Option<BoxFuture<'static, RunPlace>>,
}

impl Seat {
    pub(crate) fn new(flow: Arc<Flow>) -> Self {
        Self {
            flow,
            has: None,
            waiting: None,
        }
    }

    /// Takes a place for one run. If there is none, [`wait`](Self::wait) gets the next one.
    pub(crate) fn take(&mut self) -> Option<RunPlace> {
        if self.waiting.is_none() {
            let free = self.has.take().or_else(|| self.flow.try_take());
            if free.is_some() {
                return free;
            }
        }
        let flow = &self.flow;
        let waiting = || -> BoxFuture<'static, RunPlace> { Box::pin(Arc::clone(flow).take()) };
        // The first poll joins those that wait.
        let place = self.waiting.get_or_insert_with(waiting).now_or_never()?;
        self.waiting = None;
        Some(place)
    }

    /// Keeps a place that was taken for the next run, unless other subscriptions can use it.
    pub(crate) fn keep(&mut self, place: RunPlace) {
        self.has = Some(place).filter(|it| it.shared.is_none());
    }

    /// Gives up the place, and waiting for one: there is nothing to run.
    pub(crate) fn give_up(&mut self) {
        (self.has, self.waiting) = (None, None);
    }

    /// Waits for the place that [`take`](Self::take) did not get. Dropping the future loses
    /// nothing.
    pub(crate) async fn wait(&mut self) {
        match &mut self.waiting {
            Some(waiting) => self.has = Some(waiting.await),
            None => std::future::pending().await,
        }
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::HyperClient;
    use crate::limit::Places;
    use crate::policy::{Limits, Policy, Priority};
    use crate::test::{Model, Simulation};

    fn flow(concurrency: usize, priority: Priority, shared: Option<&Arc<Places>>) -> Arc<Flow> {
        let limits = Limits {
            concurrency,
            priority,
            ..Limits::of(&Policy::default())
        };
        let world = Simulation::new(1);
        let ports = Model::new(world.runtime()).ports(&world.group(), HyperClient::new());
        Flow::new("a", limits, shared.cloned(), &ports.cache, &ports.runtime)
    }

    fn seats<const N: usize>(flow: &Arc<Flow>) -> [Seat; N] {
        [(); N].map(|()| Seat::new(Arc::clone(flow)))
    }

    #[test]
    fn seats_take_turns() {
        let mut seats = seats::<3>(&flow(1, Priority::Normal, None));
        let mut place = seats[0].take();
        for at in [0, 1, 2, 0, 1, 2] {
            for seat in &mut seats {
                assert!(seat.take().is_none(), "there is one");
            }
            drop(place);
            for (other, seat) in seats.iter_mut().enumerate().filter(|(it, _)| *it != at) {
                assert!(seat.take().is_none(), "it is not the turn of {other}");
            }
            place = seats[at].take();
            assert!(place.is_some(), "it is the turn of {at}");
        }
    }

    #[test]
    fn a_place_that_was_given_to_a_waiting_future_counts() {
        let flow = flow(1, Priority::Normal, None);
        let [mut holds, mut seat, mut other] = seats(&flow);
        let held = holds.take();
        assert!(seat.take().is_none());
        assert!(seat.wait().now_or_never().is_none());
        drop(held);
        flow.places().resize(0);
        seat.give_up();
        assert!(other.take().is_none());
        flow.places().resize(1);
        assert!(other.take().is_some());
    }

    #[test]
    fn runs_of_a_service_get_its_places_by_priority() {
        let shared = Places::new(1);
        let flows = [Priority::Low, Priority::Normal, Priority::High]
            .map(|priority| flow(8, priority, Some(&shared)));
        let mut seats = flows.each_ref().map(|it| Seat::new(Arc::clone(it)));
        let mut place = seats[1].take();
        for seat in &mut seats {
            assert!(seat.take().is_none(), "there is one");
        }
        for at in [2, 1, 0] {
            drop(place);
            for (other, seat) in seats.iter_mut().enumerate().filter(|(it, _)| *it < at) {
                assert!(seat.take().is_none(), "{other} is behind {at}");
            }
            place = seats[at].take();
            assert!(place.is_some(), "it is the turn of {at}");
        }
    }

    #[test]
    fn a_shared_place_is_not_kept_for_the_next_run() {
        let shared = Places::new(1);
        let flow = flow(8, Priority::Normal, Some(&shared));
        let [mut rated, mut other] = seats(&flow);
        let place = rated.take().expect("it is free");
        rated.keep(place);
        assert!(other.take().is_some());
    }
}
