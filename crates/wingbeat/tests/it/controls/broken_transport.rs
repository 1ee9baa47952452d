//! Transports that each break one promise.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use wingbeat_core::conformance::transport as suite;
use wingbeat_core::transport::{Refused, Settler};
use wingbeat_core::{Consumer, Delivery, Envelope, Error, Name, Result, Tag, Topology, Transport};

use super::with_transport;

/// The broken promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breach {
    NeverReady,
    UnacknowledgedForgotten,
    AcknowledgementsLost,
    PrefetchIgnored,
    PublishedTwice,
    PublishedNever,
    UnroutableSwallowed,
    RedeliveryHidden,
    GivenBackForgotten,
    DepthOfNothing,
    OrderIgnored,
}

struct BrokenTransport {
    inner: Arc<dyn Transport>,
    breach: Breach,
}

impl Transport for BrokenTransport {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        match self.breach {
            Breach::NeverReady => {
                Box::pin(async { Err(Error::retry("broker_unavailable", "never")) })
            }
            _ => self.inner.ping(),
        }
    }

    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>> {
        let mut topology = topology.clone();
        for queue in topology.queues.values_mut() {
            queue.ordered &= self.breach != Breach::OrderIgnored;
        }
        Box::pin(async move { self.inner.declare(&topology).await })
    }

    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        Box::pin(async move {
            match self.breach {
                Breach::PublishedNever => return vec![Ok(()); messages.len()],
                Breach::PublishedTwice => drop(self.inner.publish(messages.clone()).await),
                _ => {}
            }
            let answers = self.inner.publish(messages).await;
            match self.breach {
                Breach::UnroutableSwallowed => vec![Ok(()); answers.len()],
                _ => answers,
            }
        })
    }

    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let ignored = self.breach == Breach::PrefetchIgnored;
        Box::pin(async move {
            let inner = self
                .inner
                .consume(queue, if ignored { 100 } else { prefetch })
                .await?;
            Ok(Box::new(BrokenConsumer {
                inner,
                breach: self.breach,
            }) as Box<dyn Consumer>)
        })
    }

    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>> {
        match self.breach {
            Breach::DepthOfNothing => Box::pin(async { Ok(0) }),
            _ => self.inner.depth(queue),
        }
    }
}

struct BrokenConsumer {
    inner: Box<dyn Consumer>,
    breach: Breach,
}

impl Consumer for BrokenConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            let mut deliveries = self.inner.next().await?;
            for delivery in &mut deliveries {
                delivery.redelivered &= self.breach != Breach::RedeliveryHidden;
                if self.breach == Breach::UnacknowledgedForgotten {
                    self.inner.settler().acknowledge(&[delivery.tag]);
                }
            }
            Ok(deliveries)
        })
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(BrokenSettler {
            inner: self.inner.settler(),
            breach: self.breach,
        })
    }
}

struct BrokenSettler {
    inner: Arc<dyn Settler>,
    breach: Breach,
}

impl Settler for BrokenSettler {
    fn acknowledge(&self, tags: &[Tag]) {
        if self.breach != Breach::AcknowledgementsLost {
            self.inner.acknowledge(tags);
        }
    }

    fn requeue(&self, tags: &[Tag]) {
        match self.breach {
            Breach::GivenBackForgotten => self.inner.acknowledge(tags),
            _ => self.inner.requeue(tags),
        }
    }
}

macro_rules! caught {
    ($($name:ident: $breach:ident is caught by $test:ident;)*) => {
        $(
            #[test]
            #[should_panic]
            fn $name() {
                let broken = |inner| -> Arc<dyn Transport> {
                    let breach = Breach::$breach;
                    Arc::new(BrokenTransport { inner, breach })
                };
                with_transport(broken, |fixture| Box::pin(suite::$test(fixture)));
            }
        )*
    };
}

caught! {
    a_transport_that_is_never_ready: NeverReady is caught by a_ping_succeeds_at_any_time;
    a_transport_that_loses_unacknowledged_deliveries: UnacknowledgedForgotten
        is caught by unacknowledged_deliveries_are_redelivered;
    a_transport_that_loses_deliveries_in_a_restart: UnacknowledgedForgotten
        is caught by acknowledged_deliveries_stay_acknowledged_over_a_restart;
    a_transport_that_loses_acknowledgements: AcknowledgementsLost
        is caught by acknowledged_deliveries_are_never_redelivered;
    a_transport_without_a_prefetch: PrefetchIgnored
        is caught by no_more_than_the_prefetch_is_delivered;
    a_transport_that_publishes_twice: PublishedTwice
        is caught by an_event_reaches_each_bound_queue_once;
    a_transport_that_loses_confirmed_messages: PublishedNever
        is caught by a_command_reaches_only_its_queue;
    a_transport_that_confirms_unroutable_messages: UnroutableSwallowed
        is caught by a_command_without_a_queue_is_unroutable;
    a_transport_that_hides_redelivery: RedeliveryHidden
        is caught by unacknowledged_deliveries_are_redelivered;
    a_transport_that_loses_requeued_deliveries: GivenBackForgotten
        is caught by requeued_deliveries_are_redelivered;
    a_transport_that_keeps_no_order: OrderIgnored
        is caught by an_ordered_queue_keeps_the_order_of_publishing;
    a_transport_with_two_consumers_of_an_ordered_queue: OrderIgnored
        is caught by an_ordered_queue_has_one_consumer_at_a_time;
    a_transport_that_reports_an_empty_queue: DepthOfNothing
        is caught by the_depth_counts_waiting_and_unacknowledged_messages;
}
