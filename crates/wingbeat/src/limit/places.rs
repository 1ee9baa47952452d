//! Limits how much happens at the same time in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for what happens at the same time. Who waits for one gets it in order of arrival.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
}

struct Size {
    count: usize,
    /// The number of taken places that vanish instead of becoming free.
    excess: usize,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            size: Mutex::new(Size { count, excess: 0 }),
        })
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the number of places. Those that are taken stay so until they are given back.
    pub(crate) fn resize(&self, count: usize) {
        let mut size = self.size();
        let more = count.saturating_sub(size.count);
        let fewer = size.count.saturating_sub(count);
        let kept = more.min(size.excess);
        size.excess -= kept;
        self.free.add_permits(more - kept);
        size.excess += fewer - self.free.forget_permits(fewer);
        size.count = count;
    }

    /// Takes a place if one is free and nobody waits for it.
    fn try_take(self: &Arc<Self>) -> Option<Place> {
        loop {
            let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
            if let Some(place) = self.kept(permit) {
                return Some(place);
            }
        }
    }

    /// Waits for a place.
    pub(crate) async fn take(self: Arc<Self>) -> Place {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            let permit = permit.expect("it is never closed");
            if let Some(place) = self.kept(permit) {
                return place;
            }
        }
    }

    /// Returns the place of a permit, unless there are too many places: one that a waiting future
    /// got and did not use became free without the check on its return.
    fn kept(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Option<Place> {
        let permit = self.unless_in_excess(permit)?;
        Some(Place {
            of: Arc::clone(self),
            permit: Some(permit),
        })
    }

    fn unless_in_excess(&self, permit: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let mut size = self.size();
        if size.excess == 0 {
            return Some(permit);
        }
        size.excess -= 1;
        permit.forget();
        None
    }
}

/// A taken place. It is free again when this is dropped.
pub(crate) struct Place {
    of: Arc<Places>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            drop(self.of.unless_in_excess(permit));
        }
    }
}

/// The place for the next run.
pub(crate) struct Seat {
    places: Arc<Places>,
    has: Option<Place>,
    waiting: Option<BoxFuture<'static, Place>>,
}

impl Seat {
    pub(crate) fn new(places: Arc<Places>) -> Self {
        Self {
            places,
            has: None,
            waiting: None,
        }
    }

    /// Takes a place for one run. If there is none, [`wait`](Self::wait) gets the next one.
    pub(crate) fn take(&mut self) -> Option<Place> {
        if self.waiting.is_none() {
            let free = self.has.take().or_else(|| self.places.try_take());
            if free.is_some() {
                return free;
            }
        }
        let places = &self.places;
        let waiting = || -> BoxFuture<'static, Place> { Box::pin(Arc::clone(places).take()) };
        // The first poll joins the queue.
        let place = self.waiting.get_or_insert_with(waiting).now_or_never()?;
        self.waiting = None;
        Some(place)
    }

    /// Keeps a place that was taken for the next run.
    pub(crate) fn keep(&mut self, place: Place) {
        self.has = Some(place);
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

    fn taken(places: &Arc<Places>) -> Vec<Place> {
        std::iter::from_fn(|| places.try_take()).collect()
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
    fn a_place_that_was_given_to_a_waiting_future_counts() {
        let places = Places::new(1);
        let mut held = taken(&places);
        let mut seat = Seat::new(Arc::clone(&places));
        assert!(seat.take().is_none());
        assert!(seat.wait().now_or_never().is_none());
        held.clear();
        places.resize(0);
        seat.give_up();
        assert!(places.try_take().is_none());
        places.resize(1);
        assert_eq!(taken(&places).len(), 1);
    }

    #[test]
    fn seats_take_turns() {
        let places = Places::new(1);
        let mut seats = [(); 3].map(|()| Seat::new(Arc::clone(&places)));
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
}
