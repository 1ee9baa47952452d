//! Schedules of faults, drawn from the seed.
//!
//! A schedule is plain data, so the minimization can remove faults from it.

use std::fmt;
use std::time::Duration;

use crate::test::model::{Faults, Outages};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The replies to this many of 1,000 commits are lost.
    CommitUnknown(u64),
    /// The store does not answer this many of 1,000 operations.
    StoreUnavailable(u64),
    /// This many of 1,000 confirms are lost.
    ConfirmLost(u64),
    /// This many of 1,000 messages are delivered two to five times.
    Duplicate(u64),
    /// Each operation takes up to this time.
    Delay(Duration),
    /// Consumers pause, in this many of 1,000 cases.
    SlowConsumer(u64),
    /// This many of 1,000 outside calls are refused.
    OutsideFails(u64),
    /// This many of 1,000 outside calls are not answered.
    OutsideHangs(u64),
    /// This many of 1,000 outside calls take effect and lose their answer.
    OutsideReplyLost(u64),
    /// This many of 1,000 answers to clients are lost.
    AnswerLost(u64),
    /// The store is unavailable.
    StoreOutage,
    /// The broker is unavailable.
    BrokerOutage,
    /// The broker blocks publishers.
    BrokerBlocked,
    /// The cache is unavailable.
    CacheOutage,
    /// The broker restarts: consumers are lost, unacknowledged messages are redelivered.
    BrokerRestart,
    /// The store loses its leases, so two processes may claim the same work.
    LeasesLost,
    /// The cache is emptied.
    CacheLost,
    /// A process is killed after a number of polls of its tasks. It restarts when the episode ends.
    Crash {
        /// The index of the process.
        process: usize,
        /// The number of polls.
        polls: u64,
    },
    /// A process is killed at its next commit. It restarts when the episode ends.
    CrashAtCommit {
        /// The index of the process.
        process: usize,
    },
    /// The clock of a process differs from the server's for its whole life.
    Skew {
        /// The index of the process.
        process: usize,
        /// The difference in milliseconds. Negative if the clock is behind.
        ms: i64,
    },
}

/// A fault and its period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Episode {
    /// The beginning, measured from the start of the clients.
    pub from: Duration,
    /// The end.
    pub until: Duration,
    /// The fault.
    pub fault: Fault,
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from.as_secs_f64(), self.until.as_secs_f64());
        write!(f, "{from:.3}–{until:.3} s {:?}", self.fault)
    }
}

impl Episode {
    fn is_active(&self, now: Duration) -> bool {
        self.from <= now && now < self.until
    }
}

/// The names of all faults, as in the coverage.
pub const FAULTS: [&str; 20] = [
    "answer_lost",
    "broker_blocked",
    "broker_outage",
    "broker_restart",
    "cache_lost",
    "cache_outage",
    "commit_unknown",
    "confirm_lost",
    "crash",
    "delay",
    "duplicate",
    "leases_lost",
    "outside_fails",
    "outside_hangs",
    "outside_reply_lost",
    "reordered",
    "skew",
    "slow_consumer",
    "store_unavailable",
    "store_outage",
];

/// The episodes of one lifetime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The episodes, in any order.
    pub episodes: Vec<Episode>,
}

impl Schedule {
    /// Draws a schedule for this many processes, within `span`.
    #[must_use]
    pub fn draw(seed: u64, processes: usize, span: Duration) -> Self {
        let mut draw = Draw {
            random: fastrand::Rng::with_seed(seed ^ 0x005c_4ed0_1e00),
            processes,
            span,
        };
        // One lifetime in twelve has no faults, which shows bugs that need none.
        let count = match draw.random.u32(..12) {
            0 => 0,
            _ => draw.random.usize(3..=8),
        };
        let mut episodes: Vec<Episode> = (0..count).map(|_| draw.episode()).collect();
        if count > 0 && processes > 0 {
            episodes.extend((0..draw.random.usize(0..=3)).map(|_| draw.crash()));
        }
        Self { episodes }
    }

