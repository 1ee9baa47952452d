//! Services put together and started on a set of ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::{Extension, Router};
use tokio::sync::{mpsc, watch};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Topology;
use wingbeat_core::{Cache, Error, HttpClient, Kind, Name, Result, ServiceStore, Store, Transport};

use crate::Reads;
use crate::committer::Committer;
use crate::describe;
use crate::dispatch::{Control, Dispatcher, Stats, Subscription};
use crate::due::{DueRunner, Target};
use crate::given_up::LastResort;
use crate::meters::{self, SubscriptionMeter};
use crate::relay::{Relay, RelayEnd};
use crate::schedule::every;
use crate::scope::ServiceContext;
use crate::service::{Parts, Service};
use crate::unsent::Unsent;

/// Due work handed to a subscription and not yet taken.
const DUE_BUFFER: usize = 256;

/// The services of a process.
#[derive(Default)]
pub struct App {
    services: Vec<Parts>,
    family: BTreeSet<&'static str>,
}

/// What the services run on.
#[derive(Clone)]
pub struct Ports {
    /// Clock, chance, tasks.
    pub runtime: SharedRuntime,
    /// What must last.
    pub store: Arc<dyn Store>,
    /// What travels.
    pub transport: Arc<dyn Transport>,
    /// What is quick.
    pub cache: Arc<dyn Cache>,
    /// HTTP to the outside.
    pub http: Arc<dyn HttpClient>,
}

impl App {
    /// No services yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service.
    #[must_use]
    pub fn service<S>(mut self, service: Service<S>) -> Self {
        self.family.insert(service.parts.name.as_str());
        self.services.push(service.parts);
        self
    }

    /// Adds all services of another app.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.services.extend(other.services);
        self.family.extend(other.family);
        self
    }

    /// Names services of the same system that run elsewhere. A message of anybody else is a stranger's: it is
    /// handled the same, and counted as `foreign:<queue>` besides, since nobody here has published it.
    #[must_use]
    pub fn family(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.family.extend(names);
        self
    }

    /// All queues and bindings.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let subscriptions = self
            .services
            .iter()
            .flat_map(|service| &service.subscriptions);
        Topology {
            queues: subscriptions.map(Subscription::queue).collect(),
        }
    }

    /// Finds wiring that cannot work: names used twice, a command with two owners, calls nobody makes.
    ///
    /// # Errors
    ///
    /// Every finding, one a line.
    pub fn check(&self) -> Result<()> {
        let mut findings = Vec::new();
        let mut queues = BTreeMap::<Name, u32>::new();
        let mut commands = BTreeMap::<&str, Vec<Name>>::new();
        for service in &self.services {
            for subscription in &service.subscriptions {
                *queues.entry(subscription.queue).or_default() += 1;
                for binding in subscription
                    .bindings
                    .iter()
                    .filter(|binding| binding.kind == Kind::Command)
                {
                    commands
                        .entry(binding.message)
                        .or_default()
                        .push(subscription.queue);
                }
            }
            for executor in &service.executors {
                if !service
                    .targets
                    .iter()
                    .any(|(name, _)| *name == executor.target)
                {
                    findings.push(format!(
                        "the call {} has no target `{}`: add `.target(..)`",
                        executor.name, executor.target
                    ));
                }
            }
        }
        findings.extend(
            queues.iter().filter(|(_, n)| **n > 1).map(|(queue, _)| {
                format!("the subscription {queue} exists twice: use `.named(..)`")
            }),
        );
        findings.extend(
            commands
                .iter()
                .filter(|(_, by)| by.len() > 1)
                .map(|(name, by)| format!("the command {name} has several handlers: {by:?}")),
        );
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Error::reject("wiring", findings.join("\n")))
        }
    }

    /// Starts everything. Ready when this returns: the queues exist and are consumed.
    ///
    /// # Errors
    ///
    /// Wrong wiring, or ports that are not there.
    pub async fn start(self, ports: Ports) -> Result<Running> {
        self.check()?;
        let topology = self.topology();
        let names: Vec<Name> = self.services.iter().map(|service| service.name).collect();
        ports.store.prepare(&names, &topology).await?;
        ports.transport.declare(&topology).await?;
        let committer = Committer::new(
            Arc::clone(&ports.store),
            Arc::clone(&ports.runtime),
            ports.transport.system(),
        );
        let (control, controlled) = watch::channel(Control::Running);
        ports.runtime.spawn(Box::pin(Arc::clone(&committer).run()));
        let mut start = Starting {
            family: Arc::new(self.family),
            due: DueRunner {
                committer: Arc::clone(&committer),
                services: BTreeMap::new(),
                queues: BTreeMap::new(),
                executors: BTreeMap::new(),
                wake: Arc::default(),
                control: controlled.clone(),
            },
            ports: ports.clone(),
            committer: Arc::clone(&committer),
            control: controlled,
            running: Running {
                ports: ports.clone(),
                committer,
                control,
                services: BTreeMap::new(),
                subscriptions: Vec::new(),
                targets: Vec::new(),
                topology,
                unsent: Arc::default(),
                relay: None,
                routes: Router::new(),
                ended: Mutex::default(),
            },
        };
        for service in self.services {
            start.service(service);
        }
        if let (Some(outbox), Some(handover)) = (ports.store.outbox(), start.committer.handover()) {
            let relay = Relay {
                outbox,
                handover: Arc::clone(handover),
                transport: Arc::clone(&ports.transport),
                services: start.running.services.clone(),
                unsent: Arc::clone(&start.running.unsent),
                runtime: Arc::clone(&ports.runtime),
            };
            start.running.relay = Some(relay.spawn());
        }
        ports.runtime.spawn(Box::pin(start.due.run()));
        Ok(start.running)
    }
}

