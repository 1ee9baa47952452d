//! Every crate under `crates/` can be published.

use toml::{Table, Value};

use super::Finding;
use super::tree::Tree;
use crate::workspace::Package;

/// Entries of `[package]` that the registry and docs.rs show or need.
const REQUIRED: [&str; 9] = [
    "version",
    "edition",
    "rust-version",
    "license",
    "description",
    "keywords",
    "categories",
    "readme",
    "metadata.docs.rs",
];

/// The files beside the manifest that are part of the package.
const FILES: [&str; 3] = ["README.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// The number of keywords that the registry accepts.
const KEYWORDS_MAX: usize = 5;

/// Refuses crates that lack metadata or files of a published crate, and dependencies between them
/// without a version.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let crates = tree.packages.iter();
    let crates = crates.filter(|package| package.folder.starts_with("crates/"));
    crates.flat_map(|package| of_crate(tree, package)).collect()
}

fn of_crate(tree: &Tree, package: &Package) -> Vec<Finding> {
    let folder = &package.folder;
    let place = format!("{folder}/Cargo.toml");
    let manifest = table(tree, &place);
    let mut problems: Vec<String> = REQUIRED
        .into_iter()
        .filter(|entry| find(&manifest, &format!("package.{entry}")).is_none())
        .map(|entry| format!("`[package]` has no `{entry}`"))
        .collect();
    let keywords = find(&manifest, "package.keywords").and_then(Value::as_array);
    if keywords.is_some_and(|words| words.len() > KEYWORDS_MAX) {
        problems.push(format!("more than {KEYWORDS_MAX} keywords"));
    }
    problems.extend(without_version(tree, &manifest));
    let mut findings: Vec<Finding> = problems
        .into_iter()
        .map(|problem| Finding::new(&place, problem))
        .collect();
    let missing = |file: &&str| tree.file(&format!("{folder}/{file}")).is_none();
    let files = FILES.into_iter().filter(missing);
    findings.extend(files.map(|file| Finding::new(folder, format!("has no {file}"))));
    let readme = format!("{folder}/README.md");
    if tree
        .file(&readme)
        .is_some_and(|it| it.text.contains("](../"))
    {
        let problem = "links to a file outside the package";
        findings.push(Finding::new(readme, problem));
    }
    findings
}

/// The crates of ours that a published crate depends on without a version.
///
/// Dependencies of tests need none: cargo leaves those without a version out of the package.
fn without_version(tree: &Tree, manifest: &Table) -> Vec<String> {
    let workspace = table(tree, "Cargo.toml");
    let has_version = |name: &str, dependency: &Value| {
        let inherited = dependency.get("workspace").is_some();
        let entry = inherited.then(|| find(&workspace, &format!("workspace.dependencies.{name}")));
        let entry = entry.flatten().unwrap_or(dependency);
        entry.get("path").is_none() || entry.get("version").is_some()
    };
    let dependencies = find(manifest, "dependencies").and_then(Value::as_table);
    dependencies
        .into_iter()
        .flatten()
        .filter(|(name, dependency)| !has_version(name, dependency))
        .map(|(name, _)| format!("the dependency `{name}` has a path but no version"))
        .collect()
}

fn table(tree: &Tree, path: &str) -> Table {
    let manifest = tree.file(path).and_then(|file| file.text.parse().ok());
    manifest.unwrap_or_default()
}

/// The value at a dotted path.
fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = table.get(first)?;
    if rest.is_empty() {
        return Some(value);
    }
    find(value.as_table()?, rest)
}

#[cfg(test)]
mod tests {
    use super::super::tree::SourceFile;
    use super::*;

    const COMPLETE: &str = "[package]\nversion.workspace = true\nedition.workspace = true\n\
                            rust-version.workspace = true\nlicense.workspace = true\n\
                            description = \"A demo.\"\nkeywords = [\"demo\"]\n\
                            categories = [\"asynchronous\"]\nreadme = \"README.md\"\n\
                            [package.metadata.docs.rs]\n[dependencies]\nours.workspace = true\n";

    fn findings(manifest: &str, readme: &str, ours: &str) -> Vec<String> {
        let folder = "crates/demo";
        let package = Package {
            folder: folder.into(),
            ..Package::default()
        };
        let workspace = format!("[workspace.dependencies]\nours = {ours}\n");
        let files = vec![
            SourceFile::new("Cargo.toml", workspace),
            SourceFile::new("crates/demo/Cargo.toml", manifest),
            SourceFile::new("crates/demo/README.md", readme),
            SourceFile::new("crates/demo/LICENSE-MIT", ""),
            SourceFile::new("crates/demo/LICENSE-APACHE", ""),
        ];
        let tree = Tree {
            packages: vec![package],
            files,
            ..Tree::default()
        };
        check(&tree).iter().map(ToString::to_string).collect()
    }

    const OURS: &str = "{ version = \"0.1.0\", path = \"crates/ours\" }";

    #[test]
    fn a_crate_with_all_metadata_passes() {
        assert_eq!(findings(COMPLETE, "# demo", OURS), Vec::<String>::new());
    }

    #[test]
    fn missing_metadata_is_refused() {
        let manifest = COMPLETE.replace("description = \"A demo.\"\n", "");
        let found = findings(&manifest, "# demo", OURS);
        assert_eq!(
            found,
            ["crates/demo/Cargo.toml: `[package]` has no `description`"]
        );
        let manifest = COMPLETE.replace("[package.metadata.docs.rs]\n", "");
        let found = findings(&manifest, "# demo", OURS);
        assert!(found[0].contains("metadata.docs.rs"), "{found:?}");
    }

    #[test]
    fn a_dependency_without_a_version_is_refused() {
        let found = findings(COMPLETE, "# demo", "{ path = \"crates/ours\" }");
        assert!(
            found[0].contains("`ours` has a path but no version"),
            "{found:?}"
        );
    }

    #[test]
    fn a_readme_that_links_to_another_package_is_refused() {
        let found = findings(COMPLETE, "See [ours](../ours/README.md).", OURS);
        assert!(found[0].contains("README.md: links to a file"), "{found:?}");
    }
}
