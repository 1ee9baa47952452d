//! The start of an app's services on its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "http")]
use axum::{Extension, Router};
use tokio::sync::{Notify, mpsc, watch};
use wingbeat_core::transport::Topology;
use wingbeat_core::{LogLimits, MessageType, RuntimeExt as _, ServiceStore, Timestamp};

use super::flows::{self, Flows, of_target};
use super::ports::Ports;
use super::running::{Running, RunningSubscription};
use super::{derived, failing, partitions};
use crate::TargetPolicy;
use crate::bodies::LargeBodies;
use crate::call::{Executor, Target};
use crate::commit::Committer;
use crate::dispatch::{Controlled, Dispatcher, Pauses, Stats, Subscription, Switch};
use crate::due::{DueQueue, DueRunner};
use crate::limit::Flow;
use crate::overload::{Oldest, Overload};
use crate::partition::{self, Shares};
use crate::publish::Relay;
use crate::recording::Recorder;
use crate::replay::{Begins, Gate, Histories, Replays, ask};
use crate::request::Requests;
use crate::runtime::Control;
use crate::schedule::{Firing, Keeper, Ongoing, Plan, Registered, poll};
use crate::service::Wiring;
#[cfg(feature = "http")]
use crate::state::Reads;
use crate::telemetry::meters::SubscriptionMeter;
use crate::trust::Commands;
use crate::unit::{Incomplete, Projections as Projected, ServiceContext};

/// Due records that wait for a subscription's dispatcher.
const DUE_BUFFER: usize = 256;

/// The parts of an app that all its services share, besides the ports.
pub(super) struct Shared {
    /// The names of all services of the system.
    pub(super) family: Arc<BTreeSet<&'static str>>,
    pub(super) trust: Option<Arc<Commands>>,
    pub(super) overload: Option<Overload>,
    pub(super) bodies: Option<LargeBodies>,
    /// Set if the services record stories.
    pub(super) recorder: Option<Recorder>,
}

/// Starts `services`, whose queues exist.
pub(super) async fn start(services: Vec<Wiring>, shared: Shared, ports: Ports) -> Running {
    let subscriptions = services.iter().flat_map(|service| &service.subscriptions);
    let topology = Topology {
        queues: subscriptions.flat_map(Subscription::queues).collect(),
    };
    let mut start = Starting::new(shared, ports, topology);
    for service in services {
        start.service(service).await;
    }
    start.run()
}

/// Returns the time of the oldest delivery of a subscription that is not paused.
fn oldest(stats: &Arc<Stats>, control: &watch::Receiver<Control>) -> Oldest {
    let (stats, control) = (Arc::clone(stats), control.clone());
    Arc::new(move || {
        let oldest = stats.oldest.load(Ordering::Relaxed);
        let counts =
            oldest != 0 && !matches!(*control.borrow(), Control::Paused | Control::Standby);
        counts.then(|| Timestamp::from_micros(oldest))
    })
}

struct Starting {
    shared: Shared,
    ports: Ports,
    committer: Arc<Committer>,
    control: watch::Receiver<Control>,
    due: DueRunner,
    running: Running,
}

impl Starting {
    fn new(shared: Shared, ports: Ports, topology: Topology) -> Self {
        let committer = Committer::new(
            Arc::clone(&ports.store),
            Arc::clone(&ports.runtime),
            ports.transport.system(),
        );
        let (control, controlled) = watch::channel(Control::Running);
        ports.runtime.spawn(Box::pin(Arc::clone(&committer).run()));
        Self {
            shared,
            due: DueRunner {
                committer: Arc::clone(&committer),
                services: BTreeMap::new(),
                queues: BTreeMap::new(),
                executors: BTreeMap::new(),
                schedules: BTreeMap::new(),
                replays: BTreeMap::new(),
                redrives: BTreeMap::new(),
                control: controlled.clone(),
                failures: Arc::new(LogLimits::new(50, Duration::from_millis(200))),
            },
            ports: ports.clone(),
            committer: Arc::clone(&committer),
            control: controlled,
            running: Running {
                ports,
                committer,
                control,
                services: BTreeMap::new(),
                subscriptions: Vec::new(),
                pauses: BTreeMap::new(),
                limiting: BTreeMap::new(),
                keepers: BTreeMap::new(),
                replays: BTreeMap::new(),
                redrives: BTreeMap::new(),
                schemas: BTreeMap::new(),
                rebuilds: BTreeMap::new(),
                promises: BTreeMap::new(),
                projections: BTreeMap::new(),
                requests: BTreeMap::new(),
                targets: Vec::new(),
                topology,
                unsent: Arc::default(),
                relay: None,
                #[cfg(feature = "http")]
                routes: Router::new(),
                ended: Mutex::default(),
                findings: Vec::new(),
            },
        }
    }

