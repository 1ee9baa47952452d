//! Runs recorded units on the code of an app.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{
    CorrelationId, Envelope, Error, MessageId, Name, Propagation, Result, ServiceStore, Store,
};

use super::compare::{Compared, compare};
use super::past::{Answers, Clock, Missing, Past, error};
use super::report::{Difference, Report, Skipped, label};
use crate::call::{CallContext, Executor, TargetReport};
use crate::commit::Committer;
use crate::dispatch::Subscription;
use crate::handler::Scheduled;
use crate::recording::{self, Effect, Exchange, Failed, Input, Outcome, RecordedUnit};
use crate::service::Wiring;
use crate::state::Reads;
use crate::story::Story;
use crate::test::{Model, Simulation};
use crate::unit::{Incomplete, Meta, Projected, Projections, Published, Scope, ServiceContext};
use crate::{App, Effects, TargetPolicy};

/// Replays stories on the code of one app.
///
/// The app does not run: no message is delivered, and nothing is stored. Each unit has a world of
/// its own, with a clock that stands still.
pub struct Replayer {
    services: BTreeMap<&'static str, Code>,
    personal: BTreeSet<&'static str>,
}

/// The code of a service.
struct Code {
    name: Name,
    published: Arc<Published>,
    projections: Vec<Projected>,
    subscriptions: BTreeMap<&'static str, Subscription>,
    schedules: BTreeMap<&'static str, Scheduled>,
    executors: BTreeMap<&'static str, (Executor, TargetPolicy)>,
}

impl Code {
    fn of(wiring: &mut Wiring) -> Self {
        let targets: BTreeMap<_, _> = wiring.targets.drain(..).collect();
        let executors = wiring.executors.drain(..).map(|it| {
            let policy = targets.get(it.target).cloned().unwrap_or_default();
            (it.name, (it, policy))
        });
        let subscriptions = wiring.subscriptions.drain(..);
        let schedules = wiring.schedules.drain(..).map(|it| (it.name, it.run));
        Self {
            name: wiring.name,
            published: Arc::new(std::mem::take(&mut wiring.published)),
            projections: wiring.projections.iter().map(|it| it.projected()).collect(),
            subscriptions: subscriptions.map(|it| (it.queue.as_str(), it)).collect(),
            schedules: schedules.collect(),
            executors: executors.collect(),
        }
    }

    /// Returns a context whose store is the past of one unit.
    fn context(&self, past: Past, runtime: SharedRuntime) -> Arc<ServiceContext> {
        let store: Arc<dyn Store> = Arc::new(past);
        let cache = Model::new(Arc::clone(&runtime)).cache;
        Arc::new(ServiceContext {
            name: self.name,
            store: ServiceStore::new(Arc::clone(&store), self.name),
            committer: Committer::new(store, Arc::clone(&runtime), "replay"),
            runtime,
            cache,
            http: Arc::new(Answers::new(&[], &Missing::default())),
            trust: None,
            bodies: None,
            published: Arc::clone(&self.published),
            incomplete: Incomplete::default(),
            projections: Projections(self.projections.clone()),
            recorder: None,
            past: crate::unit::Past::default(),
        })
    }
}

/// One unit, about to run again.
struct Again<'a> {
    code: &'a Code,
    unit: &'a RecordedUnit,
    simulation: Simulation,
    context: Arc<ServiceContext>,
    missing: Missing,
    personal: &'a BTreeSet<&'static str>,
}

/// The reason why a unit is not replayed.
type Why = String;

impl Replayer {
    /// Takes the code of an app.
    ///
    /// # Panics
    ///
    /// If the wiring of the app is wrong.
    #[must_use]
    pub fn new(app: App) -> Self {
        let mut app = app.allow_unknown_owners();
        app.check().unwrap_or_else(|why| panic!("{why}"));
        let personal = app.personal_types();
        let services = app.wiring_mut().iter_mut().map(Code::of);
        Self {
            services: services.map(|it| (it.name.as_str(), it)).collect(),
            personal,
        }
    }

    /// Runs the units of a story again, and compares.
    #[must_use]
    pub fn replay(&self, story: &Story) -> Report {
        let mut report = Report::new(story.correlation);
        for (number, unit) in (1..).zip(&story.units) {
            match self.unit(unit, story) {
                Ok(compared) => {
                    report.replayed += 1;
                    let found = compared
                        .into_iter()
                        .map(|it| Difference::new(number, unit, it));
                    report.differences.extend(found);
                }
                Err(why) => report.skipped.push(Skipped {
                    unit: number,
                    service: unit.service.clone(),
                    input: label(&unit.input),
                    why,
                }),
            }
        }
        report.units = story.units.len();
        report
    }

    fn unit(&self, unit: &RecordedUnit, story: &Story) -> Result<Vec<Compared>, Why> {
        replayable(unit)?;
        let Some(code) = self.services.get(unit.service.as_str()) else {
            return Err("this app has no such service".to_owned());
        };
        let (simulation, missing) = (Simulation::new(1), Missing::default());
        let past = Past::new(unit, &story.histories, &missing);
        let clock = Clock {
            inner: simulation.runtime(),
            at: unit.at,
        };
        let again = Again {
            code,
            unit,
            context: code.context(past, Arc::new(clock)),
            simulation,
            missing,
            personal: &self.personal,
        };
        let now = again.outcome();
        again.simulation.end();
        Ok(compare(unit, &now, again.missing.take()))
    }
}

