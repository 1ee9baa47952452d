//! Large bodies: where they are kept, and how messages refer to them (claim check).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wingbeat_core::bodies::{Bodies, BodyRef, STORED_MAX, UNAVAILABLE, day};
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::{Envelope, Error, Result, Timestamp};

use crate::telemetry::meters::body_used;

/// The default retention: 30 days. A delivery waits at most seven days for another release.
pub(crate) const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// The largest number of bodies that are deleted at once.
const SWEEP_MAX: usize = 64;

/// The default memory for bodies that are being handled: four of the largest.
const MEMORY: usize = 4 * STORED_MAX;
/// The unit in which the memory is counted, since a semaphore has a limited number of permits.
const MEMORY_UNIT: u64 = 1 << 10;

/// The code of a batch whose bodies do not fit into the memory for them together.
pub(crate) const NO_ROOM: &str = "bodies_no_room";
/// The code of a body that is not stored, or no longer.
const GONE: &str = "body_gone";
/// The code of a stored body that is not the one that was published.
const MISMATCH: &str = "body_mismatch";

/// The place for bodies that are too large for a message, and when it is used.
///
/// A body above the [threshold](Self::threshold) is stored before the unit of its message is
/// committed, and the message carries a reference. Each subscriber fetches the body before it
/// decodes the message. A body can have up to 32 MiB
/// ([`STORED_MAX`]).
///
/// An app keeps large bodies in its store unless [`App::large_bodies`](crate::App::large_bodies)
/// says otherwise: in a directory beside the embedded database, or in a schema of PostgreSQL that
/// all services share.
///
/// ```
/// # #[cfg(feature = "embedded")]
/// # {
/// use std::time::Duration;
/// use wingbeat::App;
/// use wingbeat::bodies::LargeBodies;
///
/// // A volume that all processes share.
/// let mut bodies = LargeBodies::new(wingbeat_embedded::FileBodies::new("/mnt/bodies"));
/// bodies.threshold = 256 << 10;
/// bodies.retention = Duration::from_secs(60 * 24 * 3600);
/// let app = App::new().large_bodies(Some(bodies));
/// # drop(app);
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct LargeBodies {
    /// The store of bodies.
    pub store: Arc<dyn Bodies>,
    /// The size in bytes above which a body is stored. The default is the limit of a message,
    /// 1 MiB; larger values have no effect.
    pub threshold: usize,
    /// The time for which a body is kept, at least, counted from the time at which its message was
    /// published or its delay ends. 30 days by default.
    ///
    /// A message that is handled later becomes a dead letter with the code `body_gone`. So the
    /// retention must exceed the longest time that a message may wait: in a queue, parked (a
    /// delivery that waits for another release does so for seven days), or as a dead letter that
    /// will be retried.
    pub retention: Duration,
    room: Room,
}

/// The memory for bodies that are being handled. Clones share it.
#[derive(Clone)]
struct Room {
    free: Arc<Semaphore>,
    units: u32,
}

impl Room {
    fn new(bytes: usize) -> Self {
        let units = (bytes as u64 / MEMORY_UNIT).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }
}

impl LargeBodies {
    /// Keeps large bodies in `store`, with the default threshold, retention and memory.
    #[must_use]
    pub fn new(store: Arc<dyn Bodies>) -> Self {
        Self {
            store,
            threshold: BODY_MAX,
            retention: RETENTION,
            room: Room::new(MEMORY),
        }
    }

    /// Sets the memory in bytes that fetched bodies may occupy until they were handled, in all
    /// subscriptions together that share this value. The default is 128 MiB. Deliveries beyond it
    /// wait; a larger body is handled while no other one is.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.room = Room::new(bytes);
        self
    }

    /// Returns whether a message must refer to this body: it is too large, or it could be taken for
    /// a reference itself.
    pub(crate) fn takes(&self, body: &[u8]) -> bool {
        body.len() > self.threshold.min(BODY_MAX) || BodyRef::of(body).is_some()
    }

    /// Stores a body durably. Returns the body of the message that refers to it. `at` is the time
    /// at which the message is published.
    ///
    /// # Errors
    ///
    /// `bodies_unavailable`.
    pub(crate) async fn put(&self, body: &Bytes, at: Timestamp) -> Result<Bytes> {
        let stored = BodyRef {
            day: day(at),
            size: body.len() as u64,
            digest: Sha256::digest(body).into(),
        };
        let put = self.store.put(stored, body.clone()).await;
        body_used(if put.is_ok() { "stored" } else { "unavailable" });
        put?;
        Ok(stored.body())
    }

    /// Deletes a bounded number of bodies whose retention has ended. Returns how many.
    ///
    /// # Errors
    ///
    /// `bodies_unavailable`.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<usize> {
        let retention = i64::try_from(self.retention.as_micros()).unwrap_or(i64::MAX);
        let oldest = Timestamp::from_micros(now.as_micros().saturating_sub(retention));
        self.store.sweep(day(oldest), SWEEP_MAX).await
    }
}

