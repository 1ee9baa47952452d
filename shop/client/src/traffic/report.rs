//! The report of the traffic.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The percentiles of latencies in milliseconds; `None` if there are no latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

impl Percentiles {
    /// Returns the percentiles of a histogram of microseconds.
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

/// The outcome of all orders.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The orders that were sent.
    pub sent: u64,
    /// The orders that the shop accepted with 202.
    pub accepted: u64,
    /// The orders that the shop refused with 4xx.
    pub refused: u64,
    /// The orders whose last attempt failed with 5xx.
    pub failed: u64,
    /// The orders without a reply to any attempt.
    pub unknown: u64,
    /// The accepted orders that were paid.
    pub paid: u64,
    /// The accepted orders that disappeared or never ended.
    pub lost: u64,
    /// The orders that no request accounts for.
    pub duplicated: u64,
    /// The latency from the time at which an order was due to the 202.
    pub accept_ms: Percentiles,
    /// The latency from the time at which an order was due to `paid`.
    pub paid_ms: Percentiles,
}

impl Report {
    /// Returns whether no order was lost, duplicated or failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.failed == 0
    }

    /// Encodes the report as one line of JSON.
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