/// Returns why a unit cannot be replayed, whatever the code is.
fn replayable(unit: &RecordedUnit) -> Result<(), Why> {
    let withheld = match &unit.input {
        Input::Messages { messages, .. } => messages.iter().any(|it| it.body.is_withheld()),
        Input::Call { body, .. } => body.is_withheld(),
        Input::Request { .. } => return Err("HTTP requests are not recorded".to_owned()),
        Input::Schedule { .. } => false,
    };
    match &unit.outcome {
        Outcome::TooLarge => Err("the unit was too large to be recorded".to_owned()),
        _ if withheld => Err("the message contains personal data".to_owned()),
        _ => Ok(()),
    }
}

impl Again<'_> {
    /// Runs the handler, and returns what it does now.
    fn outcome(&self) -> Outcome {
        let effects = match &self.unit.input {
            Input::Messages { queue, messages } => {
                let envelopes = messages.iter().map(recording::RecordedMessage::envelope);
                self.messages(queue, &envelopes.collect::<Vec<_>>())
            }
            Input::Schedule { name, tick } => self.schedule(name, *tick),
            Input::Call {
                name,
                answers,
                body,
                gave_up,
                ..
            } => self.call(name, &body.bytes(), answers, gave_up.as_ref()),
            Input::Request { .. } => Err(gone("route", "requests")),
        };
        match effects {
            Ok(effect) => Outcome::Done(effect),
            Err(why) => Outcome::Failed(Failed::of(&why)),
        }
    }

    fn messages(&self, queue: &str, envelopes: &[Envelope]) -> Result<Effect> {
        let subscription = self.code.subscriptions.get(queue);
        let subscription = subscription.ok_or_else(|| gone("subscription", queue))?;
        let Some(first) = envelopes.first() else {
            return Err(gone("message", queue));
        };
        let scope = Scope::of(Arc::clone(&self.context), first);
        let all: Vec<&Envelope> = envelopes.iter().collect();
        let running = match (&subscription.batch, envelopes.len()) {
            (Some(batch), 2..) => batch(scope.clone(), &all).map_err(|it| it.why)?,
            (None, 2..) => return Err(gone("handler of batches", queue)),
            _ => (subscription.run)(scope.clone(), first.clone()),
        };
        self.guarded(running)?;
        self.sealed(&scope)
    }

    fn schedule(&self, name: &str, tick: wingbeat_core::Timestamp) -> Result<Effect> {
        let run = self.code.schedules.get(name);
        let run = run.ok_or_else(|| gone("schedule", name))?;
        let meta = Meta::without_message(self.unit.correlation, tick);
        let scope = Scope::new(Arc::clone(&self.context), meta);
        self.guarded(run(scope.clone()))?;
        self.sealed(&scope)
    }

    fn call(
        &self,
        name: &str,
        body: &[u8],
        answers: &[Exchange],
        gave_up: Option<&Failed>,
    ) -> Result<Effect> {
        let found = self.code.executors.get(name);
        let (executor, policy) = found.ok_or_else(|| gone("call", name))?;
        let (meta, operation, attempts) = self.of_call();
        let scope = Scope::new(Arc::clone(&self.context), meta);
        let cx = CallContext {
            operation,
            attempts,
            http: Arc::new(Answers::new(answers, &self.missing)),
            policy: policy.clone(),
            report: TargetReport::default(),
            propagation: Propagation::default(),
            reads: Reads::within(&scope),
        };
        let answer = self.guarded((executor.attempt)(cx, body));
        let effects: Effects = match (answer, gave_up) {
            (Err(_), Some(why)) => (executor.give_up)(body, &error(why))?,
            (answer, _) => answer?,
        };
        scope.record(effects)?;
        self.sealed(&scope)
    }

    /// Returns the metadata of a call, its idempotency key, and its earlier attempts.
    fn of_call(&self) -> (Meta, String, u32) {
        let correlation: CorrelationId = self.unit.correlation;
        match &self.unit.input {
            Input::Call {
                operation,
                attempts,
                id,
                since,
                ..
            } => {
                let meta = Meta {
                    message: Some(MessageId(*id)),
                    operation: Some(operation.clone()),
                    ..Meta::without_message(correlation, *since)
                };
                (meta, operation.clone(), *attempts)
            }
            _ => {
                let meta = Meta::without_message(correlation, self.unit.at);
                (meta, String::new(), 0)
            }
        }
    }

    fn guarded<T>(&self, running: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = self
            .simulation
            .run(AssertUnwindSafe(running).catch_unwind());
        answer.unwrap_or_else(|_| Err(Error::reject("panicked", "the handler panicked")))
    }

    fn sealed(&self, scope: &Scope) -> Result<Effect> {
        let unit = scope.seal(None)?;
        Ok(recording::effect(&unit, &[], self.personal))
    }
}

fn gone(what: &str, name: &str) -> Error {
    Error::reject("gone", format!("this app has no {what} {name}"))
}
