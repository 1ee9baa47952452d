//! Deliveries of a version that this release does not know. They wait for a release that does.
//!
//! While a system is upgraded, replicas of two releases share queues and due records. One of the
//! older release may get a message of a newer version, which only the newer one can decode. It
//! leaves the message here. Replicas look for messages of the versions that they know. A replica of
//! the older release that claims one before it is handled puts it back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use wingbeat_core::{Envelope, Key, MessageId, Name, Result, RuntimeExt as _};

use super::dead_letter::{PARKED, key_of, parked_key};
use crate::runtime::Control;
use crate::unit::{Scope, ServiceContext, counter, due, remove, run_unit};

/// The table of waiting deliveries. Each has a due time, at which it becomes a dead letter.
pub(crate) const WAITING: Name = Name::new("wb.waiting");
/// The time for which a delivery waits.
pub(crate) const WAITS_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// The pause between two looks at the waiting deliveries, without its random part.
const LOOK: Duration = Duration::from_secs(4);
/// The deliveries that one unit hands over. Each contains its message, which may be large.
const BATCH: usize = 16;

/// The key of a waiting delivery. The deliveries of one queue and type are neighbours.
pub(crate) fn waiting_key(queue: Name, envelope: &Envelope) -> Key {
    waiting_form(queue, &envelope.kind, &parked_key(queue, envelope, false))
}

/// The key under which a delivery waits that has this key when it is parked.
fn waiting_form(queue: Name, kind: &str, parked: &Key) -> Key {
    let rest = &parked.id[queue.as_str().len()..];
    Key::new(WAITING, format!("{queue}/{kind}{rest}"))
}

/// Removes a timer that has fired and is parked, or waits for another release.
pub(crate) async fn withdraw(
    scope: &Scope,
    queue: Name,
    kind: &str,
    timer: MessageId,
) -> Result<()> {
    let parked = key_of(queue, scope.service().name.as_str(), timer);
    let waiting = waiting_form(queue, kind, &parked);
    for key in [parked, waiting] {
        if scope.load(&key).await?.body.is_some() {
            scope.write(remove(key))?;
            // It counts like one that was handled.
            scope.count(counter("handled", queue.as_str()), 1)?;
            scope.count(counter("parked", queue.as_str()), -1)?;
        }
    }
    Ok(())
}

/// Hands the waiting deliveries of a service over to the subscriptions that know their versions.
pub(crate) struct Waiting {
    pub(crate) service: Arc<ServiceContext>,
    /// The queues, each with the wire types that its handler takes.
    pub(crate) takes: Vec<(Name, Vec<&'static str>)>,
    pub(crate) control: watch::Receiver<Control>,
}

impl Waiting {
    pub(crate) async fn run(mut self) {
        while *self.control.borrow() != Control::Draining {
            if let Err(why) = self.hand_over().await {
                tracing::warn!(service = %self.service.name, code = why.code(), "cannot look for deliveries that wait for this release, trying again: {why}");
            }
            let runtime = &self.service.runtime;
            let pause = LOOK + runtime.jitter(LOOK / 4);
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                () = runtime.sleep(pause) => {}
            }
        }
    }

    async fn hand_over(&self) -> Result<()> {
        if self.service.store.scan(WAITING, None, 1).await?.is_empty() {
            return Ok(());
        }
        for (queue, kinds) in &self.takes {
            for kind in kinds {
                self.hand_over_all(*queue, kind).await?;
            }
        }
        Ok(())
    }

    /// Hands over the deliveries of one queue and type, until the service drains: then its
    /// subscriptions handle nothing more.
    async fn hand_over_all(&self, queue: Name, kind: &str) -> Result<()> {
        let prefix = format!("{queue}/{kind}/");
        let mut after = prefix.clone();
        while *self.control.borrow() != Control::Draining {
            // From the start, a store might have to skip all that was deleted before.
            let page = self.service.store.scan(WAITING, Some(after), BATCH);
            let ids = page.await?.into_iter().map(|(id, _)| id);
            let ids: Vec<String> = ids.take_while(|id| id.starts_with(&prefix)).collect();
            let Some(last) = ids.last().cloned() else {
                return Ok(());
            };
            after = last;
            let (ids, prefix) = (&ids, prefix.as_str());
            run_unit(&self.service, |scope| async move {
                for id in ids {
                    let parked = format!("{queue}/{}", &id[prefix.len()..]);
                    hand_over(&scope, Key::new(WAITING, id.as_str()), parked).await?;
                }
                Ok::<(), wingbeat_core::Error>(())
            })
            .await?;
            tracing::info!(%queue, kind, deliveries = ids.len(), "deliveries that waited for this release are handled");
        }
        Ok(())
    }
}

/// Turns a waiting delivery into a parked one that is due, unless another replica has done so.
async fn hand_over(scope: &Scope, key: Key, parked: String) -> Result<()> {
    let body: Option<Bytes> = scope.load(&key).await?.body;
    let Some(body) = body else {
        return Ok(());
    };
    scope.write(remove(key))?;
    scope.write(due(Key::new(PARKED, parked), body, scope.now()))
}
