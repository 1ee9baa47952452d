//! Finds the programs that tests need, and installs on Debian those that are missing.
//!
//! A program that is missing and cannot be installed is a failure: a test that is skipped in silence
//! guards nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure};

use crate::process;
use crate::steps::Outcome;
use crate::workspace::Workspace;

/// A program that tests start, and the Debian package that has it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "chromium",
        package: "chromium",
    },
    Tool {
        program: "chromedriver",
        package: "chromium-driver",
    },
];

/// Where servers live that are not on every user's PATH.
const SYSTEM_FOLDERS: &[&str] = &["/usr/sbin", "/sbin"];

/// Leaves every tool on the machine, or fails with the name of the one that is not.
pub(crate) fn run(_: &Workspace) -> anyhow::Result<Outcome> {
    let missing: Vec<&Tool> = TOOLS
        .iter()
        .filter(|tool| find(tool.program).is_none())
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    for tool in TOOLS {
        match find(tool.program) {
            Some(path) => println!("{}: {}", tool.program, path.display()),
            None => bail!(
                "`{}` is still missing after installing {}",
                tool.program,
                tool.package
            ),
        }
    }
    Ok(Outcome::default())
}

/// The program of that name, if the machine has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

fn install(missing: &[&Tool]) -> anyhow::Result<()> {
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let programs = programs.join(", ");
    println!("missing: {programs}");
    let by_hand = format!("missing: {programs}; install by hand and have it on the PATH");
    ensure!(find("apt-get").is_some(), "{by_hand}: this is not Debian");
    let Some(prefix) = become_root() else {
        bail!("{by_hand}: installing needs root, or sudo without a password");
    };
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    process::run(&mut apt(prefix, &["update"]))?;
    process::run(apt(prefix, &["install", "-y", "--no-install-recommends"]).args(packages))
}

/// What to put before a command so that it runs as root, or nothing if there is no way.
fn become_root() -> Option<&'static [&'static str]> {
    let sudo: &[&str] = &["sudo", "-n"];
    let is_root = || {
        Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|id| id.stdout == b"0\n")
    };
    let may_sudo = || {
        Command::new("sudo")
            .args(["-n", "true"])
            .status()
            .is_ok_and(|it| it.success())
    };
    if is_root() {
        Some(&[])
    } else {
        may_sudo().then_some(sudo)
    }
}

/// `apt-get` that asks nothing, tries again when the network stumbles, and waits for its turn.
fn apt(prefix: &[&str], args: &[&str]) -> Command {
    let patience = ["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"];
    let mut words = prefix
        .iter()
        .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    let mut command = Command::new(words.next().expect("apt-get at least"));
    command.args(words).args(patience).args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found_and_an_unheard_of_one_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-program-has-this-name").is_none());
    }

    #[test]
    fn a_file_that_cannot_be_run_is_not_a_program() {
        assert!(!is_executable(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
        ));
    }

    #[test]
    fn installing_runs_through_sudo_when_we_are_not_root() {
        let command = apt(&["sudo", "-n"], &["update"]);
        assert_eq!(command.get_program(), "sudo");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args[..3], ["-n", "env", "DEBIAN_FRONTEND=noninteractive"]);
        assert_eq!(args.last().unwrap(), &"update");
    }
}
