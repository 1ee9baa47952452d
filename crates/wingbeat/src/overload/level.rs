//! The watermarks of resources, and the levels that follow from readings.

use std::time::Duration;

/// The importance of a route, which decides at which [level](Level) its requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Refused first, from level 1: requests that arrive in crowds and can wait.
    Low,
    /// Refused from level 2: requests that begin work. The default of all writes.
    Normal,
    /// Refused last, at level 3: browsing. The default of reads.
    High,
    /// Never refused: requests that end or continue work, such as cancellations, sign-outs and the
    /// callbacks of other systems.
    Essential,
}

impl Priority {
    /// Returns the level from which requests are refused; `None` if they never are.
    pub(crate) fn shed_at(self) -> Option<Level> {
        match self {
            Self::Low => Some(Level::One),
            Self::Normal => Some(Level::Two),
            Self::High => Some(Level::Three),
            Self::Essential => None,
        }
    }

    /// Returns its name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Essential => "essential",
        }
    }
}

/// The level of overload; see [`overload`](crate::overload).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No overload.
    #[default]
    Zero,
    /// Requests of [`Priority::Low`] are refused.
    One,
    /// Requests of [`Priority::Normal`] are refused, too.
    Two,
    /// Requests of [`Priority::High`] are refused, too.
    Three,
}

impl Level {
    pub(super) const ALL: [Self; 4] = [Self::Zero, Self::One, Self::Two, Self::Three];

    /// Returns the number of the level, from 0 to 3.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// A resource that can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The memory of the process, in percent of its limit.
    Memory,
    /// The free space on the disk of the embedded store, in bytes. Less is worse.
    Disk,
    /// Messages in the outbox of a service, and its records that are due, if the oldest has waited
    /// for five seconds: the largest number of all services. The store counts up to 10,000 of each
    /// kind.
    Backlog,
    /// Messages in the longest queue of the services that run here.
    Queues,
    /// The age of the oldest message, in seconds, of an outbox or of a running subscription with at
    /// least 1,000 messages. A single message that is stuck is a fault, not overload. It is not
    /// watched by default: one slow subscription is no reason to refuse requests that others
    /// handle.
    Lag,
}

impl Resource {
    /// All resources.
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Disk,
        Self::Backlog,
        Self::Queues,
        Self::Lag,
    ];

    /// Returns its name in metrics, logs and the operator's API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Backlog => "backlog",
            Self::Queues => "queues",
            Self::Lag => "lag",
        }
    }
}

/// The watermarks of a resource, in its unit.
///
/// Level 1 begins at `high`, and ends at `low`. The levels above follow from `high`; each ends
/// where the level below it begins.
///
/// | Resource | Level 2 begins at | Level 3 begins at |
/// |---|---|---|
/// | memory | a third of the way from `high` to 100 % | two thirds of that way |
/// | disk | three quarters of `high` | – |
/// | backlog, queues | one and a half times `high` | – |
/// | lag | one and a half times `high` | twice `high` |
///
/// Disk, backlog and queues have no level 3: reads, which it would refuse, add nothing to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The reading at which overload begins.
    pub high: u64,
    /// The reading at which overload ends.
    pub low: u64,
}

/// The watermarks of all resources. A resource without one is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// In percent of the limit.
    pub memory: Option<Watermark>,
    /// Free space in bytes: `high` is the smaller number.
    pub disk: Option<Watermark>,
    /// In messages and records.
    pub backlog: Option<Watermark>,
    /// In messages.
    pub queues: Option<Watermark>,
    /// In seconds.
    pub lag: Option<Watermark>,
}

/// The defaults: memory 85 and 75 %, disk 512 and 768 MiB, queues 200,000 and 100,000. Backlog and
/// lag are not watched: a part of the system that is unavailable, or one slow subscription, is no
/// reason to refuse new work.
impl Default for Watermarks {
    fn default() -> Self {
        let mark = |high, low| Some(Watermark { high, low });
        Self {
            memory: mark(85, 75),
            disk: mark(512 << 20, 768 << 20),
            backlog: None,
            queues: mark(200_000, 100_000),
            lag: None,
        }
    }
}

impl Watermarks {
    /// Returns watermarks under which nothing is watched.
    #[must_use]
    pub fn off() -> Self {
        Self {
            memory: None,
            disk: None,
            backlog: None,
            queues: None,
            lag: None,
        }
    }

    /// Returns the watermark of a resource.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<Watermark> {
        match resource {
            Resource::Memory => self.memory,
            Resource::Disk => self.disk,
            Resource::Backlog => self.backlog,
            Resource::Queues => self.queues,
            Resource::Lag => self.lag,
        }
    }
}

