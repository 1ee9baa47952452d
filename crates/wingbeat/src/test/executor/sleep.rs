//! Sleeping in virtual time.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use super::{State, lock};

pub(super) struct Sleep {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) until: Duration,
    pub(super) registered: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        if let Some(place) = self.registered.take() {
            state.sleepers.remove(&place);
        }
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let place = (self.until, state.next_sleep);
        state.next_sleep += 1;
        state.sleepers.insert(place, cx.waker().clone());
        self.registered = Some(place);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.registered.take() {
            lock(&self.state).sleepers.remove(&place);
        }
    }
}