    /// Starts the relay and the runner of due records.
    fn run(mut self) -> Running {
        let outbox = self.ports.store.outbox();
        if let (Some(outbox), Some(handover)) = (outbox, self.committer.handover()) {
            let relay = Relay {
                outbox,
                handover: Arc::clone(handover),
                transport: Arc::clone(&self.ports.transport),
                services: self.running.services.clone(),
                unsent: Arc::clone(&self.running.unsent),
                runtime: Arc::clone(&self.ports.runtime),
            };
            self.running.relay = Some(relay.spawn());
        }
        self.ports.runtime.spawn(Box::pin(self.due.run()));
        self.running
    }

    async fn service(&mut self, mut wiring: Wiring) {
        let context = Arc::new(ServiceContext {
            name: wiring.name,
            store: ServiceStore::new(Arc::clone(&self.ports.store), wiring.name),
            committer: Arc::clone(&self.committer),
            runtime: Arc::clone(&self.ports.runtime),
            cache: Arc::clone(&self.ports.cache),
            http: Arc::clone(&self.ports.http),
            trust: self.shared.trust.clone(),
            bodies: self.shared.bodies.clone(),
            recorder: self.shared.recorder.clone(),
            published: Arc::new(std::mem::take(&mut wiring.published)),
            incomplete: Incomplete::default(),
            projections: Projected(wiring.projections.iter().map(|it| it.projected()).collect()),
            past: derived::past(&wiring),
        });
        let around = (&self.control, &self.ports.transport);
        failing::start(
            &context,
            &wiring,
            around,
            (&mut self.due, &mut self.running),
        );
        let tables = std::mem::take(&mut wiring.tables);
        let projections = std::mem::take(&mut wiring.projections);
        let rows = (tables, projections);
        derived::start(&context, rows, &self.control, &mut self.running).await;
        self.replays(&context, std::mem::take(&mut wiring.histories));
        let promises = std::mem::take(&mut wiring.promises);
        self.running.promises.insert(context.name, promises);
        let flows = Flows::start(&context, &self.control, &wiring);
        let (flows, limiting) = flows.await;
        self.running.limiting.insert(context.name, limiting);
        let (subscriptions, targets) = (wiring.subscriptions, wiring.targets);
        self.subscriptions(&context, subscriptions, wiring.begins, &flows)
            .await;
        self.targets(&context, targets, &wiring.executors, &flows);
        self.schedules(&context, wiring.schedules);
        let requests = self.requests(&context, &wiring.description.asks);
        for polling in wiring.polls {
            let polling = poll(Arc::clone(&context), polling, self.control.clone());
            self.ports.runtime.spawn(Box::pin(polling));
        }
        #[cfg(feature = "http")]
        {
            let routes = wiring
                .routes
                .layer(Extension(Arc::clone(&context)))
                .layer(Extension(Reads::new(Arc::clone(&context))));
            let routes = self.shedding(routes);
            let routes = match &requests {
                Some(requests) => routes.layer(Extension(requests.clone())),
                None => routes,
            };
            self.running.routes = std::mem::take(&mut self.running.routes).merge(routes);
        }
        if let Some(overload) = &self.shared.overload {
            overload.follow_service(wiring.name);
        }
        let named = requests.map(|requests| (wiring.name, requests));
        self.running.requests.extend(named);
        self.due.services.insert(wiring.name, Arc::clone(&context));
        self.running.services.insert(wiring.name, context);
    }

