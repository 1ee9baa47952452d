//! The router of a subscription: moves messages to partitions, and changes their number.
//!
//! A router is active from the first delivery of its consumer until that consumer ends. When it
//! becomes active, it writes itself into the stored [`Spread`]. Only that router may change the
//! number of partitions. A replica that does not know yet that its consumer has ended may still
//! move messages as it did before: the broker delivers them again to the active router, each
//! partition receives the messages of a key in their order, and the inbox recognizes copies.
//!
//! An ordered subscription has a router, too, since it may have partitions in another release. It
//! wants none, and leaves the messages to the handler as soon as the partitions are empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{RwLock, watch};
use uuid::Uuid;
use wingbeat_core::transport::Refused;
use wingbeat_core::{
    CorrelationId, Envelope, Error, Kind, LogLimit, Name, Propagation, Result, RuntimeExt as _,
    Transport, sabotage,
};

use super::spread::{Spread, announce};
use super::{MARK, number, partition};
use crate::runtime::Control;
use crate::unit::{ServiceContext, run_unit};

/// The pause before another attempt to move a message, or to read the store.
const AGAIN: Duration = Duration::from_millis(200);
/// The pause before another attempt to store the number of partitions at the start.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// The time within which every router has noticed that the number of partitions is to change.
const NOTICED: Duration = Duration::from_secs(3);
/// The pause between two looks at the inbox.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The key of marks.
const MARK_KEY: &str = "wb.mark";
/// The code of a router in whose place another one has become active.
const REPLACED: &str = "router_replaced";

/// The number of partitions that stands for no change.
const UNCHANGED: u32 = u32::MAX;

/// The place where a message is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A partition: the message is durable there.
    Partition,
    /// The queue of the subscription, which has no partitions any more.
    Here,
}

/// The reason why a message was not moved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The broker delivers it to another router.
    Released,
    /// No broker can take it.
    Impossible(String),
}

/// The router of one subscription in this process.
pub(crate) struct Router {
    service: Arc<ServiceContext>,
    transport: Arc<dyn Transport>,
    queue: Name,
    /// The number of partitions of this release; 0 if it has none.
    declared: u32,
    /// The number of the consumer whose deliveries make this router active; 0 if it is not.
    session: AtomicU64,
    /// The number of partitions that is to follow, or [`UNCHANGED`].
    wanted: AtomicU32,
    /// Read while a message is moved, written while the number changes.
    claimed: RwLock<Claimed>,
    outages: LogLimit,
}

/// The stored state when this router became active.
#[derive(Default)]
struct Claimed {
    session: u64,
    router: Uuid,
    /// The number of partitions; `None` before the router was active for the first time.
    count: Option<u32>,
}

fn replaced() -> Error {
    Error::retry(REPLACED, "another replica moves the messages")
}

impl Router {
    pub(crate) fn new(
        service: Arc<ServiceContext>,
        transport: Arc<dyn Transport>,
        queue: Name,
        declared: u32,
    ) -> Self {
        Self {
            service,
            transport,
            queue,
            declared,
            session: AtomicU64::new(0),
            wanted: AtomicU32::new(UNCHANGED),
            claimed: RwLock::default(),
            outages: LogLimit::new(3, Duration::from_secs(10)),
        }
    }

    /// Returns whether this release moves messages: its subscription has partitions.
    pub(crate) fn moves(&self) -> bool {
        self.declared > 0
    }

    /// Returns the queue of the subscription.
    pub(crate) fn queue(&self) -> Name {
        self.queue
    }

    /// Stores the number of partitions of this release.
    pub(crate) async fn announce(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        while let Err(why) = announce(&self.service, self.queue, self.declared).await {
            let (queue, code) = (self.queue, why.code());
            tracing::warn!(%queue, code, "cannot store the number of partitions, trying again: {why}");
            tokio::select! {
                biased;
                _ = control.changed() => return,
                () = self.service.runtime.sleep(ANNOUNCE_AGAIN) => {}
            }
        }
    }

    /// Makes the router active if the consumer with this number, from 1, is new.
    pub(crate) fn activate(&self, consumer: u64) {
        self.session.store(consumer, Ordering::SeqCst);
    }

    /// Notes that the consumer has ended.
    pub(crate) fn deactivate(&self) {
        self.session.store(0, Ordering::SeqCst);
    }

    /// Notes the stored state, as of the last look.
    pub(super) fn noticed(&self, spread: &Spread) {
        let wanted = spread.next.unwrap_or(UNCHANGED);
        self.wanted.store(wanted, Ordering::SeqCst);
    }

    /// Moves a message to its partition, if there are some. Returns once it is durable there.
    pub(crate) async fn forward(&self, message: &Envelope) -> Result<Place, Undone> {
        loop {
            match self.try_to_forward(message).await {
                Some(Ok(place)) => return Ok(place),
                Some(Err(Refused::Impossible(why))) => return Err(Undone::Impossible(why)),
                Some(Err(why)) => self.pause_after("cannot move a message", &why).await,
                None => match self.adopt().await {
                    Ok(()) => {}
                    Err(why) if why.code() == REPLACED => return Err(Undone::Released),
                    Err(why) => self.pause_after("cannot choose partitions", &why).await,
                },
            }
        }
    }

