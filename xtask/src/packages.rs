//! Packages of other languages that tests need: what is pinned beside a program is fetched once into the target
//! folder, and again when the pins have changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::process;
use crate::workspace::Workspace;

/// Where a program of Node's has its `package-lock.json`, and perhaps Python ones a `requirements.txt`; and the folder
/// under `target` that gets what they ask for.
const PROGRAMS: &[(&str, &str)] = &[
    ("shop/e2e/interop", "interop"),
    ("examples/nestjs-loyalty", "nestjs-loyalty"),
];

/// Written last: the pins of what is there.
const INSTALLED: &str = "installed";
const LOCK: &str = "package-lock.json";
const REQUIREMENTS: &str = "requirements.txt";

/// Fetches what is missing.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    for (source, name) in PROGRAMS {
        let (source, target) = (workspace.root.join(source), workspace.target.join(name));
        if source.exists() && !is_current(&source, &target)? {
            fetch(&source, &target).with_context(|| format!("packages for {name}"))?;
        }
        println!("packages of {name}: {}", target.display());
    }
    Ok(())
}

/// What is pinned, all files one after the other.
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

fn fetch(source: &Path, target: &Path) -> anyhow::Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::create_dir_all(target)?;
    for file in ["package.json", LOCK] {
        fs::copy(source.join(file), target.join(file))?;
    }
    let quietly = ["--no-audit", "--no-fund", "--ignore-scripts"];
    process::run(
        Command::new("npm")
            .arg("ci")
            .args(quietly)
            .current_dir(target),
    )?;
    let requirements = source.join(REQUIREMENTS);
    if requirements.exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.arg("--target").arg(target.join("python"));
        process::run(pip.arg("--require-hashes").arg("-r").arg(requirements))?;
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
    fn what_is_pinned_names_no_registry() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (source, _) in PROGRAMS {
            let pins = String::from_utf8(pins(&workspace.join(source)).unwrap()).unwrap();
            assert!(!pins.contains("\"resolved\""), "{source}");
            assert!(pins.contains("\"integrity\""), "{source}");
        }
    }
}