    /// Returns the faults and outages at `now`, measured from the start of the clients.
    #[must_use]
    pub fn conditions(&self, now: Duration) -> (Faults, Outages) {
        let (mut faults, mut outages) = (Faults::default(), Outages::default());
        let raise = |share: &mut u64, other: u64| *share = (*share).max(other);
        for episode in self
            .episodes
            .iter()
            .filter(|episode| episode.is_active(now))
        {
            match episode.fault {
                Fault::CommitUnknown(share) => raise(&mut faults.commit_unknown, share),
                Fault::StoreUnavailable(share) => raise(&mut faults.store_unavailable, share),
                Fault::ConfirmLost(share) => raise(&mut faults.confirm_lost, share),
                Fault::Duplicate(share) => raise(&mut faults.duplicate, share),
                Fault::Delay(delay) => faults.delay = faults.delay.max(delay),
                Fault::SlowConsumer(share) => raise(&mut faults.slow_consumer, share),
                Fault::OutsideFails(share) => raise(&mut faults.outside_fails, share),
                Fault::OutsideHangs(share) => raise(&mut faults.outside_hangs, share),
                Fault::OutsideReplyLost(share) => raise(&mut faults.outside_reply_lost, share),
                Fault::AnswerLost(share) => raise(&mut faults.answer_lost, share),
                Fault::StoreOutage => outages.store = true,
                Fault::BrokerOutage => outages.broker = true,
                Fault::BrokerBlocked => outages.broker_blocked = true,
                Fault::CacheOutage => outages.cache = true,
                Fault::BrokerRestart
                | Fault::LeasesLost
                | Fault::CacheLost
                | Fault::Crash { .. }
                | Fault::CrashAtCommit { .. }
                | Fault::Skew { .. } => {}
            }
        }
        (faults, outages)
    }

    /// Returns the clock skew of a process, in milliseconds.
    #[must_use]
    pub fn skew(&self, process: usize) -> i64 {
        let skew = |episode: &Episode| match episode.fault {
            Fault::Skew { process: of, ms } if of == process => Some(ms),
            _ => None,
        };
        self.episodes.iter().find_map(skew).unwrap_or_default()
    }

    /// Returns the times at which an episode begins or ends, in order.
    #[must_use]
    pub fn boundaries(&self) -> Vec<Duration> {
        let ends = self.episodes.iter().flat_map(|it| [it.from, it.until]);
        let mut boundaries: Vec<Duration> = ends.collect();
        boundaries.sort_unstable();
        boundaries.dedup();
        boundaries
    }
}

/// The random choices of one schedule.
struct Draw {
    random: fastrand::Rng,
    processes: usize,
    span: Duration,
}

impl Draw {
    fn millis(&mut self, max: Duration) -> Duration {
        Duration::from_millis(self.random.u64(..=max.as_millis() as u64))
    }

    fn lasting(&mut self, fault: Fault, max: Duration) -> Episode {
        let from = self.millis(self.span);
        let until = from + Duration::from_millis(100) + self.millis(max);
        Episode { from, until, fault }
    }

    fn share(&mut self, max: u64) -> u64 {
        self.random.u64(20..=max)
    }

    fn episode(&mut self) -> Episode {
        let long = self.span / 2;
        let short = Duration::from_secs(8);
        let fault = match self.random.u32(..19) {
            0 => Fault::CommitUnknown(self.share(300)),
            1 => Fault::StoreUnavailable(self.share(600)),
            2 => Fault::ConfirmLost(self.share(400)),
            3 => Fault::Duplicate(self.share(500)),
            4 => Fault::Delay(Duration::from_millis(self.random.u64(5..=250))),
            5 => Fault::SlowConsumer(self.share(400)),
            6 => Fault::OutsideFails(self.share(900)),
            7 => Fault::OutsideHangs(self.share(500)),
            8 => Fault::OutsideReplyLost(self.share(700)),
            9 => Fault::AnswerLost(self.share(400)),
            10 => Fault::StoreOutage,
            11 => Fault::BrokerOutage,
            12 => Fault::BrokerBlocked,
            13 => Fault::CacheOutage,
            14 => Fault::BrokerRestart,
            15 => Fault::LeasesLost,
            16 => Fault::CacheLost,
            17 => return self.skew(),
            _ => return self.crash(),
        };
        let max = match fault {
            Fault::StoreOutage | Fault::BrokerOutage | Fault::BrokerBlocked => short,
            _ => long,
        };
        self.lasting(fault, max)
    }

    fn skew(&mut self) -> Episode {
        let fault = Fault::Skew {
            process: self.random.usize(..self.processes.max(1)),
            ms: self.random.i64(-2_000..=2_000),
        };
        Episode {
            from: Duration::ZERO,
            until: self.span,
            fault,
        }
    }

    fn crash(&mut self) -> Episode {
        let process = self.random.usize(..self.processes.max(1));
        let fault = if self.random.u32(..3) == 0 {
            // A number of polls seldom ends between a commit and the work after it.
            Fault::CrashAtCommit { process }
        } else {
            let polls = self.random.u64(1..=60);
            Fault::Crash { process, polls }
        };
        self.lasting(fault, Duration::from_secs(6))
    }
}