    async fn pause_after(&self, what: &str, why: &(dyn std::error::Error + Sync)) {
        let runtime = &self.service.runtime;
        if let Some(suppressed) = self.outages.admit(runtime.elapsed()) {
            tracing::warn!(queue = %self.queue, suppressed, "{what}, trying again: {why}");
        }
        runtime.sleep(AGAIN + runtime.jitter(AGAIN)).await;
    }

    /// Moves a message if the number of partitions is known and does not change.
    async fn try_to_forward(&self, message: &Envelope) -> Option<Result<Place, Refused>> {
        let claimed = self.claimed.read().await;
        let count = claimed.count?;
        let session = self.session.load(Ordering::SeqCst);
        let was_active = session == 0;
        let is_active = session > 0 && session == claimed.session;
        let is_ready = is_active && !self.changes(count);
        if !(was_active || is_ready) {
            return None;
        }
        if count == 0 {
            return Some(Ok(Place::Here));
        }
        let to = partition(self.queue, number(message, count));
        Some(self.put(to, message).await.map(|()| Place::Partition))
    }

    async fn put(&self, to: Name, message: &Envelope) -> Result<(), Refused> {
        let results = self.transport.forward(to, vec![message.clone()]).await;
        let result = results.into_iter().next();
        result.unwrap_or_else(|| Err(Refused::Unconfirmed("not sent".into())))
    }

    fn changes(&self, count: u32) -> bool {
        let wanted = self.wanted.load(Ordering::SeqCst);
        wanted != UNCHANGED && wanted != count
    }

    /// Becomes the router of the subscription, and changes the number of partitions if that is due.
    ///
    /// # Errors
    ///
    /// `router_replaced` if another one is active; a store error.
    async fn adopt(&self) -> Result<()> {
        let mut claimed = self.claimed.write().await;
        let session = self.session.load(Ordering::SeqCst);
        if session == 0 {
            return Err(replaced());
        }
        let is_new = claimed.session != session;
        if is_new {
            let router = self.service.runtime.id();
            let spread = self.claim(router).await?;
            self.check(session)?;
            self.noticed(&spread);
            *claimed = Claimed {
                session,
                router,
                count: Some(spread.count),
            };
        }
        let Some(count) = claimed.count.filter(|it| self.changes(*it)) else {
            return Ok(());
        };
        if count == 0 && !is_new {
            // The handler may be at work on messages of this session. They must also go to the
            // partitions, before those that follow: the broker delivers them all again.
            return Err(replaced());
        }
        self.change(&mut claimed, count).await
    }

    fn check(&self, session: u64) -> Result<()> {
        if self.session.load(Ordering::SeqCst) == session {
            return Ok(());
        }
        Err(replaced())
    }

    async fn claim(&self, router: Uuid) -> Result<Spread> {
        run_unit(&self.service, |scope| async move {
            let known = Spread::load(&scope, self.queue).await?;
            let spread = Spread {
                router: Some(router),
                ..known.unwrap_or_else(|| Spread::new(self.declared))
            };
            spread.put(&scope, self.queue)?;
            Ok(spread)
        })
        .await
    }

    /// Changes the number of partitions once all messages in them are settled. Nothing is moved
    /// meanwhile: new messages wait in the queue of the subscription.
    async fn change(&self, claimed: &mut Claimed, before: u32) -> Result<()> {
        let next = self.wanted.load(Ordering::SeqCst);
        let queue = self.queue;
        if !sabotage::lacks(sabotage::PARTITIONS_EMPTY) {
            self.service.runtime.sleep(NOTICED).await;
            self.until_settled(claimed.session, before).await?;
        }
        let router = claimed.router;
        let changing = run_unit(&self.service, |scope| async move {
            let known = Spread::load(&scope, queue).await?;
            let known = known.filter(|it| it.router == Some(router));
            let known = known.ok_or_else(replaced)?;
            if known.next != Some(next) {
                return Ok(known);
            }
            let changed = Spread {
                count: next,
                next: None,
                ..known
            };
            changed.put(&scope, queue)?;
            Ok::<_, Error>(changed)
        });
        let spread = changing.await?;
        self.noticed(&spread);
        claimed.count = Some(spread.count);
        if spread.count != before {
            let count = spread.count;
            tracing::info!(%queue, before, count, "the number of partitions has changed");
        }
        Ok(())
    }

    /// Waits until everything that was moved to the present partitions is settled: puts a mark
    /// behind it, and waits for the marks.
    async fn until_settled(&self, session: u64, count: u32) -> Result<()> {
        let marks: Vec<_> = (0..count).map(|_| self.mark()).collect();
        for (number, mark) in (0..).zip(&marks) {
            while let Err(why) = self.put(partition(self.queue, number), mark).await {
                self.pause_after("cannot mark a partition", &why).await;
                self.check(session)?;
            }
        }
        let (store, source) = (self.service.committer.store(), self.service.name.as_str());
        for mark in &marks {
            while !store.settled(self.queue, source, mark.id).await? {
                self.check(session)?;
                self.service.runtime.sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    fn mark(&self) -> Envelope {
        let id = self.service.runtime.id();
        Envelope {
            id: id.into(),
            source: self.service.name.as_str().into(),
            kind: MARK.into(),
            role: Kind::Event,
            key: MARK_KEY.into(),
            time: self.service.runtime.now(),
            correlation: CorrelationId(id),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Propagation::default(),
            signature: None,
            dialog: None,
            body: Bytes::from_static(b"{}"),
        }
    }
}
