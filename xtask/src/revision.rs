//! Builds the shop, and a benchmark, of a revision.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::process::{Console, cargo};
use crate::workspace::Workspace;

/// The shop, which some benchmarks start from their own folder.
pub(crate) const SHOP: &str = "shop";

/// Builds a package and the shop of a revision, in a copy of the repository, and returns the
/// package's program. A commit is built once.
///
/// # Errors
///
/// Fails if the revision is unknown or does not compile.
pub(crate) fn of_commit(
    console: &Console,
    workspace: &Workspace,
    rev: &str,
    package: &str,
) -> anyhow::Result<PathBuf> {
    let commit = commit(&workspace.root, rev)?;
    let folder = workspace.target.join("compare");
    let programs = folder.join("programs").join(&commit);
    let program = programs.join(package);
    if program.exists() {
        return Ok(program);
    }
    let tree = folder.join("tree");
    fs::create_dir_all(&folder)?;
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let mut clone = git(&workspace.root);
    clone.args(["clone", "--quiet", "--shared", "--no-checkout"]);
    console.run(clone.arg(&workspace.root).arg(&tree))?;
    console.run(git(&tree).args(["checkout", "--quiet", &commit]))?;
    // Both revisions share this folder, so only what differs is built again.
    let target = folder.join("target");
    build(console, &tree, &target, package)?;
    keep(&target, &programs, package)
}

/// Builds a package and the shop of the working tree, and returns the package's program.
///
/// # Errors
///
/// Fails if it does not compile.
pub(crate) fn of_working_tree(
    console: &Console,
    workspace: &Workspace,
    package: &str,
) -> anyhow::Result<PathBuf> {
    build(console, &workspace.root, &workspace.target, package)?;
    let programs = workspace.target.join("compare/programs/here");
    keep(&workspace.target, &programs, package)
}

/// Returns the full name of a commit.
fn commit(root: &Path, rev: &str) -> anyhow::Result<String> {
    let mut command = git(root);
    let commit = format!("{rev}^{{commit}}");
    command.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
    let output = command.arg(commit).output().context("git does not run")?;
    ensure!(output.status.success(), "`{rev}` is no revision");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    command
}

fn build(console: &Console, root: &Path, target: &Path, package: &str) -> anyhow::Result<()> {
    let mut command = cargo(&["build", "--release", "--package", package]);
    command
        .args(["--package", SHOP, "--target-dir"])
        .arg(target);
    console.run(command.current_dir(root))
}

/// Copies the programs of a build, so that another build does not replace them.
fn keep(target: &Path, programs: &Path, package: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(programs)?;
    for name in [SHOP, package] {
        let built = target.join("release").join(name);
        // A running program cannot be written to, but its name can be given to another file.
        let copy = programs.join(format!("{name}.new"));
        fs::copy(&built, &copy).with_context(|| built.display().to_string())?;
        fs::rename(&copy, programs.join(name))?;
    }
    Ok(programs.join(package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_found_by_any_of_its_names_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let mut command = git(folder.path());
            command.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
            assert!(command.args(args).status().unwrap().success());
        };
        run(&["init", "--quiet"]);
        run(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let commit_of = |rev: &str| commit(folder.path(), rev);
        let head = commit_of("HEAD").unwrap();
        assert_eq!(head.len(), 40);
        assert_eq!(commit_of(&head[..8]).unwrap(), head);
        for bad in ["nothing", "", "--all"] {
            let error = commit_of(bad).unwrap_err().to_string();
            assert!(error.contains("is no revision"), "{error}");
        }
    }
}
