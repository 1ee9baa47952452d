//! Apps: the services of a system, their check, and their start on a set of ports.
//!
//! [`App`] is the wiring, [`Running`] a started one. The other types are what they report: findings
//! of the check, and the state of subscriptions, schedules, dead letters and replays.

mod derived;
mod failing;
mod findings;
mod flows;
mod letters;
mod names;
mod partitions;
mod ports;
mod running;
mod start;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wingbeat_core::transport::Topology;
use wingbeat_core::{Error, Kind, Name, Result};

use crate::bodies::LargeBodies;
use crate::describe;
use crate::dispatch::Subscription;
use crate::overload::Overload;
use crate::policy::Policy;
use crate::recording::{Recorder, Recording};
use crate::replay::Begins;
use crate::request::{rejected_type, reply_type};
use crate::runtime::sweep;
use crate::schedule::{Plan, Registered};
use crate::service::{Service, Wiring};
use crate::trust::{Commands, Trust};
use names::Names;
use start::Shared;

pub use crate::dispatch::{Pause, Stats};
pub use crate::failed::{
    Action, DeadLetter, Decision, Failures, Incident, Redrive, RedriveState, Selection, Summary,
};
pub use crate::publish::Unroutable;
pub use crate::rebuild::{ProjectionStatus, RebuildStatus};
pub use crate::replay::ReplayStatus;
pub use crate::schedule::ScheduleStatus;
pub use findings::{Finding, Severity};
pub use ports::Ports;
pub use running::{Running, RunningSubscription};

/// The services of a system.
///
/// An app names *all* services of a system, also those that run in other processes:
/// [`run_only`](Self::run_only) chooses the ones that this process runs. Each process declares the
/// queues of the whole system before it publishes, so an event is kept for a subscriber that has
/// never run.
///
/// ```
/// use wingbeat::{App, Service};
///
/// let app = App::new()
///     .service(Service::new("bookings"))
///     .service(Service::new("rooms"))
///     .run_only(["bookings"]);
/// assert!(app.check().is_ok());
/// ```
#[derive(Default)]
#[must_use]
pub struct App {
    services: Vec<Wiring>,
    only: Option<BTreeSet<String>>,
    outside: BTreeSet<String>,
    strangers: bool,
    trust: Option<Trust>,
    overload: Option<Overload>,
    /// The place for large bodies; by default that of the store.
    bodies: Option<Option<LargeBodies>>,
    recording: Option<Recording>,
    /// A host has declared the queues, and sweeps the store.
    hosted: bool,
}

impl App {
    /// Creates an app without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service of the system.
    pub fn service<S>(mut self, service: Service<S>) -> Self {
        self.services.push(service.wiring);
        self
    }

    /// Runs only these services here. The others run in other processes.
    pub fn run_only(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.only = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Names systems of other owners to whose messages services of this system subscribe.
    ///
    /// A service of this system may then subscribe to `<name>.…` messages although no service
    /// `<name>` is part of it.
    pub fn outside(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.outside.extend(names.into_iter().map(Into::into));
        self
    }

    /// Records stories, so that [`test::replay`](crate::test::replay) can run them again on other
    /// code. Without this call nothing is recorded.
    ///
    /// ```
    /// use wingbeat::{App, Recording};
    ///
    /// let app = App::new().recording(Recording::share(0.01)); // and every dead letter
    /// # drop(app);
    /// ```
    pub fn recording(mut self, recording: Recording) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Returns the recorder of all services, if they record. The types of messages with personal
    /// data are those that any service takes with `.personal()`.
    fn recorder(&self) -> Option<Recorder> {
        let recording = self.recording.clone()?;
        let personal = self.personal_types();
        Some(Recorder {
            recording,
            personal: Arc::new(personal),
        })
    }

    /// Returns the types of messages with personal data.
    pub(crate) fn personal_types(&self) -> BTreeSet<&'static str> {
        let takes = self.subscriptions().filter(|it| it.is_personal());
        takes.flat_map(|it| it.takes.iter().copied()).collect()
    }

    /// Lets services subscribe to messages of any owner.
    ///
    /// For tests that stand in for missing services. In production, name other systems with
    /// [`outside`](Self::outside): this method also accepts a system from which a service was
    /// forgotten. No process would declare its queues, and its messages would be lost.
    pub fn allow_unknown_owners(mut self) -> Self {
        self.strangers = true;
        self
    }

