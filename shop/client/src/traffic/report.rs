//! What became of the traffic.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Half and nearly all of some times, in milliseconds; `None` of no times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: Option<f64>,
    /// 99 of 100 were faster.
    pub p99: Option<f64>,
}

impl Percentiles {
    /// Of a histogram of microseconds.
    #[must_use]
    pub fn of(micros: &Histogram<u64>) -> Self {
        let at = |quantile| {
            (!micros.is_empty()).then(|| micros.value_at_quantile(quantile) as f64 / 1_000.0)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

/// What became of every order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Orders that were sent.
    pub sent: u64,
    /// Answered 202.
    pub accepted: u64,
    /// Answered 4xx.
    pub refused: u64,
    /// Answered with a failure of the shop's, to the end.
    pub failed: u64,
    /// Never answered, however often they were sent again.
    pub unknown: u64,
    /// Accepted and paid.
    pub paid: u64,
    /// Accepted, and then gone or stuck.
    pub lost: u64,
    /// Orders that nobody asked for.
    pub duplicated: u64,
    /// From when the order was due to the 202.
    pub accept_ms: Percentiles,
    /// From when the order was due to `paid`.
    pub paid_ms: Percentiles,
}

impl Report {
    /// Nothing was lost, duplicated or failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.failed == 0
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Option<f64>| time.map_or("-".into(), |time| format!("{time:.1} ms"));
        writeln!(f, "sent        {}", self.sent)?;
        writeln!(f, "accepted    {}", self.accepted)?;
        writeln!(f, "refused     {}", self.refused)?;
        writeln!(f, "failed      {}", self.failed)?;
        writeln!(f, "unknown     {}", self.unknown)?;
        writeln!(f, "paid        {}", self.paid)?;
        writeln!(f, "lost        {}", self.lost)?;
        writeln!(f, "duplicated  {}", self.duplicated)?;
        for (name, times) in [("accepted in", self.accept_ms), ("paid in", self.paid_ms)] {
            writeln!(f, "{name:<11} p50 {}, p99 {}", ms(times.p50), ms(times.p99))?;
        }
        Ok(())
    }
}
