//! Where the servers' programs are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where Debian keeps servers that are not on every user's `PATH`.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin", RABBITMQ];
/// Where Debian keeps RabbitMQ's scripts.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin";
/// Where Debian keeps PostgreSQL, by version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The program of that name.
///
/// # Panics
///
/// If there is none; the text names the Debian package that has it.
pub(crate) fn find(program: &str, package: &str) -> PathBuf {
    on(&search_path(), program).unwrap_or_else(|| missing(program, package))
}

/// A program of RabbitMQ: what the `PATH` has; of Debian's package the plain script, since its wrapper changes the user.
///
/// # Panics
///
/// Like [`find`].
pub(crate) fn rabbitmq(program: &str) -> PathBuf {
    rabbitmq_on(&search_path(), program).unwrap_or_else(|| missing(program, "rabbitmq-server"))
}

fn rabbitmq_on(path: &OsStr, program: &str) -> Option<PathBuf> {
    let found = on(path, program)?;
    let is_wrapper = SYSTEM.iter().any(|folder| found.starts_with(folder));
    let plain = Path::new(RABBITMQ).join(program);
    match is_wrapper && plain.is_file() {
        true => Some(plain),
        false => Some(found),
    }
}

fn on(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .chain(versions())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn missing(program: &str, package: &str) -> ! {
    panic!(
        "`{program}` is missing: `cargo xtask test install` installs it, or install the package {package}"
    )
}

/// Folders of PostgreSQL's programs, the newest version first.
fn versions() -> Vec<PathBuf> {
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
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rabbitmq_of_the_path_comes_before_debians() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("rabbitmqctl");
        let found = || rabbitmq_on(folder.path().as_os_str(), "rabbitmqctl");
        assert_ne!(found(), Some(own.clone()), "there is none yet");
        std::fs::write(&own, "").unwrap();
        assert_eq!(found(), Some(own));
    }

    #[test]
    fn what_nobody_has_is_nowhere() {
        assert_eq!(on(OsStr::new(""), "no-such-program"), None);
    }
}
