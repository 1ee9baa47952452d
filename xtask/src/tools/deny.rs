//! Checks the licenses, bans and sources of all dependencies, and known vulnerabilities.
//!
//! cargo-deny applies the rules in `deny.toml`. If it is not installed, a pinned version is built
//! once into the target folder, without optimization because it runs only for seconds.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::programs;
use crate::process::{Console, cargo, succeeds_within};
use crate::workspace::Workspace;

/// The version that is installed if the `PATH` has none.
const VERSION: &str = "0.20.2";

/// The database of known vulnerabilities; cargo-deny's default.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// The time limit for checking whether the database can be reached.
const ADVISORIES_LIMIT: Duration = Duration::from_secs(15);

/// Applies `deny.toml` to the pinned dependencies: `Cargo.lock` must be up to date. Returns a
/// remark if the advisories cannot be fetched.
///
/// # Errors
///
/// Fails if cargo-deny cannot be installed or finds something.
pub(crate) fn run(console: &Console, workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let deny = find_or_install(console, workspace)?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        console.run(
            command
                .args(["--locked", "check"])
                .args(what)
                .current_dir(&workspace.root),
        )
    };
    check(&["licenses", "bans", "sources"])?;
    if advisories_are_reachable() {
        check(&["advisories"])?;
        return Ok(Vec::new());
    }
    let warning = "WARNING: advisories NOT CHECKED: the database cannot be fetched, so no dependency \
                   was compared with known vulnerabilities; run `cargo deny check advisories` with \
                   network access before a release";
    console.say(warning);
    Ok(vec![warning.to_owned()])
}

fn find_or_install(console: &Console, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    if let Some(found) = programs::find("cargo-deny") {
        return Ok(found);
    }
    let tools = workspace.target.join("tools");
    let root = tools.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin").join("cargo-deny");
    if !program.exists() {
        let mut command = cargo(&["install", "cargo-deny", "--locked", "--debug"]);
        command.args(["--version", VERSION, "--root"]).arg(&root);
        // An interrupted installation continues where it stopped.
        let build = tools.join("build");
        command.env("CARGO_TARGET_DIR", &build);
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        console.run(&command)?;
        fs::remove_dir_all(build)?;
    }
    Ok(program)
}

fn advisories_are_reachable() -> bool {
    let mut ask = Command::new("git");
    ask.args(["ls-remote", ADVISORIES, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    succeeds_within(ADVISORIES_LIMIT, &mut ask)
}
