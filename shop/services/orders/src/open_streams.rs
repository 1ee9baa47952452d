//! The number of open streams of each user in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shop_contracts::UserId;
use wingbeat::http::Problem;

/// The most streams of one user. A page has one, so this is a browser with many tabs.
const STREAMS_MAX: usize = 16;

/// The open streams.
#[derive(Clone, Default)]
pub struct OpenStreams(Arc<Mutex<BTreeMap<UserId, usize>>>);

/// An open stream. Dropping it closes it.
pub(crate) struct OpenStream {
    streams: OpenStreams,
    user: UserId,
}

impl OpenStreams {
    /// Opens a stream.
    ///
    /// # Errors
    ///
    /// 429 `too_many_streams` if the user has too many.
    pub(crate) fn open(&self, user: UserId) -> Result<OpenStream, Problem> {
        let mut counts = self.lock();
        let count = counts.entry(user).or_default();
        if *count >= STREAMS_MAX {
            let detail = "you follow your orders in too many places; close one";
            return Err(Problem::new(429, "too_many_streams", detail).retry_after(5));
        }
        *count += 1;
        drop(counts);
        Ok(OpenStream {
            streams: self.clone(),
            user,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.streams.lock();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_limited_number_of_streams() {
        let streams = OpenStreams::default();
        let (ada, eve) = (UserId::default(), UserId(uuid::Uuid::from_u128(7)));
        let mut open: Vec<_> = (0..STREAMS_MAX).map(|_| streams.open(ada)).collect();
        assert!(open.iter().all(Result::is_ok));
        let refused = streams.open(ada).err().expect("too many");
        assert_eq!((refused.status, &*refused.code), (429, "too_many_streams"));
        assert!(streams.open(eve).is_ok());
        open.pop();
        assert!(streams.open(ada).is_ok());
        drop(open);
        assert!(
            streams.lock().is_empty(),
            "nothing is kept of closed streams"
        );
    }
}
