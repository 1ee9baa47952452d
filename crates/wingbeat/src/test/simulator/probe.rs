//! Counts of the runs of handlers, timers and executors in one lifetime, by the names of gaps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wingbeat_core::Class;

use super::coverage::{Coverage, DueTimer};
use super::names;
use crate::App;
use crate::call::Executor;
use crate::dispatch::Subscription;
use crate::handler::Scheduled;
use crate::saga::Outline;
use crate::test::model::lock;

/// Wraps the handlers of the apps of one lifetime to count their runs. Clones share the counts.
#[derive(Clone, Default)]
pub(super) struct Probe {
    runs: Arc<Mutex<BTreeMap<Arc<str>, u64>>>,
    timers: Arc<Mutex<BTreeMap<Arc<str>, DueTimer>>>,
    during_faults: Arc<AtomicBool>,
}

impl Probe {
    /// Sets whether faults can occur from now on.
    pub(super) fn set_disturbed(&self, active: bool) {
        self.during_faults.store(active, Ordering::Relaxed);
    }

    /// Adds the counts to `coverage`.
    pub(super) fn report(&self, coverage: &mut Coverage) {
        for (name, times) in &*lock(&self.runs) {
            coverage.runs.insert(name.to_string(), *times);
        }
        for (name, timer) in &*lock(&self.timers) {
            *coverage.timers.entry(name.to_string()).or_default() += *timer;
        }
    }

    /// Wraps the handlers of an app.
    pub(super) fn watch(&self, mut app: App) -> App {
        for wiring in app.wiring_mut() {
            for subscription in &mut wiring.subscriptions {
                let saga = wiring
                    .sagas
                    .iter()
                    .find(|it| it.queue == subscription.queue);
                self.watch_subscription(subscription, saga);
            }
            for one in &mut wiring.schedules {
                self.watch_schedule(&names::schedule(wiring.name, one.name), &mut one.run);
            }
            for one in &mut wiring.polls {
                self.watch_schedule(&names::schedule(wiring.name, one.name), &mut one.run);
            }
            for executor in &mut wiring.executors {
                self.watch_executor(executor);
            }
        }
        app
    }

    fn count(&self, name: &Arc<str>) {
        *lock(&self.runs).entry(Arc::clone(name)).or_default() += 1;
    }

    fn count_timer(&self, name: &Arc<str>) {
        let mut timers = lock(&self.timers);
        let timer = timers.entry(Arc::clone(name)).or_default();
        timer.due += 1;
        timer.during_faults += u64::from(self.during_faults.load(Ordering::Relaxed));
    }

    fn watch_subscription(&self, subscription: &mut Subscription, saga: Option<&Outline>) {
        let run = Arc::clone(&subscription.run);
        let handler: Arc<str> = names::handler(subscription.queue).into();
        let timers: BTreeMap<&str, Arc<str>> = saga
            .into_iter()
            .flat_map(|saga| {
                saga.timers()
                    .map(|timer| (timer, names::timer(saga.name, timer).into()))
            })
            .collect();
        let probe = self.clone();
        subscription.run = Arc::new(move |scope, envelope| {
            let timer = timers.get(&*envelope.kind).cloned();
            let attempt = run(scope, envelope);
            let (probe, handler) = (probe.clone(), Arc::clone(&handler));
            Box::pin(async move {
                attempt.await?;
                probe.count(&handler);
                timer.iter().for_each(|timer| probe.count_timer(timer));
                Ok(())
            })
        });
    }

    fn watch_schedule(&self, name: &str, run: &mut Scheduled) {
        let (inner, name, probe) = (Arc::clone(run), Arc::<str>::from(name), self.clone());
        *run = Arc::new(move |scope| {
            let (attempt, name, probe) = (inner(scope), Arc::clone(&name), probe.clone());
            Box::pin(async move {
                attempt.await?;
                probe.count(&name);
                Ok(())
            })
        });
    }

    fn watch_executor(&self, executor: &mut Executor) {
        let (attempt, give_up) = (Arc::clone(&executor.attempt), Arc::clone(&executor.give_up));
        let [answered, retried, gave_up] =
            names::CALL_OUTCOMES.map(|it| Arc::<str>::from(names::call(executor.name, it)));
        let probe = self.clone();
        executor.attempt = Arc::new(move |cx, body| {
            let (attempt, probe) = (attempt(cx, body), probe.clone());
            let (answered, retried) = (Arc::clone(&answered), Arc::clone(&retried));
            Box::pin(async move {
                let answer = attempt.await;
                match &answer {
                    Ok(_) => probe.count(&answered),
                    Err(why) if why.class() == Class::Retry => probe.count(&retried),
                    Err(_) => {} // The call is given up, and counted there.
                }
                answer
            })
        });
        let probe = self.clone();
        executor.give_up = Arc::new(move |body, why| {
            probe.count(&gave_up);
            give_up(body, why)
        });
    }
}
