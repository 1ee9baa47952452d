//! Upgrades a running shop from an earlier revision to the working tree, and back.

use crate::process::{Console, cargo};
use crate::revision::{self, SHOP};
use crate::workspace::Workspace;

/// Builds both shops, and replaces the processes of a fleet under load.
///
/// # Errors
///
/// Fails if the revision is unknown, if a build fails, if a request failed, or if an order was lost
/// or doubled.
pub(crate) fn run(console: &Console, workspace: &Workspace, rev: &str) -> anyhow::Result<()> {
    let from = revision::of_commit(console, workspace, rev, SHOP)?;
    let to = revision::of_working_tree(console, workspace, SHOP)?;
    let mut command = cargo(&["run", "--package", "shop-e2e", "--bin", "upgrade", "--"]);
    command.arg("--from").arg(from).arg("--shop").arg(to);
    console.run(&command)
}
