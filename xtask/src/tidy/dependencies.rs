//! Dependencies that nothing uses cost every user build time.
//!
//! A dependency is used if code of its package has a path that begins with its name. Code that only
//! tests compile does not justify an ordinary dependency.

use std::collections::BTreeSet;

use proc_macro2::{Group, TokenStream, TokenTree};

use super::Finding;
use super::code::{Part, is_doc, is_mark, is_word, parts};
use super::tree::{SourceFile, Tree};
use crate::workspace::{Dependency, Package};

/// Refuses unused dependencies of packages, and of the workspace's table.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let packages = tree.packages.iter();
    let unused = packages.flat_map(|package| unused_in(tree, package));
    unused.chain(unused_in_workspace(tree)).collect()
}

fn unused_in(tree: &Tree, package: &Package) -> Vec<Finding> {
    if package.dependencies.is_empty() {
        return Vec::new();
    }
    let used = Used::of(tree, package);
    let place = format!("{}/Cargo.toml", package.folder);
    let dependencies = package.dependencies.iter();
    let refused = dependencies.filter_map(|it| used.problem(package, it));
    refused.map(|it| Finding::new(&place, it)).collect()
}

/// Entries of `[workspace.dependencies]` that no package takes.
fn unused_in_workspace(tree: &Tree) -> Vec<Finding> {
    let manifest = tree.file("Cargo.toml");
    let manifest = manifest.and_then(|file| file.text.parse::<toml::Table>().ok());
    let table = manifest.as_ref().and_then(|it| {
        let table = it.get("workspace")?.get("dependencies")?;
        table.as_table()
    });
    let taken: BTreeSet<&str> = tree
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|it| it.rename.as_deref().unwrap_or(&it.name))
        .collect();
    let names = table.into_iter().flat_map(toml::Table::keys);
    let unused = names.filter(|name| !taken.contains(name.as_str()));
    unused
        .map(|name| Finding::new("Cargo.toml", format!("no package depends on `{name}`")))
        .collect()
}

/// The names with which paths begin in the code of a package.
#[derive(Default)]
struct Used {
    shipped: BTreeSet<String>,
    /// In tests, examples and documentation.
    dev: BTreeSet<String>,
    build: BTreeSet<String>,
}

impl Used {
    fn of(tree: &Tree, package: &Package) -> Self {
        let mut used = Self::default();
        for file in tree
            .files
            .iter()
            .filter(|file| belongs(tree, package, file))
        {
            let inside = file.path[package.folder.len()..].trim_start_matches('/');
            let names = names(file);
            let (of_tests, others): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| name.is_in_test);
            used.dev.extend(of_tests.into_iter().map(|it| it.name));
            let others = others.into_iter().map(|it| it.name);
            match inside.split('/').next() {
                Some("src") => used.shipped.extend(others),
                Some("build.rs") => used.build.extend(others),
                _ => used.dev.extend(others),
            }
        }
        used
    }

    fn problem(&self, package: &Package, dependency: &Dependency) -> Option<String> {
        let name = dependency.crate_name();
        let (shipped, dev) = (self.shipped.contains(&name), self.dev.contains(&name));
        let shown = &dependency.name;
        match dependency.kind.as_deref() {
            Some("build") if self.build.contains(&name) => None,
            // A second entry that switches on features for tests.
            Some("dev") if has_ordinary(package, dependency) && !dependency.features.is_empty() => {
                None
            }
            Some("dev") if dev => None,
            None if shipped => None,
            None if dev => Some(format!(
                "only tests and examples use `{shown}`: move it to `[dev-dependencies]`"
            )),
            _ => Some(format!("nothing uses the dependency `{shown}`")),
        }
    }
}

fn has_ordinary(package: &Package, dependency: &Dependency) -> bool {
    let mut others = package.dependencies.iter();
    others.any(|other| other.name == dependency.name && other.kind.is_none())
}

/// Returns whether a Rust file is in the package's folder and not in that of a package below it.
fn belongs(tree: &Tree, package: &Package, file: &SourceFile) -> bool {
    let is_in = |package: &Package| {
        let rest = file.path.strip_prefix(package.folder.as_str());
        rest.is_some_and(|rest| package.folder.is_empty() || rest.starts_with('/'))
    };
    let is_deeper = |other: &&Package| other.folder.len() > package.folder.len() && is_in(other);
    file.path.ends_with(".rs") && is_in(package) && !tree.packages.iter().any(|it| is_deeper(&it))
}

/// The first name of a path.
struct Name {
    name: String,
    is_in_test: bool,
}

fn names(file: &SourceFile) -> Vec<Name> {
    let mut names = Vec::new();
    collect(file.tokens().unwrap_or_default(), &mut |name, line| {
        let is_in_test = line.is_none_or(|line| file.is_test_line(line));
        names.push(Name { name, is_in_test });
    });
    names
}

