//! Where the servers' programs are.

use std::path::{Path, PathBuf};

/// Where Debian keeps servers that are not on every user's `PATH`.
const SYSTEM: &[&str] = &["/usr/sbin", "/sbin", "/usr/lib/rabbitmq/bin"];
/// Where Debian keeps PostgreSQL, by version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The program of that name.
///
/// # Panics
///
/// If there is none; the text names the Debian package that has it.
pub(crate) fn find(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .chain(versions())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{program}` is missing: `cargo xtask test install` installs it, or install the package {package}"))
}

/// A program of RabbitMQ: the plain script rather than Debian's wrapper, which changes the user.
pub(crate) fn rabbitmq(program: &str) -> PathBuf {
    let plain = Path::new("/usr/lib/rabbitmq/bin").join(program);
    if plain.is_file() {
        plain
    } else {
        find(program, "rabbitmq-server")
    }
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
