//! The reply queue of a process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::{Consumer, Dialog, Envelope, LogLimit, RuntimeExt as _, Transport};

use super::pending::{PENDING_MAX, Pending};
use crate::runtime::Control;
use crate::unit::ServiceContext;

/// The pause before the reply queue is opened again.
const REOPEN: Duration = Duration::from_millis(250);

/// Receives the replies of a process.
pub(super) struct Inbox {
    pub(super) service: Arc<ServiceContext>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) pending: Arc<Pending>,
    /// Set while the reply queue is open.
    pub(super) open: watch::Sender<bool>,
}

impl Inbox {
    /// Receives replies until the app drains and no request waits any more. Opens the queue again
    /// whenever its consumer is lost.
    pub(super) async fn run(self, control: watch::Receiver<Control>) {
        let pending = Arc::clone(&self.pending);
        let drained = async move {
            let mut control = control;
            let _ = control.wait_for(|it| *it == Control::Draining).await;
            pending.emptied().await;
        };
        tokio::select! {
            biased;
            () = drained => {}
            () = self.receive() => {}
        }
        self.open.send_replace(false); // Later requests fail at once.
    }

    async fn receive(&self) {
        let (runtime, limit) = (
            &self.service.runtime,
            LogLimit::new(1, Duration::from_secs(10)),
        );
        loop {
            // The same name each time: replies under way find the queue that was opened again.
            let opened = self.transport.replies(self.pending.queue(), PENDING_MAX);
            let why = match opened.await {
                Ok(consumer) => {
                    self.open.send_replace(true);
                    let why = self.take_from(consumer).await;
                    self.open.send_replace(false);
                    why
                }
                Err(why) => why,
            };
            if let Some(suppressed) = limit.admit(runtime.elapsed()) {
                tracing::warn!(service = %self.service.name, code = why.code(), suppressed, "cannot receive replies, opening the reply queue again: {why}");
            }
            runtime.sleep(REOPEN + runtime.jitter(REOPEN)).await;
        }
    }

    /// Takes replies until the consumer is lost.
    async fn take_from(&self, mut consumer: Box<dyn Consumer>) -> wingbeat_core::Error {
        let settler = consumer.settler();
        loop {
            let deliveries = match consumer.next().await {
                Ok(deliveries) => deliveries,
                Err(why) => return why,
            };
            let tags: Vec<_> = deliveries.iter().map(|it| it.tag).collect();
            for delivery in deliveries {
                match delivery.envelope {
                    Ok(reply) => self.take(reply),
                    Err(broken) => {
                        let why = broken.broken.why;
                        tracing::warn!(service = %self.service.name, code = "undecodable", "a reply was discarded: {why}");
                    }
                }
            }
            settler.acknowledge(&tags);
        }
    }

    fn take(&self, reply: Envelope) {
        let is_reply = matches!(reply.dialog, Some(Dialog::Reply { .. }));
        let trust = self.service.trust.as_ref();
        let admitted = trust.map_or(Ok(()), |trust| trust.admit(&reply).map(drop));
        let why = match admitted {
            Ok(()) if is_reply => return self.pending.reply(reply),
            Ok(()) => "it is no reply".to_owned(),
            Err(why) => why,
        };
        tracing::warn!(service = %self.service.name, kind = %reply.kind, code = "forged", "a reply was discarded: {why}");
    }
}
