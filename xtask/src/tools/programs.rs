//! Finds the programs that tests need, and installs missing ones on Debian.
//!
//! A program that is missing and cannot be installed is a failure: a test that is skipped silently
//! protects nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure};

use crate::process::Console;

/// A program that tests start, and the Debian package that contains it.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// A command that replaces the program if it succeeds.
    instead: &'static [&'static str],
}

impl Tool {
    const fn new(program: &'static str, package: &'static str) -> Self {
        Self {
            program,
            package,
            instead: &[],
        }
    }

    /// The path of the program, or the command that replaces it.
    fn found(&self) -> Option<String> {
        let path = find(self.program).map(|path| path.display().to_string());
        path.or_else(|| {
            let (program, args) = self.instead.split_first()?;
            let output = Command::new(program).args(args).output().ok()?;
            output.status.success().then(|| self.instead.join(" "))
        })
    }
}

const TOOLS: &[Tool] = &[
    Tool::new("curl", "curl"),
    Tool::new("chromium", "chromium"),
    Tool::new("chromedriver", "chromium-driver"),
    Tool::new("rabbitmq-server", "rabbitmq-server"),
    Tool::new("redis-server", "redis-server"),
    Tool::new("initdb", "postgresql"),
    Tool::new("psql", "postgresql-client"),
    Tool::new("pgbouncer", "pgbouncer"),
    Tool::new("bwrap", "bubblewrap"),
    Tool::new("prometheus", "prometheus"),
    Tool {
        instead: &["docker", "compose", "version"],
        ..Tool::new("docker-compose", "docker-compose")
    },
    Tool::new("node", "nodejs"),
    Tool::new("npm", "npm"),
    Tool::new("python3", "python3"),
    Tool::new("pip3", "python3-pip"),
];

/// Folders of servers that are not on every user's `PATH`.
const SYSTEM_FOLDERS: &[&str] = &["/usr/sbin", "/sbin"];

/// Debian's folder of PostgreSQL servers, with one folder a version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Installs missing programs.
///
/// # Errors
///
/// Fails with the name of a program that is missing and cannot be installed.
pub(crate) fn install(console: &Console) -> anyhow::Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| tool.found().is_none()).collect();
    if !missing.is_empty() {
        install_missing(console, &missing)?;
    }
    for tool in TOOLS {
        match tool.found() {
            Some(found) => console.say(format!("{}: {found}", tool.program)),
            None => bail!(
                "`{}` is still missing after installing {}",
                tool.program,
                tool.package
            ),
        }
    }
    Ok(())
}

/// Returns the path of a program, if the machine has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .chain(postgresql())
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

/// The folders of the installed PostgreSQL versions.
fn postgresql() -> Vec<PathBuf> {
    let versions = std::fs::read_dir(POSTGRESQL)
        .into_iter()
        .flatten()
        .flatten();
    versions.map(|version| version.path().join("bin")).collect()
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

fn install_missing(console: &Console, missing: &[&Tool]) -> anyhow::Result<()> {
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let programs = programs.join(", ");
    console.say(format!("missing: {programs}"));
    let by_hand = format!("install {programs} by hand and put it on the PATH");
    ensure!(find("apt-get").is_some(), "{by_hand}: this is not Debian");
    let Some(prefix) = become_root() else {
        bail!("{by_hand}: apt-get needs root, or sudo without a password");
    };
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    console.run(&apt(prefix, &["update"]))?;
    console.run(apt(prefix, &["install", "-y", "--no-install-recommends"]).args(packages))
}

/// Returns the prefix with which a command runs as root, or nothing if this user may not.
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

/// Returns `apt-get` without questions. It retries downloads and waits for its lock.
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
    fn a_program_on_the_path_is_found_and_an_unknown_one_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-program-has-this-name").is_none());
    }

    #[test]
    fn a_program_may_be_replaced_by_a_command_that_succeeds() {
        let tool = |instead| Tool {
            instead,
            ..Tool::new("no-program-has-this-name", "none")
        };
        assert_eq!(
            tool(&["sh", "-c", "true"]).found().as_deref(),
            Some("sh -c true")
        );
        assert_eq!(tool(&["sh", "-c", "false"]).found(), None);
        assert_eq!(tool(&[]).found(), None);
    }

    #[test]
    fn a_file_that_is_not_executable_is_no_program() {
        assert!(!is_executable(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
        ));
    }

    #[test]
    fn apt_runs_through_sudo_for_other_users_than_root() {
        let command = apt(&["sudo", "-n"], &["update"]);
        assert_eq!(command.get_program(), "sudo");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args[..3], ["-n", "env", "DEBIAN_FRONTEND=noninteractive"]);
        assert_eq!(args.last().unwrap(), &"update");
    }
}
