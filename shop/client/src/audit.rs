//! `shop audit`: checks the invariants of a running shop.

use std::env::VarError;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::answers::Report;
use crate::{Error, Shop, output};

/// The pause between two audits while waiting.
const POLL: Duration = Duration::from_secs(2);

/// Checks the invariants of a running shop. Exit code 0: all hold; 1: one is broken; 2: the audit
/// failed.
#[derive(Args, Clone, Debug)]
pub struct AuditArgs {
    /// The URL of the shop: `http://…` or `https://…`. WINGBEAT_TLS_CA names an authority to trust
    /// instead of those of the system.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The time that a broken invariant has to recover, such as 60s.
    #[arg(long, default_value = "0s", value_parser = crate::traffic::time)]
    pub wait: Duration,
    /// The data directory with the admin's password. Not needed if SHOP_ADMIN_PASSWORD is set.
    #[arg(long, default_value = "./data", env = "WINGBEAT_DATA")]
    pub data: PathBuf,
    /// Prints the report as one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Runs `shop audit`.
pub async fn run(args: AuditArgs) -> ExitCode {
    match audit(&args).await {
        Ok((report, text)) => {
            let text = if args.json { text } else { shown(&report) };
            output::result("audit", &text, report.ok)
        }
        Err(why) => output::failed("audit", why),
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
        tokio::time::sleep(POLL.min(until - Instant::now())).await;
    }
}

/// Returns the admin's password: `SHOP_ADMIN_PASSWORD`, or the file in the data directory.
///
/// # Errors
///
/// A message if the variable is not set and the file cannot be read.
pub fn admin_password(data: &Path) -> Result<String, String> {
    match std::env::var("SHOP_ADMIN_PASSWORD") {
        Ok(password) => return Ok(password),
        Err(VarError::NotPresent) => {}
        Err(VarError::NotUnicode(_)) => return Err("SHOP_ADMIN_PASSWORD is not UTF-8".into()),
    }
    let file = data.join("admin-password");
    let text = std::fs::read_to_string(&file).map_err(|why| {
        format!(
            "cannot read the admin's password from {}: {why}; set SHOP_ADMIN_PASSWORD or --data",
            file.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

fn shown(report: &Report) -> String {
    let mut lines = String::new();
    for invariant in &report.invariants {
        let verdict = if invariant.ok { "holds " } else { "BROKEN" };
        let _ = writeln!(
            lines,
            "{verdict} {:>2}  {} ({} checked)",
            invariant.id, invariant.name, invariant.checked
        );
        for violation in &invariant.violations {
            let _ = writeln!(
                lines,
                "           {}: {}",
                text(&violation["subject"]),
                text(&violation["detail"])
            );
        }
    }
    lines.truncate(lines.trim_end().len());
    lines
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}
