//! Points in time as text, by RFC 3339.

use std::fmt;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days in 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// From the first of March of the year 0 to the Unix epoch.
const DAYS_BEFORE_EPOCH: i64 = 719_468;
/// The times of which every offset from UTC shows a year of four digits, negative or not.
const WRITABLE: std::ops::RangeInclusive<i64> =
    -377_705_023_201 * MICROS_PER_SECOND..=253_402_207_200 * MICROS_PER_SECOND + 999_999;

/// A point in time by the calendar, in UTC.
pub(crate) struct DateTime {
    year: i64,
    month: i64,
    day: i64,
    micros_of_day: i64,
}

impl DateTime {
    /// Returns the date and time of microseconds since the epoch; `None` far in past or future.
    ///
    /// After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March,
    /// so that the leap day is their last day.
    pub(crate) fn of(micros: i64) -> Option<Self> {
        if !WRITABLE.contains(&micros) {
            return None;
        }
        let micros_per_day = SECONDS_PER_DAY * MICROS_PER_SECOND;
        let days = micros.div_euclid(micros_per_day) + DAYS_BEFORE_EPOCH;
        let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_PER_ERA - 1);
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months = (5 * day_of_year + 2) / 153;
        let month = if months < 10 { months + 3 } else { months - 9 };
        Some(Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * months + 2) / 5 + 1,
            micros_of_day: micros.rem_euclid(micros_per_day),
        })
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            micros_of_day,
        } = self;
        let (seconds, micros) = (
            micros_of_day / MICROS_PER_SECOND,
            micros_of_day % MICROS_PER_SECOND,
        );
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        match year {
            0.. => write!(f, "{year:04}")?,
            // ISO 8601 has six digits for years before 0.
            _ => write!(f, "{year:07}")?,
        }
        write!(
            f,
            "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// Reads a time with any offset from UTC; returns the microseconds since the epoch. Digits beyond
/// the sixth after the second are dropped, and a leap second is the second before it.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.year()?;
    let month = rest.after(b"-")?.number(2, 1, 12)?;
    let day = rest.after(b"-")?.number(2, 1, days_of(year, month))?;
    let hour = rest.after(b"Tt ")?.number(2, 0, 23)?;
    let minute = rest.after(b":")?.number(2, 0, 59)?;
    let second = rest.after(b":")?.number(2, 0, 60)?.min(59);
    let micros = rest.micros()?;
    let offset = rest.offset()?;
    let seconds = days_since_epoch(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60;
    let at = (seconds + second - offset) * MICROS_PER_SECOND + micros;
    (rest.0.is_empty() && WRITABLE.contains(&at)).then_some(at)
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let months = (month + 9) % 12; // Since March.
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_EPOCH
}

/// The text that is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Drops one of some characters.
    fn after(&mut self, any: &[u8]) -> Option<&mut Self> {
        let (first, rest) = self.0.split_first()?;
        self.0 = any.contains(first).then_some(rest)?;
        Some(self)
    }

    /// Reads a number of so many digits within bounds.
    fn number(&mut self, digits: usize, least: i64, most: i64) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(digit - b'0'))
        })?;
        self.0 = rest;
        (least..=most).contains(&number).then_some(number)
    }

    fn year(&mut self) -> Option<i64> {
        if self.after(b"-").is_some() {
            return self.number(6, 1, 9_999).map(|year| -year);
        }
        self.number(4, 0, 9_999)
    }

    /// Reads one to nine digits of a fraction; there may be none.
    fn micros(&mut self) -> Option<i64> {
        if self.after(b".,").is_none() {
            return Some(0);
        }
        let digits = self.0.iter().take_while(|it| it.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let padded = fraction.iter().map(|it| i64::from(it - b'0')).chain([0; 6]);
        let micros = padded.take(6).fold(0, |micros, digit| micros * 10 + digit);
        (1..=9).contains(&digits).then_some(micros)
    }

    /// Reads an offset in seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.after(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.0.first() == Some(&b'-') { -1 } else { 1 };
        let hours = self.after(b"+-")?.number(2, 0, 23)?;
        let minutes = self.after(b":")?.number(2, 0, 59)?;
        Some(sign * (hours * 3_600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: i64 = *WRITABLE.start();
    /// The last time that jiff converts from microseconds.
    const LAST: i64 = *WRITABLE.end() - 999_999;

    fn written(micros: i64) -> Option<String> {
        DateTime::of(micros).map(|it| it.to_string())
    }

    #[test]
    fn every_time_is_written_and_read_as_jiff_does() {
        let step = 86_400 * 41 * MICROS_PER_SECOND + 3_661_000_007; // Meets all days of years.
        let times = (FIRST..=LAST).step_by(usize::try_from(step).expect("it is positive"));
        for micros in times.chain([0, -1, 1, FIRST, LAST]) {
            let known = jiff::Timestamp::from_microsecond(micros).expect("it is within bounds");
            let text = written(micros).expect("it is within bounds");
            assert_eq!(text, format!("{known:.6}"));
            assert_eq!(parse(&text), Some(micros), "{text}");
        }
        assert_eq!(
            [written(FIRST - 1), written(LAST + MICROS_PER_SECOND)],
            [None, None]
        );
    }

    #[test]
    fn all_forms_of_rfc_3339_are_read_as_jiff_does() {
        for text in [
            "2024-02-29T23:59:59Z",
            "2000-02-29t00:00:00z",
            "1969-12-31 23:59:59.999999Z",
            "2026-01-01T00:00:00+02:00",
            "2026-01-01T00:00:00.5-11:30",
            "2026-01-01T00:00:00,123Z",
            "2026-01-01T00:00:00.123456789+00:00",
            "2016-12-31T23:59:60Z",
            "0000-03-01T00:00:00Z",
            "-009999-06-01T00:00:00Z",
            "9999-12-30T22:00:00.999999Z",
        ] {
            let known: jiff::Timestamp = text.parse().expect("jiff reads it");
            assert_eq!(parse(text), Some(known.as_microsecond()), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_time_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00Zz",
            "2026-01-01T00:00:00+24:00",
            "2026-1-01T00:00:00Z",
            "+2026-01-01T00:00:00Z",
            "-000000-01-01T00:00:00Z",
            "9999-12-31T00:00:00Z",
            "2026-01-01T00:00:0\u{663}Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
