//! A running app.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "http")]
use axum::Router;
use tokio::sync::{oneshot, watch};
use wingbeat_core::transport::Topology;
use wingbeat_core::{MessageType, Name, Result};

use super::findings::Finding;
use super::flows::of_target;
use super::names::Names;
use super::ports::Ports;
use crate::call::Target;
use crate::commit::Committer;
use crate::dispatch::{Limiting, Pause, Pauses, Stats};
use crate::failed::{Decision, Redrives};
use crate::limit::Flow;
use crate::policy::{Limits, NewLimits};
use crate::project::Projections;
use crate::promise::Promise;
use crate::publish::{RelayEnd, Unroutable, Unsent};
use crate::rebuild::{RebuildStatus, Rebuilds};
use crate::replay::{ReplayStatus, Replays};
use crate::request::Requests;
use crate::runtime::Control;
use crate::schedule::{Keeper, ScheduleStatus};
use crate::state::Reads;
use crate::telemetry::meters;
use crate::unit::ServiceContext;

/// A running subscription.
pub struct RunningSubscription {
    /// The service that subscribes.
    pub service: Name,
    /// The queue.
    pub queue: Name,
    /// The queue of the subscription that this one is a [partition](crate::Handler::partitioned)
    /// of. Its failed deliveries and counters are those of the subscription.
    pub partition_of: Option<Name>,
    pub(super) control: watch::Sender<Control>,
    pub(super) flow: Arc<Flow>,
    /// Live statistics of this process.
    pub stats: Arc<Stats>,
}

impl RunningSubscription {
    /// Returns whether it is running, paused or draining.
    #[must_use]
    pub fn control(&self) -> Control {
        *self.control.borrow()
    }

    /// Returns its current limits: those of the code, or those that [`Running::limit`] has set. All
    /// partitions together keep to them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.flow.limits()
    }

    /// Returns the name of the subscription within its service.
    #[must_use]
    pub fn name(&self) -> &'static str {
        meters::short(self.queue)
    }

    fn drain(&self) {
        self.control.send_replace(Control::Draining);
    }
}

/// A running app.
pub struct Running {
    /// The adapters on which the app runs.
    pub ports: Ports,
    pub(super) committer: Arc<Committer>,
    pub(super) control: watch::Sender<Control>,
    pub(super) services: BTreeMap<Name, Arc<ServiceContext>>,
    /// The subscriptions that run here.
    pub subscriptions: Vec<RunningSubscription>,
    pub(super) pauses: BTreeMap<Name, Arc<Pauses>>,
    pub(super) limiting: BTreeMap<Name, Arc<Limiting>>,
    pub(super) keepers: BTreeMap<Name, Arc<Keeper>>,
    pub(super) replays: BTreeMap<Name, Arc<Replays>>,
    pub(super) redrives: BTreeMap<Name, Arc<Redrives>>,
    /// The types of messages that each service takes.
    pub(super) schemas: BTreeMap<Name, Vec<MessageType>>,
    pub(super) rebuilds: BTreeMap<Name, Arc<Rebuilds>>,
    pub(super) promises: BTreeMap<Name, Vec<Promise>>,
    pub(super) projections: BTreeMap<Name, Arc<Projections>>,
    pub(super) requests: BTreeMap<Name, Requests>,
    /// The outside systems that the services call.
    pub targets: Vec<Arc<Target>>,
    /// The queues and bindings of the services that run here.
    pub topology: Topology,
    pub(super) unsent: Arc<Mutex<Unsent>>,
    pub(super) relay: Option<RelayEnd>,
    #[cfg(feature = "http")]
    pub(super) routes: Router,
    pub(super) ended: Mutex<Vec<oneshot::Receiver<()>>>,
    pub(super) findings: Vec<Finding>,
}

impl Running {
    /// Returns the routes of all services.
    #[cfg(feature = "http")]
    pub fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// Returns the promises that a service registers.
    #[must_use]
    pub fn promises(&self, service: Name) -> &[Promise] {
        self.promises.get(&service).map_or(&[], Vec::as_slice)
    }

    /// Returns the names that have vanished, and the views that have changed, since the last start
    /// of the services that run here. They are logged, too. Empty outside of a
    /// [`Host`](crate::run::Host).
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Compares the names of a service with those of its last start, and stores them.
    pub(super) async fn remember(&mut self, service: Name, names: &Names) {
        let Some(context) = self.services.get(&service) else {
            return;
        };
        match names.remember(context).await {
            Ok(findings) => {
                findings.iter().for_each(Finding::log);
                self.findings.extend(findings);
            }
            Err(why) => {
                tracing::warn!(%service, code = why.code(), "cannot compare the names with those of the last start: {why}");
            }
        }
    }