impl From<&App> for describe::System {
    fn from(app: &App) -> Self {
        let services = app.services.iter();
        Self::new(services.map(|it| it.description.clone()).collect())
    }
}

struct Starting {
    family: Arc<BTreeSet<&'static str>>,
    ports: Ports,
    committer: Arc<Committer>,
    control: watch::Receiver<Control>,
    due: DueRunner,
    running: Running,
}

impl Starting {
    fn service(&mut self, parts: Parts) {
        let context = Arc::new(ServiceContext {
            name: parts.name,
            store: ServiceStore::new(Arc::clone(&self.ports.store), parts.name),
            committer: Arc::clone(&self.committer),
            runtime: Arc::clone(&self.ports.runtime),
            cache: Arc::clone(&self.ports.cache),
            http: Arc::clone(&self.ports.http),
            due: Arc::clone(&self.due.wake),
        });
        let last_resort = LastResort {
            service: Arc::clone(&context),
            transport: Arc::clone(&self.ports.transport),
            queues: parts.subscriptions.iter().map(|it| it.queue).collect(),
            control: self.control.clone(),
        };
        // Without a queue there is nothing to be given up.
        if !last_resort.queues.is_empty() {
            self.ports.runtime.spawn(Box::pin(last_resort.run()));
        }
        for subscription in parts.subscriptions {
            self.subscription(&context, Arc::new(subscription));
        }
        for (name, policy) in parts.targets {
            let target = Target::new(parts.name, name, policy, self.ports.runtime.now());
            for executor in parts
                .executors
                .iter()
                .filter(|executor| executor.target == name)
            {
                self.due
                    .executors
                    .insert(executor.name, (executor.clone(), Arc::clone(&target)));
            }
            self.running.targets.push(target);
        }
        for (name, pause, run) in parts.schedules {
            let schedule = every(Arc::clone(&context), name, pause, run, self.control.clone());
            self.ports.runtime.spawn(Box::pin(schedule));
        }
        let routes = parts
            .routes
            .layer(Extension(Arc::clone(&context)))
            .layer(Extension(Reads::new(Arc::clone(&context))));
        self.running.routes = std::mem::take(&mut self.running.routes).merge(routes);
        self.due.services.insert(parts.name, Arc::clone(&context));
        self.running.services.insert(parts.name, context);
    }

