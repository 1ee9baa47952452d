//! A consumer that an operator's command has on a queue until it deletes the queue.
//!
//! RabbitMQ reports a quorum queue without messages and consumers while its leader does not reply.
//! Such a report says nothing about the queue. A command that empties or deletes a queue therefore
//! has a consumer of its own, and a report that lacks it is no answer.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::FutureExt as _;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;
use wingbeat_core::{Error, Result};

use crate::access::{Access, Counts, in_use};
use crate::connection::unavailable;
use crate::topology::open;

/// The pause after which a consumer without deliveries asks how many messages wait.
const IDLE: Duration = Duration::from_millis(50);
/// The time for which a queue has to be empty and without other consumers: longer than a message
/// that was routed takes to arrive, and than a closed channel takes to disappear.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// The longest wait for the leader of a queue, for deliveries, and for consumers to leave.
const STUCK: Duration = Duration::from_secs(30);

/// The meaning of a report on a queue that has a consumer of the command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Look {
    /// The leader of the queue did not reply.
    Unanswered,
    /// The number of other consumers.
    Shared(u64),
    /// The command is the only consumer. The number of messages that wait.
    Alone(u64),
}

impl Look {
    fn at(counts: Counts) -> Self {
        match counts.consumers {
            0 => Self::Unanswered,
            1 => Self::Alone(counts.waiting),
            more => Self::Shared(more - 1),
        }
    }
}

/// The reports on a queue so far.
pub(crate) struct Looks {
    /// The time since which all reports are good.
    good_since: Option<Instant>,
    /// The time of the last good report or delivery.
    progress: Instant,
}

impl Looks {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            good_since: None,
            progress: now,
        }
    }

    /// Notes that a message was delivered.
    pub(crate) fn delivered(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Returns whether the queue was empty and without other consumers for [`SETTLE`].
    ///
    /// # Errors
    ///
    /// `topology_in_use` if others consume from the queue; `broker_unavailable` if the queue does
    /// not reply, or does not deliver its messages.
    pub(crate) fn settled(&mut self, queue: &str, look: Look, now: Instant) -> Result<bool> {
        if look == Look::Alone(0) {
            self.progress = now;
            return Ok(now - *self.good_since.get_or_insert(now) >= SETTLE);
        }
        self.good_since = None;
        if now - self.progress <= STUCK {
            return Ok(false);
        }
        Err(match look {
            Look::Shared(consumers) => in_use(queue, consumers),
            Look::Unanswered => {
                let text = format!("the leader of the queue `{queue}` does not reply");
                Error::retry("broker_unavailable", text)
            }
            Look::Alone(waiting) => {
                let text = format!(
                    "RabbitMQ delivers none of the {waiting} messages of the queue `{queue}`"
                );
                Error::retry("broker_unavailable", text)
            }
        })
    }
}

/// A queue on which the command has a consumer.
pub(crate) struct Held<'a> {
    access: &'a Access,
    pub(crate) queue: &'a str,
    channel: Channel,
    /// Dropped after the channel was closed: it cancels itself.
    stream: lapin::Consumer,
    prefetch: u16,
    /// The last delivery that is not acknowledged.
    last: Option<u64>,
}

impl<'a> Held<'a> {
    /// Opens a consumer. The messages that it does not acknowledge return to the queue.
    pub(crate) async fn open(access: &'a Access, queue: &'a str, prefetch: u16) -> Result<Self> {
        let channel = open(&access.consuming).await?;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        qos.await.map_err(|e| unavailable(&e))?;
        let consumed = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        Ok(Self {
            stream: consumed.await.map_err(|e| unavailable(&e))?,
            access,
            queue,
            channel,
            prefetch,
            last: None,
        })
    }

    pub(crate) async fn look(&self) -> Result<Look> {
        let counts = self.access.counts(self.queue).await?;
        counts.map(Look::at).ok_or_else(|| self.gone())
    }

    /// Waits until the broker reports no other consumer. A consumer whose channel was just closed
    /// may still be counted.
    ///
    /// # Errors
    ///
    /// `topology_in_use` if others consume from the queue; `broker_unavailable` if the queue does
    /// not reply.
    pub(crate) async fn alone(&self) -> Result<()> {
        let mut looks = Looks::new(Instant::now());
        loop {
            let look = self.look().await?;
            if matches!(look, Look::Alone(_)) {
                return Ok(());
            }
            looks.settled(self.queue, look, Instant::now())?;
            tokio::time::sleep(IDLE).await;
        }
    }

