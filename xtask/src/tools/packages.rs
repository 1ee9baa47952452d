//! Packages of Node and Python that tests need.
//!
//! Pinned versions are fetched once into the target folder, and again after the pins change.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::process::Console;
use crate::workspace::Workspace;

/// Folders with a `package-lock.json`, and perhaps a `requirements.txt`; each with the folder under
/// `target` that gets its packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("shop/e2e/interop", "interop"),
    ("shop/e2e/chart", "chart"),
    ("examples/nestjs-loyalty", "nestjs-loyalty"),
];

/// The file with the pins of the installed packages, written last.
const INSTALLED: &str = "installed";
const LOCK: &str = "package-lock.json";
const REQUIREMENTS: &str = "requirements.txt";

/// Fetches missing packages.
///
/// # Errors
///
/// Fails if npm or pip fails.
pub(crate) fn install(console: &Console, workspace: &Workspace) -> anyhow::Result<()> {
    for (source, name) in PROGRAMS {
        let (source, target) = (workspace.root.join(source), workspace.target.join(name));
        if source.exists() && !is_current(&source, &target)? {
            fetch(console, &source, &target).with_context(|| format!("packages for {name}"))?;
        }
        console.say(format!("packages of {name}: {}", target.display()));
    }
    Ok(())
}

/// Returns all pins of a folder.
fn pins(source: &Path) -> anyhow::Result<Vec<u8>> {
    let mut pins = fs::read(source.join(LOCK))?;
    if source.join(REQUIREMENTS).exists() {
        pins.extend(fs::read(source.join(REQUIREMENTS))?);
    }
    Ok(pins)
}

fn is_current(source: &Path, target: &Path) -> anyhow::Result<bool> {
    Ok(
        fs::read(target.join(INSTALLED))
            .is_ok_and(|installed| Some(installed) == pins(source).ok()),
    )
}

fn fetch(console: &Console, source: &Path, target: &Path) -> anyhow::Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::create_dir_all(target)?;
    for file in ["package.json", LOCK] {
        fs::copy(source.join(file), target.join(file))?;
    }
    let quietly = ["--no-audit", "--no-fund", "--ignore-scripts"];
    let mut npm = Command::new("npm");
    console.run(npm.arg("ci").args(quietly).current_dir(target))?;
    let requirements = source.join(REQUIREMENTS);
    if requirements.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.arg("--target").arg(target.join("python"));
        console.run(pip.arg("--require-hashes").arg("-r").arg(requirements))?;
    }
    fs::write(target.join(INSTALLED), pins(source)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_current_until_a_pin_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(&target).unwrap();
        fs::write(source.join(LOCK), "{}").unwrap();
        assert!(!is_current(&source, &target).unwrap());
        fs::write(target.join(INSTALLED), pins(&source).unwrap()).unwrap();
        assert!(is_current(&source, &target).unwrap());
        fs::write(source.join(REQUIREMENTS), "pika==1.4.4").unwrap();
        assert!(!is_current(&source, &target).unwrap());
    }

    #[test]
    fn pins_name_no_registry() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (source, _) in PROGRAMS {
            let pins = String::from_utf8(pins(&workspace.join(source)).unwrap()).unwrap();
            assert!(!pins.contains("\"resolved\""), "{source}");
            assert!(pins.contains("\"integrity\""), "{source}");
        }
    }
}
