//! A module with children is `folder/mod.rs`, everywhere.

use super::Finding;
use super::tree::Tree;

/// Refuses a module `folder.rs` beside its folder: both forms together send a reader to two places.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.rust_files().map(|file| file.path.as_str());
    let beside = files.filter_map(|path| {
        let folder = path.strip_suffix(".rs")?;
        let inside = |other: &str| {
            let below = other.strip_prefix(folder);
            below.is_some_and(|below| below.starts_with('/'))
        };
        tree.rust_files()
            .any(|other| inside(&other.path))
            .then_some((path, folder))
    });
    beside
        .map(|(path, folder)| Finding::new(path, format!("move it to {folder}/mod.rs")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::SourceFile;
    use super::*;

    fn places(paths: &[&str]) -> Vec<String> {
        let files = paths
            .iter()
            .map(|path| SourceFile::new(*path, ""))
            .collect();
        let findings = check(&Tree {
            files,
            ..Tree::default()
        });
        findings.into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn a_module_beside_its_folder_is_refused() {
        let found = places(&[
            "src/a.rs",
            "src/a/b.rs",
            "src/ab.rs",
            "src/c/mod.rs",
            "src/c/d.rs",
        ]);
        assert_eq!(found, ["src/a.rs"]);
    }
}
