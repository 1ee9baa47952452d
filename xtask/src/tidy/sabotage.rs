//! Sabotage disables a mechanism, so that a negative control can see its test fail. It needs a
//! feature named `sabotage` and must never reach a user.

use std::fs;

use anyhow::bail;

use super::Finding;
use super::tree::Tree;
use crate::workspace::{Package, Workspace};

/// The text that sabotage code leaves in a binary.
const MARKER: &[u8] = b"WINGBEAT-SABOTAGE";

/// The program that users get.
const BINARY: &str = "shop";

/// Refuses sabotage in default features, in other features, and in dependencies.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages.iter().flat_map(refused).collect()
}

fn refused(package: &Package) -> Vec<Finding> {
    let place = format!("package {}", package.name);
    let mut findings = Vec::new();
    for (feature, enables) in &package.features {
        if !is_sabotage(feature) && enables.iter().any(|it| is_sabotage(it)) {
            findings.push(Finding::new(
                &place,
                format!("feature `{feature}` enables sabotage"),
            ));
        }
    }
    for dependency in &package.dependencies {
        if dependency.features.iter().any(|it| is_sabotage(it)) {
            let problem = format!("the dependency on {} enables sabotage", dependency.name);
            findings.push(Finding::new(&place, problem));
        }
    }
    findings
}

/// Returns whether a feature is `sabotage`, `sabotage-relay`, or one of a dependency such as
/// `wingbeat?/sabotage-relay`.
fn is_sabotage(feature: &str) -> bool {
    let name = feature.rsplit('/').next().unwrap_or(feature);
    name.starts_with("sabotage")
}

/// Returns a finding if the release binary exists and contains sabotage.
pub(super) fn in_binary(workspace: &Workspace) -> anyhow::Result<Option<Finding>> {
    let path = workspace.program("release", BINARY);
    if !path.exists() {
        return Ok(None);
    }
    let place = path
        .strip_prefix(&workspace.root)
        .unwrap_or(&path)
        .display()
        .to_string();
    let found = is_marked(&fs::read(&path)?);
    Ok(found.then(|| Finding::new(place, "contains sabotage: rebuild it without that feature")))
}

/// Fails if the release binary contains sabotage.
pub(crate) fn refuse_in_binary(workspace: &Workspace) -> anyhow::Result<()> {
    match in_binary(workspace)? {
        Some(finding) => bail!("{finding}"),
        None => Ok(()),
    }
}

fn is_marked(binary: &[u8]) -> bool {
    binary.windows(MARKER.len()).any(|window| window == MARKER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn with_feature(name: &str, enables: &str) -> Vec<Finding> {
        let features = [(name.to_owned(), vec![enables.to_owned()])].into();
        let packages = vec![Package {
            features,
            ..Package::default()
        }];
        check(&Tree {
            packages,
            ..Tree::default()
        })
    }

    #[test]
    fn sabotage_by_default_or_by_another_feature_is_refused() {
        assert_eq!(with_feature("default", "sabotage-relay").len(), 1);
        assert_eq!(with_feature("full", "wingbeat/sabotage").len(), 1);
        assert_eq!(with_feature("full", "wingbeat?/sabotage-inbox").len(), 1);
    }

    #[test]
    fn a_sabotage_feature_may_enable_another() {
        assert_eq!(
            with_feature("sabotage-relay", "wingbeat/sabotage-relay"),
            []
        );
        assert_eq!(with_feature("default", "console"), []);
    }

    #[test]
    fn a_dependency_with_sabotage_is_refused() {
        let features = vec!["sabotage-relay".to_owned()];
        let dependencies = vec![Dependency {
            features,
            ..Dependency::default()
        }];
        let packages = vec![Package {
            dependencies,
            ..Package::default()
        }];
        assert_eq!(
            check(&Tree {
                packages,
                ..Tree::default()
            })
            .len(),
            1
        );
    }

    #[test]
    fn a_binary_with_the_marker_is_refused() {
        let target = std::env::temp_dir().join(format!("xtask-sabotage-{}", std::process::id()));
        let workspace = Workspace {
            root: target.clone(),
            target,
            packages: vec![],
        };
        let binary = workspace.program("release", BINARY);
        fs::create_dir_all(binary.parent().unwrap()).unwrap();
        assert!(refuse_in_binary(&workspace).is_ok(), "not built yet");
        fs::write(&binary, b"\x7fELF and nothing else").unwrap();
        assert!(refuse_in_binary(&workspace).is_ok(), "built without");
        fs::write(&binary, [b"\x7fELF ", MARKER, b"\0"].concat()).unwrap();
        assert!(refuse_in_binary(&workspace).is_err(), "built with sabotage");
        fs::remove_dir_all(&workspace.root).unwrap();
    }
}
