//! Every package inherits the lints of the workspace.

use super::Finding;
use super::tree::Tree;
use crate::workspace::Package;

/// Refuses a manifest without `[lints] workspace = true`.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages
        .iter()
        .filter_map(|package| refused(tree, package))
        .collect()
}

fn refused(tree: &Tree, package: &Package) -> Option<Finding> {
    let path = format!("{}/Cargo.toml", package.folder);
    let manifest = tree
        .file(&path)
        .and_then(|file| file.text.parse::<toml::Table>().ok());
    let inherits = manifest
        .as_ref()
        .and_then(|manifest| manifest.get("lints")?.get("workspace")?.as_bool());
    let problem = "needs `[lints]` with `workspace = true`";
    (inherits != Some(true)).then(|| Finding::new(path, problem))
}

#[cfg(test)]
mod tests {
    use super::super::tree::SourceFile;
    use super::*;

    fn findings(manifest: &str) -> usize {
        let folder = "crates/wingbeat".to_owned();
        let packages = vec![Package {
            folder,
            ..Package::default()
        }];
        let files = vec![SourceFile::new("crates/wingbeat/Cargo.toml", manifest)];
        check(&Tree {
            packages,
            files,
            ..Tree::default()
        })
        .len()
    }

    #[test]
    fn a_package_without_the_workspace_lints_is_refused() {
        assert_eq!(findings("[package]\nname = \"wingbeat\""), 1);
        assert_eq!(findings("[lints]\nworkspace = false"), 1);
        assert_eq!(findings("[lints.rust]\nunsafe_code = \"allow\""), 1);
    }

    #[test]
    fn a_package_with_the_workspace_lints_passes() {
        assert_eq!(findings("[lints]\nworkspace = true"), 0);
        assert_eq!(findings("lints.workspace = true"), 0);
    }
}
