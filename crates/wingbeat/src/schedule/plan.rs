//! Planned times.

use std::time::Duration;

use wingbeat_core::Timestamp;

use super::definition::{Missed, Schedule, Times};

/// The shortest period.
const SHORTEST: Duration = Duration::from_millis(1);

/// A schedule that was checked.
#[derive(Clone)]
pub(crate) struct Plan {
    schedule: Schedule,
    text: String,
    times: Compiled,
}

#[derive(Clone)]
enum Compiled {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron(Box<cron::Times>),
}

impl Plan {
    /// Checks a schedule.
    ///
    /// # Errors
    ///
    /// A sentence that says why the schedule has no planned times.
    pub(crate) fn new(schedule: &Schedule) -> Result<Self, String> {
        let times = match &schedule.times {
            Times::Every(period) if *period < SHORTEST => {
                return Err(format!(
                    "its period is {period:?}, the shortest is {SHORTEST:?}"
                ));
            }
            Times::Every(period) => Compiled::Every(*period),
            #[cfg(feature = "cron")]
            Times::Cron { expression, zone } => {
                Compiled::Cron(Box::new(cron::Times::new(expression, zone)?))
            }
        };
        Ok(Self {
            schedule: schedule.clone(),
            text: schedule.text(),
            times,
        })
    }

    /// A text that changes whenever the planned times do.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the first planned time of a schedule that is created or resumed at `now`.
    pub(super) fn first(&self, now: Timestamp) -> Timestamp {
        match &self.times {
            Compiled::Every(period) => now + *period,
            #[cfg(feature = "cron")]
            Compiled::Cron(times) => times.after(now),
        }
    }

    /// Returns whether a run that is planned at `tick` is skipped at `now`.
    pub(super) fn skips(&self, tick: Timestamp, now: Timestamp) -> bool {
        self.schedule.missed == Missed::Skip && now.since(tick) > self.schedule.grace
    }

    /// Returns whether each planned time needs its own run.
    pub(super) fn keeps_all(&self) -> bool {
        self.schedule.missed == Missed::All
    }

    /// Returns the planned time after `tick`, whose run ends at `now`.
    pub(super) fn next(&self, tick: Timestamp, now: Timestamp) -> Timestamp {
        let from = match self.schedule.missed {
            Missed::All => tick,
            Missed::Skip | Missed::Once => tick.max(now),
        };
        match &self.times {
            Compiled::Every(period) => {
                let passed = from.since(tick).as_nanos() / period.as_nanos();
                let steps = u32::try_from(passed + 1).unwrap_or(u32::MAX);
                tick + period.saturating_mul(steps)
            }
            #[cfg(feature = "cron")]
            Compiled::Cron(times) => times.after(from),
        }
    }
}

#[cfg(feature = "cron")]
mod cron {
    use croner::Cron;
    use jiff::Timestamp as Instant;
    use jiff::tz::TimeZone;
    use wingbeat_core::Timestamp;

    /// The times of a cron expression in a time zone.
    #[derive(Clone)]
    pub(super) struct Times {
        cron: Cron,
        zone: TimeZone,
    }

    impl Times {
        pub(super) fn new(expression: &str, zone: &str) -> Result<Self, String> {
            let cron: Cron = expression
                .parse()
                .map_err(|why| format!("the cron expression `{expression}` is invalid: {why}"))?;
            let zone = TimeZone::get(zone).map_err(|_| {
                format!("there is no time zone `{zone}`: use a name such as Europe/Berlin")
            })?;
            let times = Self { cron, zone };
            // The first day of 2024: every expression with a future time has one after it.
            let known = Timestamp::from_millis(1_704_067_200_000);
            if times.after(known) == Timestamp::MAX {
                return Err(format!(
                    "the cron expression `{expression}` has no time in the future"
                ));
            }
            Ok(times)
        }