    /// Signs the commands of all services, and refuses commands without a valid signature; see
    /// [`trust`](crate::trust). [`run`](crate::run()) does so with the keys of its settings.
    pub fn signed(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Refuses requests under [overload](crate::overload), which is watched from the start of the
    /// app. [`run`](crate::run()) does so with the watermarks of its settings. Give all apps of a
    /// process clones of one [`Overload`].
    pub fn shedding(mut self, overload: Overload) -> Self {
        self.overload = Some(overload);
        self
    }

    /// Keeps the bodies of messages above 1 MiB in this place; `None` refuses them with
    /// `message_too_large`. By default they are kept in the store, if it can.
    ///
    /// All processes of a system need the same place.
    pub fn large_bodies(mut self, bodies: Option<LargeBodies>) -> Self {
        self.bodies = Some(bodies);
        self
    }

    /// Returns the place for large bodies.
    pub(crate) fn bodies_on(&self, ports: &Ports) -> Option<LargeBodies> {
        let of_store = || ports.store.bodies().map(LargeBodies::new);
        self.bodies.clone().unwrap_or_else(of_store)
    }

    /// Restricts the app to one service, in a process whose host has declared the whole system and
    /// sweeps the store.
    #[cfg(feature = "host")]
    pub(crate) fn part(mut self, service: &str) -> Self {
        self.only = Some([service.to_owned()].into());
        self.hosted = true;
        self
    }

    #[cfg(feature = "host")]
    pub(crate) fn overload(&self) -> Option<&Overload> {
        self.overload.as_ref()
    }

    /// Returns the names of all services of the system.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.services.iter().map(|service| service.name)
    }