/// Visits the first name of every path with its line; documentation has no line.
fn collect(tokens: TokenStream, visit: &mut dyn FnMut(String, Option<usize>)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for part in parts(&tokens) {
        match part {
            Part::Attribute(list) if is_doc(list) => in_text(list, None, visit),
            Part::Attribute(list) => {
                in_text(list, Some(list.span().start().line), visit);
                collect(list.stream(), visit);
            }
            Part::Token(_, TokenTree::Group(group)) => collect(group.stream(), visit),
            Part::Token(at, TokenTree::Ident(ident)) if begins_path(&tokens, at) => {
                visit(ident.to_string(), Some(ident.span().start().line));
            }
            Part::Token(..) => {}
        }
    }
}

/// Visits names before `::` in the text of an attribute, such as `#[serde(with = "hex::serde")]`.
fn in_text(list: &Group, line: Option<usize>, visit: &mut dyn FnMut(String, Option<usize>)) {
    let text = list.stream().to_string();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("::") {
        let before = text[..at].trim_end_matches(is_part);
        visit(text[before.len()..at].to_owned(), line);
    }
}

fn begins_path(tokens: &[TokenTree], at: usize) -> bool {
    let is_joint = |at: usize| is_mark(tokens.get(at), ':') && is_mark(tokens.get(at + 1), ':');
    let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at));
    // `::name` names a crate; `other::name` does not.
    let joined = at >= 2 && is_joint(at - 2);
    let continues = joined && matches!(before(3), Some(TokenTree::Ident(word)) if word != "use");
    let imported = is_word(before(1), "use") || is_word(before(1), "crate");
    !continues && (is_joint(at + 1) || imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, kind: Option<&str>) -> Dependency {
        Dependency {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            ..Dependency::default()
        }
    }

    /// The findings for a package `demo` with a dependency and one file.
    fn findings(dependency: Dependency, path: &str, code: &str) -> Vec<String> {
        let package = Package {
            name: "demo".into(),
            folder: "demo".into(),
            dependencies: vec![dependency],
            ..Package::default()
        };
        let tree = Tree {
            packages: vec![package],
            files: vec![SourceFile::new(path, code)],
            ..Tree::default()
        };
        check(&tree).into_iter().map(|it| it.problem).collect()
    }

    const USES: [&str; 7] = [
        "use serde_json::Value;",
        "use serde_json as json;",
        "fn f() { serde_json::to_string(&1); }",
        "fn f() { println!(\"{}\", serde_json::Value::Null); }",
        "struct S { #[serde(with = \"serde_json::value\")] a: u8 }",
        "type T = ::serde_json::Value;",
        "use {serde_json::Value, std::fmt};",
    ];

    #[test]
    fn a_dependency_that_some_path_begins_with_is_used() {
        for code in USES {
            let found = findings(dependency("serde-json", None), "demo/src/lib.rs", code);
            assert_eq!(found, Vec::<String>::new(), "{code}");
        }
    }

    #[test]
    fn a_dependency_that_nothing_names_is_refused() {
        for code in [
            "fn f() {}",
            "use crate::serde_json::Value;",
            "// serde_json::Value\nfn serde_json() {}",
            "const A: &str = \"serde_json::Value\";",
        ] {
            let found = findings(dependency("serde-json", None), "demo/src/lib.rs", code);
            assert_eq!(
                found,
                ["nothing uses the dependency `serde-json`"],
                "{code}"
            );
        }
    }

    #[test]
    fn a_dependency_that_only_tests_use_belongs_to_the_tests() {
        let cases = [
            ("demo/tests/it/main.rs", "use serde_json::Value;"),
            (
                "demo/src/lib.rs",
                "#[cfg(test)]\nmod tests {\n use serde_json::Value;\n}",
            ),
            ("demo/src/lib.rs", "/// serde_json::Value\nfn f() {}"),
        ];
        for (path, code) in cases {
            let found = findings(dependency("serde_json", None), path, code);
            assert!(found[0].contains("[dev-dependencies]"), "{code}: {found:?}");
            let found = findings(dependency("serde_json", Some("dev")), path, code);
            assert_eq!(found, Vec::<String>::new(), "{code}");
        }
    }

    #[test]
    fn a_renamed_dependency_is_known_by_its_new_name() {
        let renamed = Dependency {
            rename: Some("json".into()),
            ..dependency("serde_json", None)
        };
        let code = "use json::Value;";
        assert_eq!(
            findings(renamed, "demo/src/lib.rs", code),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_entry_of_the_workspace_that_no_package_takes_is_refused() {
        let manifest = "[workspace.dependencies]\nserde = \"1\"\nunused = \"1\"";
        let package = Package {
            folder: "demo".into(),
            dependencies: vec![dependency("serde", None)],
            ..Package::default()
        };
        let tree = Tree {
            packages: vec![package],
            files: vec![
                SourceFile::new("Cargo.toml", manifest),
                SourceFile::new("demo/src/lib.rs", "use serde::Serialize;"),
            ],
            ..Tree::default()
        };
        let found: Vec<_> = check(&tree).into_iter().map(|it| it.problem).collect();
        assert_eq!(found, ["no package depends on `unused`"]);
    }
}
