//! The report of an attempt about its target: the time for which the target wants no further
//! attempt, and whether it answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use wingbeat_core::Timestamp;
use wingbeat_core::outgoing::Response;
use wingbeat_core::runtime::SharedRuntime;

/// An extractor with which an executor reports what it learned about the target of a call that
/// failed.
///
/// [`Http`](super::Http) reports the header `Retry-After` of a response itself. Executors that
/// speak another protocol use this extractor.
#[derive(Clone, Default)]
pub struct TargetReport(Arc<Mutex<Remarks>>);

#[derive(Clone, Copy, Default)]
pub(crate) struct Remarks {
    /// The time for which the target wants no further attempt.
    pub(crate) retry_after: Option<Duration>,
    /// The target works, though this call must be repeated.
    pub(crate) answered: bool,
}

impl TargetReport {
    /// Reports that the target wants no attempt before this time has passed. It delays the next
    /// attempt of this call, and the probe of an open circuit breaker, by at most
    /// [`TargetPolicy::retry_after_max`](crate::TargetPolicy::retry_after_max).
    pub fn retry_after(&self, time: Duration) {
        self.change(|remarks| remarks.retry_after = Some(time));
    }

    /// Reports that the target works, though this call must be repeated. The failure then does not
    /// count for the circuit breaker.
    pub fn answered(&self) {
        self.change(|remarks| remarks.answered = true);
    }

    pub(crate) fn remarks(&self) -> Remarks {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Remarks)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes the `Retry-After` of a response, or that it has none.
    pub(super) fn note(&self, response: &Response, runtime: &SharedRuntime) {
        let asked = retry_after(response, runtime.now());
        self.change(|remarks| remarks.retry_after = asked);
    }
}

/// Returns the time in the header `Retry-After` (RFC 9110, section 10.2.3): a number of seconds, or
/// a date. A date is compared with the server's own clock, if the response has one.
fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| {
        let since = httpdate::parse_http_date(text)
            .ok()?
            .duration_since(UNIX_EPOCH);
        i64::try_from(since.ok()?.as_millis()).ok()
    };
    let until = date(value)?;
    let theirs = response.header("date").and_then(|text| date(text.trim()));
    let from = theirs.unwrap_or(now.as_micros() / 1_000);
    Some(Duration::from_millis(
        u64::try_from(until.saturating_sub(from)).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)], now: i64) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let response = Response {
            headers: headers.collect(),
            ..Response::default()
        };
        let asked = retry_after(&response, Timestamp::from_millis(now * 1_000));
        asked.map(|time| time.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_understood_and_anything_else_is_ignored() {
        assert_eq!(asked(&[("Retry-After", " 120 ")], 0), Some(120));
        // RFC 9110, section 5.6.7: the second of 1994-11-06T08:49:37Z.
        let second = 784_111_777;
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(asked(&[("retry-after", date)], second - 90), Some(90));
            assert_eq!(asked(&[("retry-after", date)], second + 90), Some(0));
        }
        for wrong in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(asked(&[("retry-after", wrong)], 0), None, "{wrong}");
        }
        assert_eq!(asked(&[], 0), None);
    }

    #[test]
    fn a_date_is_compared_with_the_clock_of_the_server() {
        let headers = [
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("retry-after", "Sun, 06 Nov 1994 08:51:37 GMT"),
        ];
        assert_eq!(asked(&headers, 0), Some(120));
    }
}