    /// Returns the queues and bindings of the whole system.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let subscriptions = self.subscriptions();
        Topology {
            queues: subscriptions.flat_map(Subscription::queues).collect(),
        }
    }

    fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        let services = self.services.iter();
        services.flat_map(|service| &service.subscriptions)
    }

    /// Checks the wiring of the whole system. [`findings`](Self::findings) also returns warnings.
    ///
    /// # Errors
    ///
    /// `wiring`, with one line per finding: a name that is used twice, a command or a request with
    /// two handlers or without one, a call without a target, a schedule without times, a
    /// subscription to a message whose owner is not part of the system, one from the beginning to a
    /// message without a history, a service to run that does not exist, retries that outlast
    /// RabbitMQ's consumer timeout, a rate below one run a minute.
    pub fn check(&self) -> Result<()> {
        let findings = self.findings().into_iter();
        let errors = findings.filter(|it| it.severity == Severity::Error);
        let errors: Vec<String> = errors.map(|it| it.to_string()).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::reject("wiring", errors.join("\n")))
        }
    }

    /// Logs the warnings.
    pub(crate) fn warn(&self) {
        let findings = self.findings().into_iter();
        let warnings = findings.filter(|it| it.severity == Severity::Warning);
        warnings.for_each(|it| it.log());
    }

    /// Returns the faults that make no sense in any system.
    fn wiring(&self) -> Vec<String> {
        let mut findings = self.calls_without_target();
        findings.extend(self.names_used_twice());
        findings.extend(self.commands_with_several_handlers());
        findings.extend(self.messages_without_owner());
        findings.extend(self.services_that_do_not_exist());
        findings.extend(self.schedules_that_cannot_run());
        findings.extend(self.pasts_that_cannot_be_replayed());
        findings.extend(self.batches_out_of_range());
        findings.extend(self.partitions_out_of_range());
        findings.extend(self.views_with_two_writers());
        findings
    }

    fn batches_out_of_range(&self) -> Vec<String> {
        let batches = self.subscriptions().filter(|it| it.batch.is_some());
        let wrong = batches.filter(|it| {
            let Policy { up_to, within, .. } = it.policy;
            !(1..=Policy::UP_TO_MAX).contains(&up_to) || within > Policy::WITHIN_MAX
        });
        let findings = wrong.map(|it| {
            let (queue, most) = (it.queue, Policy::UP_TO_MAX);
            let seconds = Policy::WITHIN_MAX.as_secs();
            format!(
                "the size or the time of the batches of {queue} is out of range: `.up_to(..)` \
                 takes 1 to {most} messages, `.within(..)` at most {seconds} seconds"
            )
        });
        findings.collect()
    }

    /// Reports numbers of partitions that are out of range, and subscriptions that are also
    /// ordered.
    fn partitions_out_of_range(&self) -> Vec<String> {
        let most = Policy::PARTITIONS_MAX;
        let finding = |it: &Subscription| {
            let (queue, count) = (it.queue, it.policy.partitions?);
            if it.policy.ordered {
                return Some(format!(
                    "{queue} is both ordered and partitioned: a partition is ordered, so remove \
                     `.ordered()`"
                ));
            }
            (!(1..=most).contains(&count)).then(|| {
                format!("{queue} has {count} partitions: `.partitioned(..)` takes 1 to {most}")
            })
        };
        self.subscriptions().filter_map(finding).collect()
    }

    fn calls_without_target(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for service in &self.services {
            let has = |target| service.targets.iter().any(|(name, _)| *name == target);
            for executor in service.executors.iter().filter(|it| !has(it.target)) {
                let (call, target) = (executor.name, executor.target);
                findings.push(format!(
                    "the call {call} has no target `{target}`: add `.target(\"{target}\", ..)` to its service"
                ));
            }
        }
        findings
    }

    fn names_used_twice(&self) -> Vec<String> {
        let mut services = BTreeSet::new();
        let twice = self.names().filter(|name| !services.insert(*name));
        let mut findings: Vec<_> = twice
            .map(|name| format!("the service {name} exists twice"))
            .collect();
        let mut queues = BTreeSet::new();
        let all = self.subscriptions().flat_map(Subscription::queues);
        let twice = all.filter(|(queue, _)| !queues.insert(*queue));
        findings.extend(
            twice.map(|(queue, _)| {
                format!("the subscription {queue} exists twice: use `.named(..)`")
            }),
        );
        findings
    }

    fn commands_with_several_handlers(&self) -> Vec<String> {
        let mut handlers = BTreeMap::<&str, Vec<&str>>::new();
        for subscription in self.subscriptions() {
            for binding in &subscription.bindings {
                if binding.kind == Kind::Command {
                    let by = handlers.entry(binding.message).or_default();
                    by.push(subscription.queue.as_str());
                }
            }
        }
        let several = handlers.into_iter().filter(|(_, by)| by.len() > 1);
        // Another finding reports requests.
        let several = several.filter(|(command, _)| !self.is_request(command));
        several
            .map(|(command, by)| {
                let by = by.join(", ");
                format!("the command {command} has several handlers: {by}")
            })
            .collect()
    }

    /// Reports subscriptions to services that are not part of the app. It then is probably a part
    /// of a system: the queues of the missing service would not be declared, and its messages
    /// would be lost.
    fn messages_without_owner(&self) -> Vec<String> {
        if self.strangers {
            return Vec::new();
        }
        let mut findings = Vec::new();
        for subscription in self.subscriptions() {
            for binding in &subscription.bindings {
                let owner = binding.message.split('.').next().unwrap_or_default();
                let known = self.names().any(|name| name.as_str() == owner);
                if !known && !self.outside.contains(owner) {
                    let (queue, message) = (subscription.queue, binding.message);
                    findings.push(format!(
                        "{queue} subscribes to {message}, but there is no service `{owner}`: add all services of the \
                         system and choose with `.run_only(..)`, or name another system with \
                         `.outside([\"{owner}\"])`"
                    ));
                }
            }
        }
        findings
    }

    fn services_that_do_not_exist(&self) -> Vec<String> {
        let known: Vec<&str> = self.services.iter().map(|it| it.name.as_str()).collect();
        let unknown = self.only.iter().flatten();
        unknown
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let known = known.join(", ");
                format!("there is no service `{name}` to run; there are: {known}")
            })
            .collect()
    }

    fn schedules_that_cannot_run(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for service in &self.services {
            let mut names = BTreeSet::new();
            for Registered { name, schedule, .. } in &service.schedules {
                let of = service.name;
                if !names.insert(*name) {
                    findings.push(format!("the schedule {of}.{name} exists twice"));
                }
                if let Err(why) = Plan::new(schedule) {
                    findings.push(format!("the schedule {of}.{name} has no times: {why}"));
                }
            }
        }
        findings
    }

    /// Reports subscriptions from the beginning to messages that their owners cannot send again.
    fn pasts_that_cannot_be_replayed(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for service in &self.services {
            let mut seen = BTreeSet::new();
            let twice = service.histories.iter().filter(|it| !seen.insert(it.0));
            findings.extend(twice.map(|(message, _)| {
                format!("{message} is published from two histories: it needs two types")
            }));
        }
        let all = self.services.iter().flat_map(|service| &service.begins);
        findings.extend(all.filter_map(|begins| self.why_not_replayed(begins)));
        findings
    }

    fn why_not_replayed(&self, begins: &Begins) -> Option<String> {
        let Begins { queue, message } = begins;
        let (name, owner) = (message.name, message.owner());
        let begin = format!("{queue} cannot begin at the beginning of {name}");
        if message.kind == Kind::Command {
            return Some(format!(
                "{begin}: it is a command, and only events have a history"
            ));
        }
        if self.outside.contains(owner) {
            return Some(format!("{begin}: `{owner}` is another system"));
        }
        // Another finding reports a missing owner.
        let owner = self.services.iter().find(|it| it.name.as_str() == owner)?;
        let has_history = owner.histories.iter().any(|(of, _)| *of == name);
        (!has_history).then(|| {
            let owner = owner.name;
            format!(
                "{begin}: the service {owner} stores no history of it. Publish it from an aggregate \
                 with `.publishes_history(..)`, or remove `.from_beginning()`"
            )
        })
    }

    /// Prepares the store, declares the queues of the whole system, and starts the services that
    /// run here.
    ///
    /// It also starts a task that deletes expired data from the store once a minute.
    ///
    /// # Errors
    ///
    /// `wiring` if [`check`](Self::check) has findings; `store_unavailable` or `broker_unavailable`
    /// if a server is unavailable; `topology_differs` if a queue of a service that runs here exists
    /// with other arguments; other codes of the adapters. `docs/errors/README.md` lists them.
    pub async fn start(self, ports: Ports) -> Result<Running> {
        let bodies = self.bodies_on(&ports);
        if !self.hosted {
            self.check()?;
            self.warn();
            let names: Vec<Name> = self.names().filter(|name| self.runs(*name)).collect();
            let topology = self.topology();
            ports.store.prepare(&names, &topology).await?;
            if let Some(bodies) = &bodies {
                bodies.store.prepare().await?;
            }
            ports.transport.declare(&topology).await?;
            ports.transport.check_queues(&names)?;
            let (store, runtime) = (ports.store.clone(), ports.runtime.clone());
            let sweeping = sweep(store, bodies.clone(), runtime.clone());
            runtime.spawn(Box::pin(sweeping));
            if let Some(overload) = self.overload.clone() {
                let (store, transport) = (ports.store.clone(), ports.transport.clone());
                let watching = overload.watch(store, transport, ports.runtime.clone());
                ports.runtime.spawn(Box::pin(watching));
            }
        }
        let recorder = self.recorder();
        let names = self.services.iter().map(|it| it.name.as_str());
        let family: Arc<BTreeSet<&'static str>> = Arc::new(names.collect());
        let trust = self.trust.map(|trust| {
            let mut commands = Commands::new(trust, Arc::clone(&family), self.outside);
            for service in &self.services {
                commands.describe(&service.description);
                for request in &service.description.answers {
                    commands.allow(reply_type(request.name), service.name.as_str());
                    commands.allow(rejected_type(request.name), service.name.as_str());
                }
                for begins in &service.begins {
                    commands.allow(begins.replayed(), begins.message.owner());
                }
            }
            Arc::new(commands)
        });
        let only = self.only;
        let runs = |name: Name| runs(only.as_ref(), name);
        let services = self.services.into_iter().filter(|it| runs(it.name));
        let services: Vec<Wiring> = services.collect();
        let names = services.iter().filter(|_| self.hosted);
        let names: Vec<_> = names.map(|it| (it.name, Names::of(it))).collect();
        let shared = Shared {
            family,
            trust,
            overload: self.overload,
            bodies,
            recorder,
        };
        let mut running = start::start(services, shared, ports).await;
        for (service, names) in names {
            running.remember(service, &names).await;
        }
        Ok(running)
    }

    /// Returns the wiring of the services that this process would run.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = &Wiring> {
        self.services.iter().filter(|it| self.runs(it.name))
    }

    /// Returns the wiring of all services, so that test doubles can wrap handlers.
    #[cfg(feature = "test")]
    pub(crate) fn wiring_mut(&mut self) -> &mut [Wiring] {
        &mut self.services
    }

    fn runs(&self, name: Name) -> bool {
        runs(self.only.as_ref(), name)
    }
}

fn runs(only: Option<&BTreeSet<String>>, name: Name) -> bool {
    only.is_none_or(|only| only.contains(name.as_str()))
}

impl From<&App> for describe::System {
    fn from(app: &App) -> Self {
        let services = app.services.iter();
        Self::new(services.map(|it| it.description.clone()).collect())
    }
}
