//! Projects outside the workspace, built and tested as a user of the framework does it: the example
//! and what `wingbeat new` writes.
//!
//! Each is in a folder of its own. Its lock file is the workspace's, its profile too, so that
//! third-party crates which the workspace has built are not built again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::step::Context;
use crate::process::cargo;
use crate::runner::{self, Tests};
use crate::workspace::{Package, Target, Workspace};

/// The folder of the example and the name of its package.
const FOLDER: &str = "examples/outside-hotel";
const NAME: &str = "outside-hotel";

/// The name of the project that `wingbeat new` writes, and the program.
const PROJECT: &str = "new-project";
const WINGBEAT: &str = "wingbeat";

/// The lines of code that two services with a saga, a test and a simulation may need.
const LINES_MAX: usize = 150;

/// The example after its tests.
pub(super) struct Outside {
    /// The example as a package whose program is built.
    pub(super) package: Package,
    pub(super) lines: usize,
    pub(super) tests: Tests,
}

/// Copies, builds and tests the example.
///
/// # Errors
///
/// Fails if the example is too long, does not compile without warnings, or a test fails.
pub(super) fn test(context: &Context<'_>) -> anyhow::Result<Outside> {
    let (workspace, console) = (context.workspace, &context.console);
    console.say(format!("--- {FOLDER}, outside the workspace"));
    let lines = lines_of_code(&workspace.root.join(FOLDER).join("src"))?;
    ensure!(
        lines <= LINES_MAX,
        "{FOLDER} has {lines} lines of code, at most {LINES_MAX} are allowed"
    );
    let folder = scaffold(workspace)?;
    let package = package(NAME, FOLDER, folder.join("Cargo.toml"));
    let tests = built(context, &folder, &package)?;
    Ok(Outside {
        package,
        lines,
        tests,
    })
}

/// Writes a project with `wingbeat new`, builds and tests it.
///
/// # Errors
///
/// Fails if the program was not built, the project does not compile without warnings, or its test
/// fails.
pub(super) fn new_project(context: &Context<'_>) -> anyhow::Result<Tests> {
    let (workspace, console) = (context.workspace, &context.console);
    console.say("--- wingbeat new");
    let folder = workspace.target.join("outside").join(PROJECT);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut command = Command::new(workspace.program("debug", WINGBEAT));
    command.args(["new", PROJECT, "--directory"]).arg(&folder);
    command
        .arg("--wingbeat")
        .arg(workspace.root.join("crates/wingbeat"));
    console.run(&command)?;
    adapt(workspace, &folder.join("Cargo.toml"), &folder)?;
    let package = package(PROJECT, PROJECT, folder.join("Cargo.toml"));
    built(context, &folder, &package)
}

/// Builds a package outside the workspace without warnings, and runs its tests.
fn built(context: &Context<'_>, folder: &Path, package: &Package) -> anyhow::Result<Tests> {
    let (workspace, console, name) = (context.workspace, &context.console, &package.name);
    let place = [
        "--manifest-path",
        utf8(&package.manifest_path)?,
        "--target-dir",
        utf8(&workspace.target)?,
        "--all-targets",
        "--offline",
    ];
    let mut warnings = 0;
    let status = console.lines(cargo(&["build"]).args(place), "", |line| {
        let about = line.strip_prefix("warning: `");
        warnings += usize::from(about.is_some_and(|about| about.starts_with(name)));
    })?;
    ensure!(status.success(), "{name} does not compile");
    ensure!(warnings == 0, "{name} has warnings");
    let outside = Workspace {
        root: folder.to_owned(),
        target: workspace.target.clone(),
        packages: vec![package.clone()],
    };
    let (binaries, _) = runner::build(console, &outside, &place)?;
    runner::run(console, &binaries.iter().collect::<Vec<_>>())
}

fn package(name: &str, folder: &str, manifest_path: PathBuf) -> Package {
    Package {
        name: name.into(),
        manifest_path,
        targets: vec![Target {
            name: name.into(),
            kind: vec!["bin".into()],
            ..Target::default()
        }],
        folder: folder.into(),
        ..Package::default()
    }
}