/// Returns whether an error says that the store of bodies does not answer. As while the store of
/// records is unavailable, every attempt fails then, and none counts.
pub(crate) fn is_outage(why: &Error) -> bool {
    why.code() == UNAVAILABLE
}

/// Returns whether the body of a message is the reference to a stored one.
pub(crate) fn is_stored(envelope: &Envelope) -> bool {
    BodyRef::of(&envelope.body).is_some()
}

/// Waits until the stored bodies of these messages fit into the memory for them, and occupies it
/// until the returned value is dropped; `None` if nothing has to be fetched.
///
/// A caller that occupies memory must not ask for more.
///
/// # Errors
///
/// `bodies_no_room` if several bodies never fit together. One that is larger than all of the memory
/// gets all of it.
pub(crate) async fn room(
    bodies: Option<&LargeBodies>,
    messages: impl Iterator<Item = &Envelope>,
) -> Result<Option<OwnedSemaphorePermit>> {
    let Some(LargeBodies { room, .. }) = bodies else {
        return Ok(None);
    };
    // A body that claims to be larger is refused before it is fetched.
    let sizes = messages.filter_map(|it| Some(BodyRef::of(&it.body)?.size));
    let fetched: Vec<u64> = sizes.filter(|size| *size <= STORED_MAX as u64).collect();
    let units: u64 = fetched.iter().map(|size| size.div_ceil(MEMORY_UNIT)).sum();
    if units > u64::from(room.units) && fetched.len() > 1 {
        let text = "the large bodies of this batch do not fit into memory together";
        return Err(Error::reject(NO_ROOM, text));
    }
    let units = u32::try_from(units).map_or(room.units, |units| units.min(room.units));
    if units == 0 {
        return Ok(None);
    }
    let occupied = Arc::clone(&room.free).acquire_many_owned(units).await;
    Ok(Some(occupied.expect("the semaphore is never closed")))
}

/// Returns the message with its body: as it is, or fetched from the store and verified.
///
/// # Errors
///
/// `bodies_unavailable`; `body_gone` if the body is not stored; `body_mismatch` if the stored body
/// is another one than was published.
pub(crate) async fn fetch(bodies: Option<&LargeBodies>, envelope: Envelope) -> Result<Envelope> {
    let Some(stored) = BodyRef::of(&envelope.body) else {
        return Ok(envelope);
    };
    let fetched = fetch_stored(bodies, stored).await;
    body_used(match &fetched {
        Ok(_) => "fetched",
        Err(why) if is_outage(why) => "unavailable",
        Err(why) if why.code() == GONE => "gone",
        Err(_) => "mismatch",
    });
    Ok(Envelope {
        body: fetched?,
        ..envelope
    })
}

async fn fetch_stored(bodies: Option<&LargeBodies>, stored: BodyRef) -> Result<Bytes> {
    let uri = stored.uri();
    let Some(bodies) = bodies else {
        let text = format!("this process has no store of large bodies for {uri}: set --bodies");
        return Err(Error::reject(GONE, text));
    };
    let mismatch = |what| Error::reject(MISMATCH, format!("the body of {uri} {what}"));
    if stored.size > STORED_MAX as u64 {
        return Err(mismatch("is larger than any that can be stored"));
    }
    let Some(body) = bodies.store.get(stored).await? else {
        let text = format!("the body {uri} is not stored, or no longer");
        return Err(Error::reject(GONE, text));
    };
    let is_right = body.len() as u64 == stored.size && Sha256::digest(&body)[..] == stored.digest;
    if !is_right {
        return Err(mismatch(
            "has another size or digest than it was published with",
        ));
    }
    Ok(body)
}
