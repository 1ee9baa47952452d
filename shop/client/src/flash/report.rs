//! The report of a flash sale.

use std::fmt;

use serde::Serialize;

use crate::traffic::Percentiles;

/// The outcome of a flash sale.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The buyers.
    pub buyers: u32,
    /// The units of the sale.
    pub units: u32,
    /// The claims that were accepted with 202.
    pub claimed: u32,
    /// The claims that were confirmed.
    pub confirmed: u32,
    /// The orders that were paid.
    pub paid: u32,
    /// The buyers who got no unit.
    pub refused: u32,
    /// The units that were paid, but are not part of the sale.
    pub oversold: u32,
    /// The units that were not paid although there were buyers for them.
    pub undersold: u32,
    /// The duration.
    pub seconds: f64,
    /// The latency of claims.
    pub claim_ms: Percentiles,
}

impl Report {
    /// Returns whether exactly the units were sold.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.oversold + self.undersold == 0
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
        let Percentiles { p50, p99 } = self.claim_ms;
        writeln!(f, "buyers      {}", self.buyers)?;
        writeln!(f, "units       {}", self.units)?;
        writeln!(f, "claimed     {}", self.claimed)?;
        writeln!(f, "confirmed   {}", self.confirmed)?;
        writeln!(f, "paid        {}", self.paid)?;
        writeln!(f, "refused     {}", self.refused)?;
        writeln!(f, "oversold    {}", self.oversold)?;
        writeln!(f, "undersold   {}", self.undersold)?;
        writeln!(f, "took        {:.1} s", self.seconds)?;
        write!(f, "claimed in  p50 {}, p99 {}", ms(p50), ms(p99))
    }
}
