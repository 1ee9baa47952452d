//! The state of overload in a process: the last readings, and the level that follows from them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge};

use super::level::{Level, Priority, Resource, Watermark, Watermarks, pause};
use super::sources::{Followed, Probe};

/// The overload of a process; see [`overload`](crate::overload). Clones share their state.
#[derive(Clone)]
pub struct Overload(Arc<Inner>);

struct Inner {
    probe: Arc<dyn Probe>,
    /// The number of the level. Requests read it, so it is not behind the lock.
    level: AtomicU8,
    /// The number of refused requests.
    refused: AtomicU64,
    /// Refused requests by priority.
    counters: [(Priority, Counter); 3],
    watched: Mutex<Vec<Watched>>,
    followed: Mutex<Followed>,
}

/// The last reading of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The resource.
    pub resource: Resource,
    /// Its watermark.
    pub watermark: Watermark,
    /// The reading, in the unit of the watermark; `None` if the resource could not be read yet.
    pub value: Option<u64>,
    /// The level that follows from the readings so far.
    pub level: Level,
}

/// A resource with a watermark.
struct Watched {
    reading: Reading,
    gauge: Gauge,
}

impl Overload {
    /// Creates the state of a process that is not overloaded. It changes once
    /// [`App::shedding`](crate::App::shedding) has it watched.
    #[must_use]
    pub fn new(watermarks: Watermarks, probe: Arc<dyn Probe>) -> Self {
        let watched = Resource::ALL.into_iter().filter_map(|resource| {
            let labels = [("resource", resource.as_str())];
            let gauge = metrics::gauge!("wingbeat_overload_level", &labels);
            let reading = Reading {
                resource,
                watermark: watermarks.of(resource)?,
                value: None,
                level: Level::Zero,
            };
            gauge.set(0.0);
            Some(Watched { reading, gauge })
        });
        let counters = [Priority::Low, Priority::Normal, Priority::High].map(|priority| {
            let labels = [("priority", priority.as_str())];
            let counter = metrics::counter!("wingbeat_overload_shed_total", &labels);
            counter.increment(0); // Exposed before the first one is refused.
            (priority, counter)
        });
        Self(Arc::new(Inner {
            probe,
            level: AtomicU8::new(0),
            refused: AtomicU64::new(0),
            counters,
            watched: Mutex::new(watched.collect()),
            followed: Mutex::default(),
        }))
    }

    /// Returns the level: the highest of all resources.
    #[must_use]
    pub fn level(&self) -> Level {
        let number = self.0.level.load(Ordering::Relaxed);
        Level::ALL[usize::from(number).min(3)]
    }

    /// Returns whether requests of this priority are refused.
    #[must_use]
    pub fn sheds(&self, priority: Priority) -> bool {
        priority.shed_at().is_some_and(|it| self.level() >= it)
    }

    /// Returns the last readings of the resources that have a watermark.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        self.watched().iter().map(|it| it.reading).collect()
    }

    /// Refuses and counts a request of this priority, if such requests are refused. Returns the
    /// time after which its client may retry. Routes do this before they read a body; any other
    /// intake, such as a server for another protocol, calls it itself.
    #[must_use]
    pub fn refuse(&self, priority: Priority) -> Option<Duration> {
        if !self.sheds(priority) {
            return None;
        }
        let mut counters = self.0.counters.iter();
        if let Some((_, counter)) = counters.find(|(of, _)| *of == priority) {
            counter.increment(1);
        }
        let request = self.0.refused.fetch_add(1, Ordering::Relaxed);
        Some(pause(self.level(), request))
    }

    /// Takes new readings, and logs a change of the level.
    pub(super) fn take(&self, readings: &[(Resource, u64)]) {
        let mut watched = self.watched();
        let mut changed = None;
        for (resource, value) in readings {
            let Some(one) = watched
                .iter_mut()
                .find(|it| it.reading.resource == *resource)
            else {
                continue;
            };
            let reading = &mut one.reading;
            let before = reading.level;
            reading.value = Some(*value);
            reading.level = reading.watermark.next(*resource, before, *value);
            if reading.level != before {
                one.gauge.set(f64::from(reading.level.number()));
                changed = Some(one.reading);
            }
        }
        let worst = watched.iter().map(|it| it.reading);
        let Some(worst) = worst.max_by_key(|it| it.level) else {
            return;
        };
        drop(watched);
        let before = self.level();
        self.0.level.store(worst.level.number(), Ordering::Relaxed);
        if worst.level > before {
            log(worst, before, worst.level);
        } else if worst.level < before {
            log(changed.unwrap_or(worst), before, worst.level);
        }
    }

    /// Returns whether the resource has a watermark.
    pub(super) fn watches(&self, resource: Resource) -> bool {
        let watched = self.watched();
        watched.iter().any(|it| it.reading.resource == resource)
    }

    pub(super) fn probe(&self) -> &dyn Probe {
        &*self.0.probe
    }

    pub(super) fn followed(&self) -> MutexGuard<'_, Followed> {
        let followed = self.0.followed.lock();
        followed.unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        let watched = self.0.watched.lock();
        watched.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a change of the level, with the reading that has caused it.
fn log(cause: Reading, before: Level, level: Level) {
    let Reading {
        resource,
        watermark: Watermark { high, low },
        value,
        ..
    } = cause;
    let (cause, reading) = (resource.as_str(), value.unwrap_or_default());
    let (level, before) = (level.number(), before.number());
    if level > before {
        let refused = match level {
            1 => "low",
            2 => "low and normal",
            _ => "low, normal and high",
        };
        tracing::warn!(
            level,
            before,
            cause,
            reading,
            high,
            low,
            "overloaded: requests of {refused} priority are refused"
        );
    } else {
        tracing::info!(
            level,
            before,
            cause,
            reading,
            high,
            low,
            "the overload recedes: fewer requests are refused"
        );
    }
}
