//! `shop audit`: the invariants of a running shop, as an exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::answers::Report;
use crate::{Error, Shop};

/// The pause between two audits while waiting.
const AGAIN: Duration = Duration::from_secs(2);

/// Checks the invariants of a running shop: exit code 0 when all hold, 1 when one is broken, 2 when it
/// could not be asked.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// Where the shop is.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// How long a broken invariant may take to mend.
    #[arg(long, default_value = "0s", value_parser = crate::traffic::time)]
    pub wait: Duration,
    /// The data directory with the admin's password, unless SHOP_ADMIN_PASSWORD says it.
    #[arg(long, default_value = "./data", env = "WINGBEAT_DATA")]
    pub data: PathBuf,
    /// One JSON object, last on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Runs `shop audit`.
pub async fn run(args: AuditArgs) -> ExitCode {
    match audit(&args).await {
        Ok((report, text)) => {
            if args.json {
                println!("{text}");
            } else {
                show(&report);
            }
            ExitCode::from(u8::from(!report.ok))
        }
        Err(why) => {
            eprintln!("shop audit: {why}");
            ExitCode::from(2)
        }
    }
}

async fn audit(args: &AuditArgs) -> Result<(Report, String), Box<dyn std::error::Error>> {
    let password = admin_password(&args.data)?;
    let until = Instant::now() + args.wait;
    let admin = Shop::at(&args.url)?.admin(&password).await?;
    loop {
        let found: Result<_, Error> = admin.audit().await;
        let (report, text) = found?;
        if report.ok || Instant::now() >= until {
            return Ok((report, text));
        }
        tokio::time::sleep(AGAIN.min(until - Instant::now())).await;
    }
}

/// The admin's password: `SHOP_ADMIN_PASSWORD`, or the file in the data directory.
///
/// # Errors
///
/// There is neither.
pub fn admin_password(data: &Path) -> Result<String, String> {
    if let Ok(password) = std::env::var("SHOP_ADMIN_PASSWORD") {
        return Ok(password);
    }
    let file = data.join("admin-password");
    let text = std::fs::read_to_string(&file).map_err(|why| {
        format!(
            "set SHOP_ADMIN_PASSWORD, or --data: {}: {why}",
            file.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

fn show(report: &Report) {
    for invariant in &report.invariants {
        let verdict = if invariant.ok { "holds " } else { "BROKEN" };
        println!(
            "{verdict} {:>2}  {} ({} checked)",
            invariant.id, invariant.name, invariant.checked
        );
        for violation in &invariant.violations {
            println!(
                "           {}: {}",
                text(&violation["subject"]),
                text(&violation["detail"])
            );
        }
    }
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}