    /// Returns the next deliveries, at most as many as the prefetch, or none after a short pause.
    pub(crate) async fn batch(&mut self) -> Result<Vec<Delivery>> {
        let mut batch = Vec::new();
        let Ok(next) = tokio::time::timeout(IDLE, self.stream.next()).await else {
            return Ok(batch);
        };
        let mut next = Some(next);
        while let Some(delivered) = next.take() {
            let delivered = delivered.ok_or_else(|| self.gone())?;
            let delivered = delivered.map_err(|e| unavailable(&e))?;
            self.last = Some(delivered.delivery_tag);
            batch.push(delivered);
            if batch.len() < usize::from(self.prefetch) {
                next = self.stream.next().now_or_never();
            }
        }
        Ok(batch)
    }

    /// Waits shortly for a first delivery, which it does not acknowledge.
    pub(crate) async fn peek(&mut self) -> Result<()> {
        if self.last.is_some() {
            tokio::time::sleep(IDLE).await;
            return Ok(());
        }
        self.batch().await.map(drop)
    }

    /// Returns 1 after a first delivery, and 0 before, with a prefetch of 1.
    pub(crate) fn peeked(&self) -> u64 {
        self.last.map_or(0, |_| 1)
    }

    /// Acknowledges all deliveries that were returned.
    pub(crate) async fn acknowledge(&mut self) -> Result<()> {
        if let Some(last) = self.last.take() {
            let all = BasicAckOptions { multiple: true };
            let acknowledged = self.channel.basic_ack(last, all).await;
            acknowledged.map_err(|e| unavailable(&e))?;
        }
        Ok(())
    }

    /// Deletes the queue, while it still has the consumer.
    pub(crate) async fn delete(self) -> Result<()> {
        let channel = open(&self.access.consuming).await?;
        let deleted = channel.queue_delete(self.queue.into(), QueueDeleteOptions::default());
        deleted.await.map_err(|e| unavailable(&e))?;
        let _ = channel.close(200, "deleted".into()).await;
        self.close().await;
        Ok(())
    }

    /// Closes the consumer. An error is of no interest: the broker requeues the messages also when
    /// the channel is lost.
    pub(crate) async fn close(self) {
        let _ = self.channel.close(200, "done".into()).await;
    }

    fn gone(&self) -> Error {
        let text = format!("the queue `{}` was deleted meanwhile", self.queue);
        Error::retry("broker_unavailable", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn look(consumers: u64, waiting: u64) -> Look {
        Look::at(Counts { waiting, consumers })
    }

    /// Returns the results of one look per second.
    fn results(looks: &[Look]) -> Vec<std::result::Result<bool, &'static str>> {
        let begin = Instant::now();
        let mut so_far = Looks::new(begin);
        let times = (1..).map(|number| begin + number * SECOND);
        let result = |(look, now): (&Look, Instant)| {
            let settled = so_far.settled("q", *look, now);
            settled.map_err(|why| why.code())
        };
        looks.iter().zip(times).map(result).collect()
    }

    #[test]
    fn a_report_without_the_own_consumer_is_no_answer() {
        assert_eq!(look(0, 0), Look::Unanswered);
        let results = results(&[look(0, 0); 32]);
        assert!(results[..30].iter().all(|it| *it == Ok(false)));
        assert_eq!(results[31], Err("broker_unavailable"));
    }

    #[test]
    fn a_queue_is_empty_after_it_was_empty_for_some_time() {
        let empty = look(1, 0);
        assert_eq!(results(&[empty, empty]), [Ok(false), Ok(true)]);
        for other in [look(0, 0), look(1, 3), look(2, 0)] {
            let results = results(&[empty, other, empty, empty]);
            assert_eq!(results, [Ok(false), Ok(false), Ok(false), Ok(true)]);
        }
    }

    #[test]
    fn a_delivery_shows_that_a_queue_was_not_empty() {
        let begin = Instant::now();
        let mut looks = Looks::new(begin);
        assert!(!looks.settled("q", look(1, 0), begin).unwrap());
        looks.delivered(begin + SECOND);
        let settled = looks.settled("q", look(1, 0), begin + 2 * SECOND);
        assert!(!settled.unwrap());
    }

    #[test]
    fn a_queue_that_stays_in_use_or_delivers_nothing_is_an_error() {
        assert_eq!(results(&[look(3, 0); 32])[31], Err("topology_in_use"));
        assert_eq!(results(&[look(1, 5); 32])[31], Err("broker_unavailable"));
    }
}