    fn subscription(&mut self, context: &Arc<ServiceContext>, subscription: Arc<Subscription>) {
        let (due, receiver) = mpsc::channel(DUE_BUFFER);
        let (control, controlled) = watch::channel(Control::Running);
        let stats = Arc::<Stats>::default();
        self.due.queues.insert(subscription.queue, due);
        self.running.subscriptions.push(RunningSubscription {
            service: context.name,
            queue: subscription.queue,
            control,
            stats: Arc::clone(&stats),
        });
        let meter = SubscriptionMeter::new(context.name, subscription.queue);
        let dispatcher = Dispatcher {
            service: Arc::clone(context),
            meter: Arc::new(meter),
            subscription,
            transport: Arc::clone(&self.ports.transport),
            control: controlled,
            due: receiver,
            stats,
            family: Arc::clone(&self.family),
        };
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        self.running
            .ended
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ended);
        self.ports.runtime.spawn(Box::pin(async move {
            dispatcher.run().await;
            drop(end);
        }));
    }
}

/// A subscription that runs.
pub struct RunningSubscription {
    /// Its service.
    pub service: Name,
    /// Its queue.
    pub queue: Name,
    control: watch::Sender<Control>,
    /// Live figures.
    pub stats: Arc<Stats>,
}

impl RunningSubscription {
    /// Running, paused or draining.
    #[must_use]
    pub fn control(&self) -> Control {
        *self.control.borrow()
    }

    /// The name within its service.
    #[must_use]
    pub fn name(&self) -> &'static str {
        meters::short(self.queue)
    }

    /// Pauses or resumes it.
    pub fn set(&self, control: Control) {
        self.control.send_replace(control);
    }
}

/// An app that runs.
pub struct Running {
    /// What it runs on.
    pub ports: Ports,
    committer: Arc<Committer>,
    control: watch::Sender<Control>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    /// All subscriptions.
    pub subscriptions: Vec<RunningSubscription>,
    /// All outside systems.
    pub targets: Vec<Arc<Target>>,
    /// All queues and bindings.
    pub topology: Topology,
    pub(crate) unsent: Arc<Mutex<Unsent>>,
    relay: Option<RelayEnd>,
    routes: Router,
    ended: Mutex<Vec<tokio::sync::oneshot::Receiver<()>>>,
}

impl Running {
    /// The routes of all services.
    pub fn routes(&self) -> Router {
        self.routes.clone()
    }

    /// A service's context, for what runs beside the handlers (seeding, audits).
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Arc<ServiceContext>> {
        self.services.get(&Name::intern(name)).cloned()
    }

    /// A service's own data, for audits and inspection.
    #[must_use]
    pub fn reads(&self, name: &str) -> Option<Reads> {
        self.service(name).map(Reads::new)
    }

    /// The names of the services.
    pub fn services(&self) -> impl Iterator<Item = Name> {
        self.services.keys().copied()
    }

    /// Stops pulling, finishes what runs, commits and acknowledges it, and publishes what was committed.
    pub async fn drain(&self) {
        self.control.send_replace(Control::Draining);
        for subscription in &self.subscriptions {
            subscription.set(Control::Draining);
        }
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for ended in ended {
            drop(ended.await);
        }
        self.committer.drained().await;
        if let Some(relay) = &self.relay {
            relay.reached(&self.ports.runtime).await;
        }
    }

    /// Ends at once, with nothing finished: for the moment before its tasks are killed. Requests that
    /// still wait for a commit are told to try again.
    pub fn abandon(&self) {
        self.committer.close();
    }
}
