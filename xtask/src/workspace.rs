//! The workspace as `cargo metadata` describes it.
//!
//! serde reads it instead of the `cargo_metadata` crate, which switches on a feature of serde_json:
//! everything above serde_json would be compiled twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::process;

/// The members of the workspace and their folders.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// The features, each with those that it switches on, in the manifest's notation.
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) targets: Vec<Target>,
    /// The folder of the package, relative to the root, with `/` as separator.
    #[serde(skip)]
    pub(crate) folder: String,
}

/// One line of a dependency table in a manifest.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The name in the manifest, if it differs from the package's.
    pub(crate) rename: Option<String>,
    /// `dev`, `build`, or nothing for an ordinary dependency.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
    pub(crate) features: Vec<String>,
}

/// A crate that a package builds.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    /// The root file, relative to the workspace, with `/` as separator.
    #[serde(rename = "src_path")]
    pub(crate) source: String,
}

impl Workspace {
    /// Asks cargo about the workspace around the current directory.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let output = process::cargo(&["metadata", "--format-version=1", "--no-deps"])
            .output()
            .context("cargo does not start")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo metadata: {stderr}");
        let mut workspace: Self = serde_json::from_slice(&output.stdout)?;
        for package in &mut workspace.packages {
            let folder = package.manifest_path.parent();
            let folder = folder.context("a manifest has a folder")?;
            package.folder = relative(&workspace.root, folder)?;
            for target in &mut package.targets {
                target.source = relative(&workspace.root, Path::new(&target.source))?;
            }
        }
        Ok(workspace)
    }

    /// The path of a program in the folder of a profile, built or not.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.target.join(profile).join(file)
    }
}

impl Package {
    /// The names of the executables that the package builds.
    pub(crate) fn binaries(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
    }
}

impl Dependency {
    /// Returns whether only tests and examples get it.
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }

    /// The name under which code knows the crate.
    pub(crate) fn crate_name(&self) -> String {
        let name = self.rename.as_ref().unwrap_or(&self.name);
        name.replace('-', "_")
    }
}

impl Target {
    /// Returns whether users get it: a library or a program, no test, example or build script.
    pub(crate) fn is_shipped(&self) -> bool {
        let own = ["lib", "rlib", "proc-macro", "bin"];
        self.kind.iter().any(|kind| own.contains(&kind.as_str()))
    }
}

/// A path below the root of the workspace, with `/` as separator.
fn relative(root: &Path, path: &Path) -> anyhow::Result<String> {
    let inside = path.strip_prefix(root);
    let inside = inside.with_context(|| format!("{} is outside the workspace", path.display()))?;
    Ok(inside.to_string_lossy().replace('\\', "/"))
}
