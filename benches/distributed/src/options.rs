//! The command line's options for all measurements.

use std::time::Duration;

/// Length and number of measurements.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Seconds of load of each measurement
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
    /// Runs of each measurement; the report has their median
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Messages in the backlog of a neighbour
    #[arg(long, default_value_t = 100_000)]
    pub(crate) backlog: usize,
    /// Orders per second of the order path's open loop
    #[arg(long, default_value_t = 200)]
    pub(crate) rate: u32,
    /// Measure NestJS too; needs Node, and `npm ci` once in each folder of benches/peers
    #[arg(long)]
    pub(crate) peers: bool,
}

impl Options {
    /// The time of load of each measurement.
    pub(crate) fn load(self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
