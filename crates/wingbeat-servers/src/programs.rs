//! Finds the programs of servers on this machine.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The folders in which Debian keeps servers, which are not on every user's `PATH`.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin", RABBITMQ];
/// The folder in which Debian keeps the scripts of RabbitMQ.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin";
/// The folder in which Debian keeps PostgreSQL, in one subfolder per version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Returns the path of an executable, or `None` if the machine does not have it.
///
/// The folders of `PATH` come first, then those in which Debian keeps servers. Of several versions
/// of PostgreSQL, the newest is found.
///
/// ```
/// use wingbeat_servers::programs;
///
/// assert!(programs::find("sh").is_some());
/// assert_eq!(programs::find("no-such-program"), None);
/// ```
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    find_on(&search_path(), program)
}

/// Returns the path of a program.
///
/// # Panics
///
/// If the machine does not have it. The message names the Debian package that contains it.
pub(crate) fn require(program: &str, package: &str) -> PathBuf {
    find(program).unwrap_or_else(|| missing(program, package))
}

/// Returns the path of a program of RabbitMQ. Debian's wrapper scripts change the user, so the
/// plain script is preferred to them; a program on the `PATH` comes before both.
///
/// # Panics
///
/// As for [`require`].
pub(crate) fn require_rabbitmq(program: &str) -> PathBuf {
    find_rabbitmq_on(&search_path(), program).unwrap_or_else(|| missing(program, "rabbitmq-server"))
}

fn find_rabbitmq_on(path: &OsStr, program: &str) -> Option<PathBuf> {
    let found = find_on(path, program)?;
    let is_wrapper = SYSTEM.iter().any(|folder| found.starts_with(folder));
    let plain = Path::new(RABBITMQ).join(program);
    if is_wrapper && is_executable(&plain) {
        Some(plain)
    } else {
        Some(found)
    }
}

fn find_on(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .chain(postgresql_folders())
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

fn missing(program: &str, package: &str) -> ! {
    panic!(
        "`{program}` is not installed: run `cargo xtask test install`, or install the Debian package {package}"
    )
}

/// Returns the folders with PostgreSQL's programs, the newest version first.
fn postgresql_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(POSTGRESQL)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable();
    let newest_first = versions.into_iter().rev();
    newest_first.map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_rabbitmq_on_the_path_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("rabbitmqctl");
        let found = || find_rabbitmq_on(folder.path().as_os_str(), "rabbitmqctl");
        std::fs::write(&own, "").unwrap();
        assert_ne!(found(), Some(own.clone()), "it is not executable");
        std::fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(), Some(own));
    }

    #[test]
    fn a_missing_program_is_not_found() {
        assert_eq!(find_on(OsStr::new(""), "no-such-program"), None);
    }
}