/// Copies the example into an empty folder below the target directory and returns that folder.
fn scaffold(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let (from, to) = (
        workspace.root.join(FOLDER),
        workspace.target.join("outside").join(NAME),
    );
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(to.join("src"))?;
    for entry in fs::read_dir(from.join("src"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("src").join(entry.file_name()))?;
    }
    adapt(workspace, &from.join("Cargo.toml"), &to)?;
    Ok(to)
}

/// Writes a manifest into a folder, adapted to this machine, with the lock file of the workspace.
fn adapt(workspace: &Workspace, theirs: &Path, folder: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let ours = read(&workspace.root.join("Cargo.toml"))?;
    let adapted = manifest(&read(theirs)?, &ours, &workspace.root)?;
    fs::write(folder.join("Cargo.toml"), adapted)?;
    fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// The manifest of the copy: `wingbeat` at its absolute path, and the profile of the workspace.
fn manifest(theirs: &str, ours: &str, root: &Path) -> anyhow::Result<String> {
    let mut manifest: toml::Table = theirs.parse()?;
    for kind in ["dependencies", "dev-dependencies"] {
        let wingbeat = manifest
            .get_mut(kind)
            .and_then(|it| it.get_mut("wingbeat")?.as_table_mut());
        let wingbeat = wingbeat.with_context(|| format!("{FOLDER}: no wingbeat in {kind}"))?;
        let path = utf8(&root.join("crates/wingbeat"))?.to_owned();
        wingbeat.insert("path".into(), path.into());
    }
    let ours: toml::Table = ours.parse()?;
    let profile = ours.get("profile").and_then(|it| it.get("dev"));
    if let Some(dev) = profile {
        let profile = toml::Table::from_iter([("dev".to_owned(), dev.clone())]);
        manifest.insert("profile".into(), profile.into());
    }
    Ok(toml::to_string(&manifest)?)
}

/// Counts the lines with code in a folder's Rust files; blank lines and comments are free.
fn lines_of_code(folder: &Path) -> anyhow::Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        let code = text.lines().map(str::trim_start);
        lines += code
            .filter(|it| !it.is_empty() && !it.starts_with("//"))
            .count();
    }
    Ok(lines)
}

fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "[package]\nname = \"demo\"\n[workspace]\n\
                          [dependencies]\nwingbeat = { path = \"../../crates/wingbeat\" }\n\
                          [dev-dependencies]\nwingbeat = { path = \"../x\", features = [\"test\"] }\n";

    #[test]
    fn the_copy_depends_on_wingbeat_where_it_is_and_has_the_profile_of_the_workspace() {
        let ours = "[profile.dev]\ndebug = 1\n[profile.release]\npanic = \"unwind\"\n";
        let copy = manifest(THEIRS, ours, Path::new("/src")).unwrap();
        let copy: toml::Table = copy.parse().unwrap();
        for kind in ["dependencies", "dev-dependencies"] {
            let path = &copy[kind]["wingbeat"]["path"];
            assert_eq!(path.as_str(), Some("/src/crates/wingbeat"));
        }
        assert_eq!(copy["profile"].to_string(), "{ dev = { debug = 1 } }");
        assert!(copy["workspace"].is_table());
    }

    #[test]
    fn an_example_without_wingbeat_is_refused() {
        let error = manifest("[package]\nname = \"demo\"", "", Path::new("/src"));
        assert!(error.unwrap_err().to_string().contains("no wingbeat"));
    }

    #[test]
    fn blank_lines_and_comments_are_no_lines_of_code() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.rs"),
            "//! A.\n\nfn a() {\n    // b\n}\n",
        )
        .unwrap();
        fs::write(
            folder.path().join("b.rs"),
            "/// B.\nconst B: u8 = 1; // c\n",
        )
        .unwrap();
        assert_eq!(lines_of_code(folder.path()).unwrap(), 3);
    }
}