    /// Returns a service that runs here, for code beside its handlers such as seeding.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Arc<ServiceContext>> {
        self.services.get(&Name::intern(name)).cloned()
    }

    /// Returns read access to the data of a service that runs here.
    #[must_use]
    pub fn reads(&self, name: &str) -> Option<Reads> {
        self.service(name).map(Reads::new)
    }

    /// Returns the means to ask requests on behalf of a service that runs here and
    /// [declares](crate::Service::asks) some, for code beside its routes.
    #[must_use]
    pub fn requests(&self, service: &str) -> Option<Requests> {
        self.requests.get(&Name::intern(service)).cloned()
    }

    /// Returns the names of the services that run here.
    pub fn services(&self) -> impl Iterator<Item = Name> {
        self.services.keys().copied()
    }

    /// Pauses a subscription in all processes of its service: they consume nothing from its queue,
    /// and its timers and parked deliveries wait. Returns `false` if it does not run here.
    ///
    /// The service's store keeps the pause until [`resume`](Self::resume), so a restart does not
    /// end it. It takes effect here at once, and within about a second in other processes.
    ///
    /// # Errors
    ///
    /// `overloaded`, `contended` or `stopped` from [`run_unit`](crate::run_unit); a [store
    /// error](crate::Reads#store-errors).
    pub async fn pause(&self, service: &str, name: &str) -> Result<bool> {
        self.pause_as(service, name, &Decision::default()).await
    }

    /// Resumes a subscription in all processes of its service. Returns `false` if it does not run
    /// here.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn resume(&self, service: &str, name: &str) -> Result<bool> {
        self.resume_as(service, name, &Decision::default()).await
    }

    /// Pauses a subscription, and records who decided that.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn pause_as(&self, service: &str, name: &str, by: &Decision) -> Result<bool> {
        self.set_paused(service, name, true, by).await
    }

    /// Resumes a subscription, and records who decided that.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn resume_as(&self, service: &str, name: &str, by: &Decision) -> Result<bool> {
        self.set_paused(service, name, false, by).await
    }

    /// Returns the pause of a subscription, as this process last read it.
    #[must_use]
    pub fn pause_of(&self, subscription: &RunningSubscription) -> Option<Pause> {
        let owner = subscription.partition_of.unwrap_or(subscription.queue);
        self.pauses.get(&subscription.service)?.of(owner)
    }

    async fn set_paused(
        &self,
        service: &str,
        name: &str,
        paused: bool,
        by: &Decision,
    ) -> Result<bool> {
        let mut subscriptions = self.subscriptions.iter();
        let found = subscriptions.find(|it| it.service.as_str() == service && it.name() == name);
        let found = found.and_then(|it| Some((it.queue, self.pauses.get(&it.service)?)));
        match found {
            Some((queue, pauses)) => pauses.set(queue, paused, by).await,
            None => Ok(false),
        }
    }

    /// Changes the limits of a subscription in all processes of its service: how many handlers each
    /// of them runs at the same time, in all [partitions](crate::Handler::partitioned) together and
    /// for each [tenant](crate::Handler::concurrency_per), and the rate at which they all start
    /// runs. Returns `false` if the subscription does not run here.
    ///
    /// The service's store keeps the limits until they are changed again, so a restart or another
    /// release does not end them. They take effect here at once, and within about a second in other
    /// processes; runs that have begun go on. A process never handles more messages than it may
    /// prefetch.
    ///
    /// # Errors
    ///
    /// `limit_invalid` unless each concurrency is from 1 to
    /// [`CONCURRENCY_MAX`](Limits::CONCURRENCY_MAX) and the rate at least one a minute, or for a
    /// limit of each tenant where the code does not say what a tenant is; `overloaded`, `contended`
    /// or `stopped` from [`run_unit`](crate::run_unit); a [store
    /// error](crate::Reads#store-errors).
    pub async fn limit(&self, service: &str, name: &str, limits: NewLimits) -> Result<bool> {
        let mut subscriptions = self.subscriptions.iter();
        let found = subscriptions.find(|it| it.service.as_str() == service && it.name() == name);
        match found.and_then(|it| Some((it.queue, self.limiting.get(&it.service)?))) {
            Some((queue, limiting)) => limiting.set(queue.as_str(), limits).await,
            None => Ok(false),
        }
    }

    /// Changes the limits of an outside system that a service calls, in all processes of the
    /// service: how many attempts each of them makes at the same time, and the rate of all of them
    /// together. Returns `false` if the service does not run here or has no such target.
    ///
    /// As for [`limit`](Self::limit), the service's store keeps the limits until they are changed
    /// again. They hold for attempts that begin within a few seconds; those that have begun go on.
    /// Calls beyond the limits wait in the store.
    ///
    /// # Errors
    ///
    /// As for [`limit`](Self::limit).
    pub async fn limit_target(
        &self,
        service: &str,
        target: &str,
        limits: NewLimits,
    ) -> Result<bool> {
        let service = Name::intern(service);
        match self.limiting.get(&service) {
            Some(limiting) => limiting.set(&of_target(service, target), limits).await,
            None => Ok(false),
        }
    }

    /// Returns the state of each schedule of the services that run here.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn schedules(&self) -> Result<Vec<ScheduleStatus>> {
        let mut all = Vec::new();
        for keeper in self.keepers.values() {
            all.extend(keeper.statuses().await?);
        }
        Ok(all)
    }

    /// Returns the replays that the services running here make or have made for others.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn replays(&self) -> Result<Vec<ReplayStatus>> {
        let mut all = Vec::new();
        for replays in self.replays.values() {
            all.extend(replays.statuses().await?);
        }
        Ok(all)
    }

    /// Returns the tables of the services running here whose index rows are being rebuilt for this
    /// release, the last rebuild of each other table, and the versions of
    /// [projections](crate::Projection).
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn rebuilds(&self) -> Result<Vec<RebuildStatus>> {
        let mut all = Vec::new();
        for rebuilds in self.rebuilds.values() {
            all.extend(rebuilds.statuses().await?);
        }
        for projections in self.projections.values() {
            all.extend(projections.statuses().await?);
        }
        Ok(all)
    }

    /// Abandons the version of a [projection](crate::Projection) that this release builds: its
    /// rows, checkpoints and progress are removed, and readers go on to see the rows of the last
    /// version. Returns `false` if it does not run here, or if readers see its rows already.
    ///
    /// The version is not built again until [`resume_projection`](Self::resume_projection), or
    /// until a release has another one.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn abandon_projection(&self, service: &str, view: &str) -> Result<bool> {
        self.set_projection(service, view, true).await
    }

    /// Builds a version again that was abandoned, from the beginning. Returns `false` if it was
    /// not.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn resume_projection(&self, service: &str, view: &str) -> Result<bool> {
        self.set_projection(service, view, false).await
    }

    async fn set_projection(&self, service: &str, view: &str, abandoned: bool) -> Result<bool> {
        let mut projections = self.projections.iter();
        match projections.find(|(of, _)| of.as_str() == service) {
            Some((_, projections)) => projections.abandon(view, abandoned).await,
            None => Ok(false),
        }
    }

    /// Pauses a schedule in all processes of its service: its handler does not run until
    /// [`resume_schedule`](Self::resume_schedule). Returns `false` if it does not run here.
    ///
    /// The service's store keeps the pause, so a restart does not end it. A run that has begun
    /// takes no effect unless it commits first.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn pause_schedule(&self, service: &str, name: &str) -> Result<bool> {
        self.set_schedule(service, name, true).await
    }

    /// Resumes a schedule with its next planned time. The times during the pause are skipped.
    /// Returns `false` if it does not run here.
    ///
    /// # Errors
    ///
    /// As for [`pause`](Self::pause).
    pub async fn resume_schedule(&self, service: &str, name: &str) -> Result<bool> {
        self.set_schedule(service, name, false).await
    }

    async fn set_schedule(&self, service: &str, name: &str, paused: bool) -> Result<bool> {
        let mut keepers = self.keepers.iter();
        match keepers.find(|(of, _)| of.as_str() == service) {
            Some((_, keeper)) => keeper.set(name, paused).await,
            None => Ok(false),
        }
    }

    /// Drains the app: takes no further deliveries, handles those that it has received, and
    /// publishes the committed messages. Returns when all of that is done.
    pub async fn drain(&self) {
        self.control.send_replace(Control::Draining);
        for subscription in &self.subscriptions {
            subscription.drain();
        }
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for ended in ended {
            let _ = ended.await; // An error: its task panicked, so it has ended as well.
        }
        self.committer.drained().await;
        if let Some(relay) = &self.relay {
            relay.reached(&self.ports.runtime).await;
        }
    }

    /// Stops committing at once, for a host that is about to end the process without draining.
    /// Requests that wait for a commit fail with `stopped`.
    pub fn abandon(&self) {
        self.committer.close();
    }

    /// Returns the message types that the broker cannot route, as far as this process knows.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors).
    pub async fn unroutable(&self) -> Result<Vec<Unroutable>> {
        let types = self
            .unsent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .types();
        let mut all = Vec::new();
        if let Some(outbox) = self.ports.store.outbox() {
            for (kind, since) in types {
                let waiting = outbox.waiting(&kind).await?;
                all.push(Unroutable {
                    kind,
                    since,
                    waiting,
                });
            }
        }
        Ok(all)
    }
}
