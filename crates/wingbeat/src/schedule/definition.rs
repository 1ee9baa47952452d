//! The public description of a schedule.

use std::time::Duration;

/// The age at which a run counts as missed.
const GRACE: Duration = Duration::from_secs(60);

/// The planned times of a scheduled handler, and the policy for runs that were missed.
///
/// See [`Service::schedule`](crate::Service::schedule).
///
/// ```
/// use std::time::Duration;
/// use wingbeat::{Missed, Schedule};
///
/// let quarter = Schedule::every(Duration::from_secs(900)).missed(Missed::Skip);
/// # #[cfg(feature = "cron")]
/// let report = Schedule::cron("0 3 * * *").in_zone("Europe/Berlin").missed(Missed::Once);
/// # drop(quarter);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Schedule {
    pub(super) times: Times,
    pub(super) missed: Missed,
    pub(super) grace: Duration,
}

/// The planned times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron {
        expression: String,
        zone: String,
    },
}

/// The policy for planned times at which the handler did not run, for example because no replica
/// was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Skips them. A run is missed if it is later than the [grace](Schedule::grace).
    Skip,
    /// Runs the handler once for all of them.
    #[default]
    Once,
    /// Runs the handler once for each of them, in order.
    All,
}

impl Schedule {
    /// Plans a run each time that `period` has passed. The first one is due one period after the
    /// schedule is created.
    ///
    /// [`App::check`](crate::App::check) refuses a period under one millisecond.
    pub const fn every(period: Duration) -> Self {
        Self::new(Times::Every(period))
    }

    /// Plans runs at the times of a cron expression, in UTC unless [`in_zone`](Self::in_zone) says
    /// otherwise.
    ///
    /// The expression has five fields (minute, hour, day of month, month, day of week), or six if
    /// it begins with seconds. Names (`MON`, `JAN`), steps (`*/15`), `L`, `#` and `W` work as in
    /// the [`croner`](https://docs.rs/croner) crate.
    ///
    /// [`App::check`](crate::App::check) refuses an expression that cannot be parsed or that has no
    /// future time.
    #[cfg(feature = "cron")]
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::new(Times::Cron {
            expression: expression.into(),
            zone: "UTC".into(),
        })
    }

    /// Sets the time zone of a cron expression, as an IANA name such as `Europe/Berlin`. A schedule
    /// with a period ignores it.
    ///
    /// When daylight saving time begins, a run at a fixed time that does not exist on that day is
    /// due at the first moment after the gap. When it ends, a run at a fixed time that occurs twice
    /// is due once. Expressions with `*` or a step in minute or hour run in each hour that passes.
    ///
    /// The program contains the time zone database and prefers that of the system.
    #[cfg(feature = "cron")]
    pub fn in_zone(mut self, zone: impl Into<String>) -> Self {
        if let Times::Cron { zone: of, .. } = &mut self.times {
            *of = zone.into();
        }
        self
    }

    /// Sets the policy for missed runs. The default is [`Missed::Once`].
    pub const fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Sets the age up to which [`Missed::Skip`] still makes a run. The default is one minute.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    const fn new(times: Times) -> Self {
        Self {
            times,
            missed: Missed::Once,
            grace: GRACE,
        }
    }

    /// Returns a text that changes whenever the planned times do.
    pub(super) fn text(&self) -> String {
        match &self.times {
            Times::Every(period) => format!("every {period:?}"),
            #[cfg(feature = "cron")]
            Times::Cron { expression, zone } => format!("cron {expression} {zone}"),
        }
    }
}
