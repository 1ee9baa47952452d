//! `shop traffic`: simulated shoppers in an open loop.
//!
//! Orders are sent when they are due, regardless of earlier orders. Latencies count from the time
//! at which an order was due.

mod flow;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

pub use flow::{Plan, drive};
pub use report::{Percentiles, Report};

use crate::{Shop, output};

/// Sends the orders of simulated shoppers to a running shop and reports their outcome.
#[derive(Args, Clone, Debug)]
pub struct TrafficArgs {
    /// The URL of the shop: `http://…` or `https://…`. WINGBEAT_TLS_CA names an authority to trust
    /// instead of those of the system.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The orders per second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// The duration, such as 500ms, 30s or 2m.
    #[arg(long = "for", default_value = "30s", value_parser = time)]
    pub duration: Duration,
    /// Prints the report as one JSON object, last on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Parses a duration such as `500ms`, `30s` or `2m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a duration such as 500ms, 30s or 2m".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(time).map_err(|_| wrong())
}

/// Runs `shop traffic`.
pub async fn run(args: TrafficArgs) -> ExitCode {
    let plan = Plan {
        rate: args.rate,
        duration: args.duration,
        ..Plan::default()
    };
    let bar = bar(plan.orders());
    let report = match Shop::at(&args.url) {
        Ok(shop) => drive(&shop, &plan, &bar).await,
        Err(why) => Err(why),
    };
    bar.finish_and_clear();
    match report {
        Ok(report) => {
            let text = if args.json {
                report.json()
            } else {
                report.to_string()
            };
            output::result("traffic", &text, report.is_clean())
        }
        Err(why) => output::failed("traffic", why),
    }
}

/// Creates the progress bar, which is drawn on stderr if that is a terminal.
fn bar(orders: u64) -> ProgressBar {
    let style = "{elapsed_precise} {wide_bar} {pos}/{len} answered, {msg}";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(orders).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
