//! The findings of the start-up check: everything that is wrong, and what may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use wingbeat_core::{Kind, MessageType};

use super::App;
use crate::policy::{Policy, Priority};

/// The code of events without a subscriber.
const UNSUBSCRIBED: &str = "event_unsubscribed";

/// RabbitMQ closes the channel of a consumer that has not acknowledged a delivery for so long
/// (`consumer_timeout`, 30 minutes by default). The delivery then comes again, and again.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A finding of the start-up check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Its code; `docs/errors/<code>.md` explains it.
    pub code: &'static str,
    /// Its consequence.
    pub severity: Severity,
    /// The place, the problem, and what to do.
    pub text: String,
}

/// The consequence of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// The app does not start.
    Error,
    /// The app starts, and logs the finding (an event without a subscriber at the level `debug`).
    Warning,
}

impl Finding {
    pub(super) fn error(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            text: text.into(),
        }
    }

    pub(super) fn warning(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Warning,
            text: text.into(),
        }
    }

    pub(super) fn log(&self) {
        // Every system has such events: not worth a line of each at each start.
        if self.code == UNSUBSCRIBED {
            tracing::debug!(code = self.code, "{self}");
        } else {
            tracing::warn!(code = self.code, "{self}");
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        // The error that contains findings of the wiring has this code already.
        if self.code == WIRING {
            return Ok(());
        }
        write!(f, " [{0}: docs/errors/{0}.md]", self.code)
    }
}

/// The code of faults that make no sense in any system.
const WIRING: &str = "wiring";