impl Watermark {
    /// Returns the level that follows from a reading.
    pub(super) fn next(self, resource: Resource, level: Level, reading: u64) -> Level {
        let reached = |mark: u64| match resource {
            Resource::Disk => reading <= mark,
            _ => reading >= mark,
        };
        let receded = match resource {
            Resource::Disk => reading >= self.low,
            _ => reading <= self.low,
        };
        let begun = |level: &Level| match level {
            Level::Zero => true,
            Level::One => reached(self.high),
            Level::Two => reached(self.second(resource)),
            Level::Three => self.third(resource).is_some_and(reached),
        };
        let mut levels = Level::ALL.into_iter().rev();
        let risen = levels.find(begun).unwrap_or_default();
        let mut next = level.max(risen);
        while next > risen {
            next = match next {
                Level::Three if !begun(&Level::Two) => Level::Two,
                Level::Two if !begun(&Level::One) => Level::One,
                Level::One if receded => Level::Zero,
                _ => break,
            };
        }
        next
    }

    fn second(self, resource: Resource) -> u64 {
        match resource {
            Resource::Memory => self.high + 100_u64.saturating_sub(self.high) / 3,
            Resource::Disk => self.high / 4 * 3,
            _ => self.high.saturating_add(self.high / 2),
        }
    }

    fn third(self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Memory => Some(self.high + 100_u64.saturating_sub(self.high) / 3 * 2),
            Resource::Lag => Some(self.high.saturating_mul(2)),
            Resource::Disk | Resource::Backlog | Resource::Queues => None,
        }
    }
}

/// Returns the seconds after which a refused client may retry. They grow with the level, and differ
/// between requests, so that the clients do not all return at once.
pub(super) fn pause(level: Level, request: u64) -> Duration {
    let least = 2 * u64::from(level.number()).max(1);
    Duration::from_secs(least + request % least)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the levels that follow from readings, one after the other.
    fn levels(resource: Resource, mark: Watermark, readings: &[u64]) -> Vec<u8> {
        let mut level = Level::Zero;
        let next = readings.iter().map(|reading| {
            level = mark.next(resource, level, *reading);
            level.number()
        });
        next.collect()
    }

    #[test]
    fn a_level_begins_at_the_high_watermark_and_ends_at_the_low_one() {
        let mark = Watermark { high: 10, low: 4 };
        let readings = [0, 9, 10, 9, 5, 10, 5, 4, 5, 9, 10];
        let expected = [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1];
        assert_eq!(levels(Resource::Backlog, mark, &readings), expected);
    }

    #[test]
    fn a_higher_level_ends_where_the_level_below_it_begins() {
        let mark = Watermark { high: 10, low: 4 };
        let readings = [14, 15, 14, 20, 19, 15, 14, 9, 5, 4, 20, 0];
        let expected = [1, 2, 2, 3, 3, 3, 2, 1, 1, 0, 3, 0];
        assert_eq!(levels(Resource::Lag, mark, &readings), expected);
    }

    #[test]
    fn the_levels_of_memory_lie_between_its_watermark_and_its_limit() {
        let mark = Watermark { high: 85, low: 75 };
        let readings = [84, 85, 89, 90, 94, 95, 100, 76, 75];
        let expected = [0, 1, 1, 2, 2, 3, 3, 1, 0];
        assert_eq!(levels(Resource::Memory, mark, &readings), expected);
    }

    #[test]
    fn less_free_space_is_worse() {
        let mark = Watermark {
            high: 100,
            low: 150,
        };
        let readings = [1_000, 101, 100, 75, 0, 76, 149, 150];
        let expected = [0, 0, 1, 2, 2, 2, 1, 0];
        assert_eq!(levels(Resource::Disk, mark, &readings), expected);
    }

    #[test]
    fn what_reading_adds_nothing_to_never_keeps_readers_out() {
        let mark = Watermark { high: 10, low: 4 };
        for resource in [Resource::Backlog, Resource::Queues] {
            assert_eq!(levels(resource, mark, &[15, u64::MAX]), [2, 2]);
        }
        let free = Watermark {
            high: 100,
            low: 140,
        };
        assert_eq!(levels(Resource::Disk, free, &[75, 0]), [2, 2]);
    }

    #[test]
    fn refused_clients_return_later_at_higher_levels_and_not_together() {
        let pauses = |level| [0, 1, 2, 3].map(|request| pause(level, request).as_secs());
        assert_eq!(pauses(Level::One), [2, 3, 2, 3]);
        assert_eq!(pauses(Level::Two), [4, 5, 6, 7]);
        assert_eq!(pauses(Level::Three), [6, 7, 8, 9]);
    }
}