    /// Registers the outside systems of a service for its due calls.
    fn targets(
        &mut self,
        context: &Arc<ServiceContext>,
        targets: Vec<(&'static str, TargetPolicy)>,
        executors: &[Executor],
        flows: &Flows,
    ) {
        for (name, policy) in targets {
            let Some(flow) = flows.get(&of_target(context.name, name)) else {
                continue; // There is one for each target.
            };
            let now = self.ports.runtime.now();
            let target = Target::new(context.name, name, policy, flow, now);
            for executor in executors.iter().filter(|it| it.target == name) {
                self.due
                    .executors
                    .insert(executor.name, (executor.clone(), Arc::clone(&target)));
            }
            self.running.targets.push(target);
        }
    }

    /// Lets routes refuse requests under overload.
    #[cfg(feature = "http")]
    fn shedding(&self, routes: Router) -> Router {
        match &self.shared.overload {
            Some(overload) => routes.layer(Extension(overload.clone())),
            None => routes,
        }
    }

    /// Starts to receive replies, if the service asks requests.
    fn requests(&self, context: &Arc<ServiceContext>, asks: &[MessageType]) -> Option<Requests> {
        if asks.is_empty() {
            return None;
        }
        let (service, transport) = (Arc::clone(context), Arc::clone(&self.ports.transport));
        Some(Requests::start(
            service,
            transport,
            asks,
            self.control.clone(),
        ))
    }

    /// Registers the schedules of a service for its due records, and has the records created.
    fn schedules(&mut self, context: &Arc<ServiceContext>, schedules: Vec<Registered>) {
        if schedules.is_empty() {
            return;
        }
        let ongoing = Ongoing::default();
        let mut plans = Vec::new();
        for Registered {
            name,
            schedule,
            run,
        } in schedules
        {
            let Ok(plan) = Plan::new(&schedule) else {
                continue; // The check of the app has refused it.
            };
            plans.push((name, plan.clone()));
            let firing = Firing {
                service: Arc::clone(context),
                name,
                plan,
                run,
                ongoing: ongoing.clone(),
            };
            self.due.schedules.insert((context.name, name), firing);
        }
        let keeper = Arc::new(Keeper::new(Arc::clone(context), plans));
        let establishing = Arc::clone(&keeper).establish(self.control.clone());
        self.ports.runtime.spawn(Box::pin(establishing));
        self.running.keepers.insert(context.name, keeper);
    }

    /// Registers the histories of a service for its due records.
    fn replays(&mut self, context: &Arc<ServiceContext>, histories: Histories) {
        if histories.is_empty() {
            return;
        }
        let replays = Arc::new(Replays::new(Arc::clone(context), histories));
        self.due.replays.insert(context.name, Arc::clone(&replays));
        self.running.replays.insert(context.name, replays);
    }

    /// Starts the subscriptions of a service, except those that an operator has paused.
    async fn subscriptions(
        &mut self,
        context: &Arc<ServiceContext>,
        subscriptions: Vec<Subscription>,
        begins: Vec<Begins>,
        flows: &Flows,
    ) {
        if subscriptions.is_empty() {
            return;
        }
        let (transport, control) = (&self.ports.transport, &self.control);
        let expanded = partitions::expand(context, transport, control, subscriptions).await;
        let (subscriptions, routers) = expanded;
        // None consumes before it is known which are paused.
        let paused = |it: Subscription| (Arc::new(it), watch::Sender::new(Control::Paused));
        let all: Vec<_> = subscriptions.into_iter().map(paused).collect();
        let tripped = Arc::<Notify>::default();
        let switches = failing::switches(&all, &self.ports.runtime, &tripped);
        let controls = all.iter().map(|(it, control)| Controlled {
            queue: it.queue,
            owner: it.owner(),
            control: control.clone(),
            switch: switches.get(&it.owner()).cloned(),
        });
        let me = self.ports.runtime.id();
        let (gate, shares) = (Gate::new(&begins), Shares::new(me, routers.clone()));
        let (service, controls) = (Arc::clone(context), controls.collect());
        let pauses = Arc::new(Pauses::new(service, controls, (gate, shares), me, tripped));
        if let Err(why) = pauses.read().await {
            tracing::warn!(service = %context.name, code = why.code(), "cannot read which subscriptions are paused, they start when the store answers: {why}");
        }
        if !begins.is_empty() {
            let asking = ask(Arc::clone(context), begins, self.control.clone());
            self.ports.runtime.spawn(Box::pin(asking));
        }
        for (subscription, control) in all {
            let mut routers = routers.iter().map(|(router, _)| router);
            let router = routers.find(|it| it.queue() == subscription.queue).cloned();
            // A router that moves messages handles nothing: its partitions count.
            let switch = switches
                .get(&subscription.owner())
                .filter(|_| !router.as_ref().is_some_and(|it| it.moves()));
            if let Some(flow) = flows.get(subscription.owner().as_str()) {
                self.subscription(
                    context,
                    (subscription, switch.cloned()),
                    control,
                    router,
                    flow,
                );
            }
        }
        let following = Arc::clone(&pauses).follow(self.control.clone());
        self.ports.runtime.spawn(Box::pin(following));
        self.running.pauses.insert(context.name, pauses);
    }

    fn subscription(
        &mut self,
        context: &Arc<ServiceContext>,
        (subscription, switch): (Arc<Subscription>, Option<Arc<Switch>>),
        control: watch::Sender<Control>,
        router: Option<Arc<partition::Router>>,
        flow: Arc<Flow>,
    ) {
        let (sender, receiver) = mpsc::channel(DUE_BUFFER);
        let controlled = control.subscribe();
        let stats = Arc::<Stats>::default();
        let due = DueQueue {
            sender,
            control: controlled.clone(),
        };
        self.due.queues.insert(subscription.queue, due);
        self.running.subscriptions.push(RunningSubscription {
            service: context.name,
            queue: subscription.queue,
            partition_of: subscription.partition_of,
            control,
            flow: Arc::clone(&flow),
            stats: Arc::clone(&stats),
        });
        let flow = if router.as_ref().is_some_and(|it| it.moves()) {
            flows::of_router(context, &subscription)
        } else {
            flow
        };
        // The past is old, and comes in chapters.
        if let Some(overload) = self
            .shared
            .overload
            .as_ref()
            .filter(|_| subscription.replays.is_none())
        {
            overload.follow(subscription.queue, oldest(&stats, &controlled));
        }
        let meter = SubscriptionMeter::new(context.name, subscription.queue);
        let dispatcher = Dispatcher {
            service: Arc::clone(context),
            meter: Arc::new(meter),
            subscription,
            transport: Arc::clone(&self.ports.transport),
            control: controlled,
            due: receiver,
            flow,
            stats,
            router,
            switch,
            family: Arc::clone(&self.shared.family),
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