        /// Returns the first time after `from`; [`Timestamp::MAX`] if there is none.
        pub(super) fn after(&self, from: Timestamp) -> Timestamp {
            let from = Instant::from_microsecond(from.as_micros()).ok();
            let from = from.map(|it| it.to_zoned(self.zone.clone()));
            let next = from.and_then(|from| self.cron.find_next_occurrence(&from, false).ok());
            next.map_or(Timestamp::MAX, |next| {
                Timestamp::from_micros(next.timestamp().as_microsecond())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    fn plan(schedule: Schedule) -> Plan {
        Plan::new(&schedule).unwrap()
    }

    fn every(seconds: u64) -> Schedule {
        Schedule::every(Duration::from_secs(seconds))
    }

    #[test]
    fn a_period_keeps_its_rhythm_however_late_a_run_is() {
        let plan = plan(every(60));
        assert_eq!(plan.first(at(7)), at(67));
        assert_eq!(plan.next(at(67), at(67)), at(127));
        assert_eq!(plan.next(at(67), at(70)), at(127));
        // A fast clock of another replica planned the run; this one reads an earlier time.
        assert_eq!(plan.next(at(67), at(60)), at(127));
    }

    #[test]
    fn after_missed_times_once_and_skip_continue_after_now_and_all_with_the_next() {
        let missed = |missed| plan(every(60).missed(missed)).next(at(60), at(3_610));
        assert_eq!(missed(Missed::Once), at(3_660));
        assert_eq!(missed(Missed::Skip), at(3_660));
        assert_eq!(missed(Missed::All), at(120));
    }

    #[test]
    fn only_skip_leaves_out_a_run_and_only_after_the_grace() {
        let skips = |missed, now| plan(every(60).missed(missed)).skips(at(60), at(now));
        assert!(!skips(Missed::Skip, 120));
        assert!(skips(Missed::Skip, 121));
        assert!(!skips(Missed::Once, 10_000));
        assert!(!skips(Missed::All, 10_000));
        let patient = every(60)
            .missed(Missed::Skip)
            .grace(Duration::from_secs(300));
        assert!(!plan(patient).skips(at(60), at(360)));
    }

    #[test]
    fn a_period_that_never_ends_or_never_begins_is_safe() {
        let ages = Schedule::every(Duration::MAX);
        assert_eq!(plan(ages).next(at(60), at(60)), Timestamp::MAX);
        let why = Plan::new(&Schedule::every(Duration::ZERO)).err().unwrap();
        assert!(why.contains("the shortest is 1ms"), "{why}");
    }

    #[cfg(feature = "cron")]
    mod cron {
        use super::*;

        fn time(text: &str) -> Timestamp {
            serde_json::from_value(text.into()).unwrap()
        }

        /// The planned times after `from`, until `to`.
        fn times(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
            let schedule = Schedule::cron(expression).in_zone(zone).missed(Missed::All);
            let plan = plan(schedule);
            let mut times = Vec::new();
            let mut next = plan.first(time(from));
            while next <= time(to) {
                times.push(next.to_string().replace(":00.000000Z", "Z"));
                next = plan.next(next, next);
            }
            times
        }

        #[test]
        fn a_fixed_time_runs_once_a_day_on_both_changes_of_daylight_saving_time() {
            // 02:30 does not exist on 29 March 2026 in Berlin and exists twice on 25 October.
            let march = times(
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T00:00:00Z",
                "2026-03-30T23:00:00Z",
            );
            assert_eq!(
                march,
                [
                    "2026-03-28T01:30Z",
                    "2026-03-29T01:00Z",
                    "2026-03-30T00:30Z"
                ]
            );
            let october = times(
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T00:00:00Z",
                "2026-10-26T23:00:00Z",
            );
            assert_eq!(
                october,
                [
                    "2026-10-24T00:30Z",
                    "2026-10-25T00:30Z",
                    "2026-10-26T01:30Z"
                ]
            );
        }

        #[test]
        fn an_hourly_time_runs_in_each_hour_that_passes() {
            let berlin = |from, to| times("15 * * * *", "Europe/Berlin", from, to).len();
            assert_eq!(berlin("2026-03-29T00:00:00Z", "2026-03-29T05:59:00Z"), 6);
            assert_eq!(berlin("2026-10-25T00:00:00Z", "2026-10-25T05:59:00Z"), 6);
        }

        #[test]
        fn times_are_utc_unless_a_zone_is_named() {
            let utc = Plan::new(&Schedule::cron("0 3 * * *")).unwrap();
            assert_eq!(
                utc.first(time("2026-07-01T00:00:00Z")),
                time("2026-07-01T03:00:00Z")
            );
            let tokyo = Schedule::cron("0 3 * * *").in_zone("Asia/Tokyo");
            assert_eq!(
                plan(tokyo).first(time("2026-07-01T00:00:00Z")),
                time("2026-07-01T18:00:00Z")
            );
        }

        #[test]
        fn an_expression_or_a_zone_that_cannot_be_used_is_refused() {
            let refused = |schedule: Schedule| Plan::new(&schedule).err().unwrap();
            assert!(refused(Schedule::cron("61 * * * *")).contains("`61 * * * *` is invalid"));
            assert!(refused(Schedule::cron("")).contains("is invalid"));
            assert!(refused(Schedule::cron("0 0 30 2 *")).contains("no time in the future"));
            let nowhere = Schedule::cron("0 0 * * *").in_zone("Europe/Atlantis");
            assert!(refused(nowhere).contains("no time zone `Europe/Atlantis`"));
        }
    }
}
