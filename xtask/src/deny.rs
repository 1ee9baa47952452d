//! Licences, bans and sources of all dependencies, and known vulnerabilities where they can be asked.
//!
//! The rules are in `deny.toml`; cargo-deny applies them. A machine without it gets a pinned version
//! in the target folder, which takes two or three minutes once.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::steps::Outcome;
use crate::workspace::Workspace;
use crate::{install, process};

/// The version that is installed where none is on the PATH.
const VERSION: &str = "0.20.2";

/// Where the known vulnerabilities are published; cargo-deny's default.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// How long we wait to hear whether the advisories can be had.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(15);

/// Refuses what `deny.toml` refuses. Advisories that cannot be fetched are a warning in the summary.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let deny = find_or_install(workspace)?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        process::run(command.arg("check").args(what).current_dir(&workspace.root))
    };
    check(&["licenses", "bans", "sources"])?;
    if advisories_are_reachable() {
        check(&["advisories"])?;
        return Ok(Outcome::default());
    }
    let warning = "WARNING: advisories not checked: database unreachable";
    println!("{warning}");
    Ok(Outcome {
        remarks: vec![warning.to_owned()],
        ..Outcome::default()
    })
}

fn find_or_install(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    if let Some(found) = install::find("cargo-deny") {
        return Ok(found);
    }
    let root = workspace
        .target
        .join("tools")
        .join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin").join("cargo-deny");
    if !program.exists() {
        let mut command = process::cargo(&["install", "cargo-deny", "--locked"]);
        process::run(command.args(["--version", VERSION, "--root"]).arg(&root))?;
    }
    Ok(program)
}

fn advisories_are_reachable() -> bool {
    let mut ask = Command::new("git");
    ask.args(["ls-remote", ADVISORIES, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    process::succeeds_within(ADVISORIES_LIMIT, &mut ask)
}