impl App {
    /// Returns everything that the start-up check finds, errors first. [`check`](Self::check)
    /// returns the errors; a process logs the warnings when it starts.
    ///
    /// ```
    /// use wingbeat::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
    /// # #[event(name = "rooms.booked", version = 1, key = room)]
    /// # struct Booked { room: String }
    ///
    /// let rooms = Service::new("rooms").publishes::<Booked>();
    /// let findings = App::new().service(rooms).findings();
    /// assert_eq!(findings[0].code, "event_unsubscribed");
    /// ```
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let wiring = self.wiring().into_iter();
        let mut findings: Vec<_> = wiring.map(|text| Finding::error(WIRING, text)).collect();
        findings.extend(self.commands_without_handler());
        findings.extend(self.requests_without_answer());
        findings.extend(self.requests_with_several_answers());
        findings.extend(self.retries_that_are_too_long());
        findings.extend(self.rates_that_are_too_low());
        findings.extend(self.priorities_without_effect());
        findings.extend(self.events_without_subscriber());
        findings.extend(self.sagas_that_may_wait_forever());
        findings
    }

    /// Reports views of projections that another projection, an entity or an aggregate writes, too.
    pub(super) fn views_with_two_writers(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for service in &self.services {
            let shown = service.tables.iter();
            let shown = shown.flat_map(|it| it.definition.views.keys());
            let mut written: BTreeSet<&str> = shown.map(String::as_str).collect();
            let projections = service.projections.iter().map(|it| it.projected().view);
            for view in projections.filter(|view| !written.insert(view.as_str())) {
                let name = service.name;
                findings.push(format!(
                    "the view {view} of {name} has several writers: a projection needs its own"
                ));
            }
        }
        findings
    }

    fn published(&self, kind: Kind) -> impl Iterator<Item = (&'static str, &MessageType)> {
        let services = self.services.iter();
        services.flat_map(move |service| {
            let published = service.description.publishes.iter();
            let published = published.filter(move |it| it.kind == kind);
            published.map(|it| (service.name.as_str(), it))
        })
    }

    /// Returns the wire types that some subscription takes from its queue.
    fn taken(&self) -> BTreeSet<&'static str> {
        let bindings = self.subscriptions().flat_map(|it| &it.bindings);
        bindings.map(|binding| binding.message).collect()
    }

    fn commands_without_handler(&self) -> Vec<Finding> {
        if self.strangers {
            return Vec::new();
        }
        let taken = self.taken();
        let unhandled = self.published(Kind::Command).filter(|(_, command)| {
            !taken.contains(command.name)
                && !self.outside.contains(command.owner())
                && !self.is_request(command.name)
        });
        let texts: BTreeSet<_> = unhandled
            .map(|(sender, command)| {
                let (name, owner) = (command.name, command.owner());
                format!(
                    "{sender} sends {name}, but no service handles it: add `.on(..)` to `{owner}`, \
                     or name another system with `.outside([\"{owner}\"])`"
                )
            })
            .collect();
        let findings = texts.into_iter();
        findings
            .map(|it| Finding::error("command_unhandled", it))
            .collect()
    }

    /// Returns whether a message is a request that some service asks or answers.
    pub(super) fn is_request(&self, message: &str) -> bool {
        let descriptions = self.services.iter().map(|it| &it.description);
        let mut requests = descriptions.flat_map(|it| it.asks.iter().chain(&it.answers));
        requests.any(|it| it.name == message)
    }

    fn requests_without_answer(&self) -> Vec<Finding> {
        if self.strangers {
            return Vec::new();
        }
        let services = self.services.iter();
        let answered: BTreeSet<_> = services
            .flat_map(|it| &it.description.answers)
            .map(|it| it.name)
            .collect();
        let mut texts = BTreeSet::new();
        for service in &self.services {
            for request in &service.description.asks {
                let (asker, name, owner) = (service.name, request.name, request.owner());
                if !answered.contains(name) && !self.outside.contains(owner) {
                    texts.insert(format!(
                        "{asker} asks {name}, but no service answers it: add `.answer(..)` to \
                         `{owner}`, or name another system with `.outside([\"{owner}\"])`"
                    ));
                }
            }
        }
        let findings = texts.into_iter();
        findings
            .map(|it| Finding::error("request_unanswered", it))
            .collect()
    }

    fn requests_with_several_answers(&self) -> Vec<Finding> {
        let mut queues = BTreeMap::<&str, Vec<&str>>::new();
        for subscription in self.subscriptions() {
            for binding in &subscription.bindings {
                if binding.kind == Kind::Command && self.is_request(binding.message) {
                    let by = queues.entry(binding.message).or_default();
                    by.push(subscription.queue.as_str());
                }
            }
        }
        let several = queues.into_iter().filter(|(_, by)| by.len() > 1);
        let findings = several.map(|(request, by)| {
            let text = format!(
                "{request} has several handlers: {}. Each request has one answer",
                by.join(", ")
            );
            Finding::error("request_answered_twice", text)
        });
        findings.collect()
    }

    fn events_without_subscriber(&self) -> Vec<Finding> {
        let taken = self.taken();
        let unheard = self.published(Kind::Event);
        let texts: BTreeSet<_> = unheard
            .filter(|(_, event)| !taken.contains(event.name))
            .map(|(publisher, event)| {
                format!(
                    "{publisher} publishes {}, but no service subscribes to it",
                    event.name
                )
            })
            .collect();
        let findings = texts.into_iter();
        findings
            .map(|it| Finding::warning(UNSUBSCRIBED, it))
            .collect()
    }

    fn sagas_that_may_wait_forever(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for saga in self.services.iter().flat_map(|it| &it.waits) {
            let queue = saga.queue;
            if saga.timers + saga.others == 0 {
                let text = format!(
                    "the saga {queue} takes nothing but its start, so a state that its start does \
                     not end has no way out"
                );
                findings.push(Finding::warning("saga_without_exit", text));
            } else if saga.timers == 0 {
                let text = format!(
                    "the saga {queue} has no timer: it waits forever for a message that does not \
                     come"
                );
                findings.push(Finding::warning("saga_without_deadline", text));
            }
        }
        findings
    }

    fn retries_that_are_too_long(&self) -> Vec<Finding> {
        let held = self.subscriptions().map(|it| (it.queue, held(&it.policy)));
        let too_long = held.filter(|(_, held)| *held >= CONSUMER_TIMEOUT);
        let findings = too_long.map(|(queue, held)| {
            let (held, limit) = (held.as_secs() / 60, CONSUMER_TIMEOUT.as_secs() / 60);
            let text = format!(
                "{queue} may hold a failing delivery for {held} minutes, and RabbitMQ ends a \
                 consumer that holds one for {limit}: shorten the pauses of its `Retry`"
            );
            Finding::error("retry_too_long", text)
        });
        findings.collect()
    }

    fn priorities_without_effect(&self) -> Vec<Finding> {
        let unlimited = self.services.iter().filter(|it| it.concurrency.is_none());
        let subscriptions = unlimited.flat_map(|it| &it.subscriptions);
        let prior = subscriptions
            .filter(|it| it.policy.priority != Priority::Normal && it.partition_of.is_none());
        let findings = prior.map(|it| {
            let (queue, priority) = (it.queue, it.policy.priority);
            let text = format!(
                "{queue} has the priority {priority}, but its service does not limit its runs, so \
                 nothing waits: set `Service::concurrency`"
            );
            Finding::warning("priority_unused", text)
        });
        findings.collect()
    }

    fn rates_that_are_too_low(&self) -> Vec<Finding> {
        let rated = self
            .subscriptions()
            .filter_map(|it| Some((it.queue, it.policy.rate?)));
        let too_low = rated.filter(|(_, rate)| rate.is_too_low());
        let findings = too_low.map(|(queue, _)| {
            let text = format!(
                "{queue} starts less than one run a minute, and a waiting delivery may time out: \
                 raise its rate, or collect the work and do it on a schedule"
            );
            Finding::error("rate_too_low", text)
        });
        findings.collect()
    }
}

/// Returns the longest time for which a delivery is not acknowledged that always fails with the
/// same error.
fn held(policy: &Policy) -> Duration {
    let held = held_by_default(policy).max(policy.retry.held_by_rules());
    held.min(policy.retry.max_age.unwrap_or(Duration::MAX))
}

/// Returns the longest such time without a rule for the error. In order, a delivery waits in place;
/// otherwise it is parked after the quick attempts.
fn held_by_default(policy: &Policy) -> Duration {
    let retry = &policy.retry;
    let mut quick = Duration::ZERO;
    for attempt in 1..retry.quick {
        let pause = retry
            .backoff
            .saturating_mul(2_u32.saturating_pow(attempt - 1));
        quick = quick.saturating_add(pause.saturating_mul(2)); // With its random part.
        if quick >= CONSUMER_TIMEOUT {
            break;
        }
    }
    if !policy.keeps_order() {
        return quick;
    }
    let pauses = retry.parked.iter();
    pauses.fold(quick, |held, pause| {
        let with_random_part = pause.saturating_add(*pause / 4);
        held.saturating_add(with_random_part).saturating_add(quick)
    })
}
