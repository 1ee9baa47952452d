//! `shop flash-sale`: a flash sale from start to verdict.
//!
//! The admin creates a sale, and a crowd of buyers claims, orders and pays. The sale is right if
//! exactly its units were paid, provided that there were as many buyers.

mod buyer;
mod report;
mod rush;
mod sale;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

pub use report::Report;
pub use rush::Plan;
pub use sale::drive;

use crate::audit::admin_password;
use crate::{Shop, output};

/// Runs a flash sale in a running shop and reports its outcome. Exit code 1 if units were over- or
/// undersold.
#[derive(Args, Clone, Debug)]
pub struct FlashSaleArgs {
    /// The URL of the shop.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The buyers.
    #[arg(long, default_value_t = 1_000, value_parser = count())]
    pub buyers: u32,
    /// The units of the sale.
    #[arg(long, default_value_t = 100, value_parser = count())]
    pub units: u32,
    /// The longest time that the sale takes, such as 2m.
    #[arg(long, default_value = "5m", value_parser = crate::traffic::time)]
    pub within: Duration,
    /// The data directory with the admin's password. Not needed if SHOP_ADMIN_PASSWORD is set.
    #[arg(long, default_value = "./data", env = "WINGBEAT_DATA")]
    pub data: PathBuf,
    /// Prints the report as one JSON object, last on stdout.
    #[arg(long)]
    pub json: bool,
}

/// The parser of a number of buyers or units.
fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=100_000)
}

/// Runs `shop flash-sale`.
pub async fn run(args: FlashSaleArgs) -> ExitCode {
    match sell(&args).await {
        Ok(report) => {
            let text = if args.json {
                report.json()
            } else {
                report.to_string()
            };
            output::result("flash-sale", &text, report.is_clean())
        }
        Err(why) => output::failed("flash-sale", why),
    }
}

async fn sell(args: &FlashSaleArgs) -> Result<Report, Box<dyn std::error::Error>> {
    let password = admin_password(&args.data)?;
    let shop = Shop::at(&args.url)?;
    let admin = shop.admin(&password).await?;
    let plan = Plan {
        buyers: args.buyers,
        units: args.units,
        within: args.within,
    };
    let bar = bar(args.units);
    let report = drive(&shop, &admin, &plan, &bar).await;
    bar.finish_and_clear();
    Ok(report?)
}

/// Creates the progress bar, which is drawn on stderr if that is a terminal.
fn bar(units: u32) -> ProgressBar {
    let style = "{elapsed_precise} {wide_bar} {pos}/{len} paid, {msg}";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(units.into())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
