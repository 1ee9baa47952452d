//! Batches: several messages that one run of a handler takes together.

use std::ops::Deref;

use wingbeat_core::{Envelope, Error, Message, Result};

use crate::decode;
use crate::unit::Meta;

/// Several messages, which a handler handles in one unit of work.
///
/// A handler whose first argument is a `Batch<M>` subscribes to `M`. The runtime runs it with up to
/// [100 messages](crate::Handler::up_to), or with what has gathered within
/// [100 ms](crate::Handler::within). One commit makes the effects of the run durable and settles
/// all messages of the batch. Use it where the work for many messages costs little more than that
/// for one: totals, imports, calls with lists.
///
/// ```
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// #[event(name = "turnstiles.passed", version = 1, key = turnstile)]
/// struct Passed { turnstile: u32 }
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Visitors(usize);
///
/// impl Entity for Visitors {
///     const NAME: &'static str = "visitors";
///     type Id = String;
/// }
///
/// /// Adds a batch to the total: one read and one write for up to 500 events.
/// async fn count(batch: Batch<Passed>, visitors: Table<Visitors>) -> Result<()> {
///     let known = visitors.get(&"all".into()).await?.unwrap_or_default();
///     visitors.put(&"all".into(), Visitors(known.0 + batch.len()))
/// }
///
/// let count = count.up_to(500).within(Duration::from_millis(200));
/// let museum = Service::new("museum").on(count);
/// # #[cfg(feature = "test")]
/// # {
/// # let app = App::new().service(museum).allow_unknown_owners();
/// # let app = wingbeat::test::TestApp::start(1, app);
/// # for turnstile in 0..40 {
/// #     app.publish(Default::default(), &Passed { turnstile });
/// # }
/// # app.until_idle();
/// # let visitors = app.run(app.reads("museum").entity::<Visitors>(&"all".into()));
/// # assert_eq!(visitors.unwrap().unwrap().0, 40);
/// # }
/// ```
///
/// # Contract
///
/// - A batch is never empty, and has no message twice. Messages that were handled before are left
///   out.
/// - Messages with the same key are in the order of their queue, within a batch and from batch to
///   batch: in a process, a key is in one batch at a time. The order of different keys is not
///   defined.
/// - Messages are acknowledged after the commit. If data that the run has read changes before the
///   commit, the same batch runs again.
/// - If a run fails with a retryable error, the batch is repeated in place, as the
///   [retry policy](crate::Retry) says. If that does not help, or the error is not retryable, each
///   half of the batch is handled by itself, and so on, down to the message that causes the error.
///   This message alone is parked or becomes a dead letter; the others are handled. One poisonous
///   message among n with different keys costs at most 2·log2(n) + 1 runs; a few more if messages
///   share keys, which are not divided if that can be avoided.
/// - [`Meta`] and the trace of a run are those of the first message. Each [`Delivered`] message has
///   its own.
///
/// A batch of one occurs at any time: little traffic, a message that was parked, a message of the
/// past ([`from_beginning`](crate::Handler::from_beginning)). With
/// [`ordered`](crate::Handler::ordered), later messages of a key also wait while one of them waits
/// for its next attempt.
#[derive(Debug)]
pub struct Batch<M> {
    messages: Vec<Delivered<M>>,
}

impl<M> Batch<M> {
    /// Returns the number of messages, at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the messages in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Delivered<M>> {
        self.messages.iter()
    }
}

impl<M> IntoIterator for Batch<M> {
    type Item = Delivered<M>;
    type IntoIter = std::vec::IntoIter<Delivered<M>>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

impl<'a, M> IntoIterator for &'a Batch<M> {
    type Item = &'a Delivered<M>;
    type IntoIter = std::slice::Iter<'a, Delivered<M>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A message of a [`Batch`]. It dereferences to the message.
///
/// ```
/// use wingbeat::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "meters.read", version = 1, key = meter)]
/// # struct MeterRead { meter: u32, value: u32 }
///
/// async fn log(batch: Batch<MeterRead>) -> Result<()> {
///     for read in &batch {
///         tracing::info!(read.meter, read.value, at = %read.meta.time, "a meter was read");
///     }
///     Ok(())
/// }
/// # drop(Service::new("billing").on(log));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivered<M> {
    /// The message.
    pub message: M,
    /// Its metadata, such as its id.
    pub meta: Meta,
}

impl<M> Deref for Delivered<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.message
    }
}

/// The first argument of a message handler: a message, or a [`Batch`] of them.
pub trait Incoming: Sized + Send {
    /// The message to which the handler subscribes.
    type Message: Message;

    /// `true` if the argument can contain several messages.
    const IS_BATCH: bool;

    /// Decodes deliveries. There is exactly one unless this is a batch.
    #[doc(hidden)]
    fn decode(envelopes: &[&Envelope]) -> Result<Self, Unreadable>;
}

/// A delivery of a batch whose body is not that of its message.
#[derive(Debug)]
pub struct Unreadable {
    /// Its position in the batch.
    pub(crate) at: usize,
    pub(crate) why: Error,
}

impl<M: Message> Incoming for M {
    type Message = M;

    const IS_BATCH: bool = false;

    fn decode(envelopes: &[&Envelope]) -> Result<Self, Unreadable> {
        decode(&envelopes[0].body).map_err(|why| Unreadable { at: 0, why })
    }
}

impl<M: Message> Incoming for Batch<M> {
    type Message = M;

    const IS_BATCH: bool = true;

    fn decode(envelopes: &[&Envelope]) -> Result<Self, Unreadable> {
        let decode = |(at, envelope): (usize, &&Envelope)| match decode(&envelope.body) {
            Ok(message) => Ok(Delivered {
                message,
                meta: Meta::from(*envelope),
            }),
            Err(why) => Err(Unreadable { at, why }),
        };
        let messages = envelopes.iter().enumerate().map(decode);
        Ok(Self {
            messages: messages.collect::<Result<_, _>>()?,
        })
    }
}

/// A [`Batch`] of any message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch",
    note = "only handlers whose first argument is a `Batch<_>` gather messages"
)]
pub trait AnyBatch {}

impl<M> AnyBatch for Batch<M> {}
