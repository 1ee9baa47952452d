//! The modules of each crate, and the rule that their imports form no circle.
//!
//! - [`source`] reads the modules of a crate with everything that they import or mention.
//! - [`resolve`] follows a path to the modules it reaches, through re-exports.
//! - [`graph`] collapses imports to siblings and finds circles.
//! - [`walk`] compares them with the order of the modules in `ARCHITECTURE.md`.
//!
//! An import from `a::x` to `b::y` is an edge from `a` to `b`, the children of the common ancestor.
//! A module and its own descendants may import each other: no edge joins them. Test code is
//! ignored.

mod graph;
mod resolve;
mod source;
mod walk;

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;
use graph::{Circle, Siblings};
use source::Crate;

/// Refuses circles between the modules of a crate, except recorded ones, and a walk of a message
/// that goes back.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let circles = circles(tree);
    let is_new = |circle: &&Circle| !tree.ratchet.allows_circle(&circle.members);
    let mut findings: Vec<Finding> = circles.iter().filter(is_new).map(finding).collect();
    findings.extend(walk::check(tree));
    findings
}

/// The members of every circle, for the ratchet.
pub(super) fn circle_members(tree: &Tree) -> Vec<BTreeSet<String>> {
    circles(tree).into_iter().map(|it| it.members).collect()
}

/// The levels of the top modules of a crate, lowest first, with what each imports.
///
/// Returns `None` if the workspace has no crate of that name.
pub(super) fn picture(tree: &Tree, name: &str) -> Option<String> {
    let krate = source::read(tree).into_iter().find(|it| it.name == name)?;
    let siblings = graph::siblings(&krate);
    Some(siblings.get(&0).map(Siblings::picture).unwrap_or_default())
}

fn circles(tree: &Tree) -> Vec<Circle> {
    let crates = source::read(tree);
    crates.iter().flat_map(circles_of).collect()
}

fn circles_of(krate: &Crate) -> Vec<Circle> {
    let siblings = graph::siblings(krate);
    siblings.values().flat_map(Siblings::circles).collect()
}

fn finding(circle: &Circle) -> Finding {
    let Circle {
        members,
        path,
        places,
    } = circle;
    let first = path.first().cloned().unwrap_or_default();
    let chain = [path.as_slice(), &[first]].concat().join(" -> ");
    let mut problem = format!("modules import each other: {chain} ({})", places.join(", "));
    if members.len() > path.len() {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        problem.push_str(&format!(
            "; {} modules are in this circle: {}",
            members.len(),
            members.join(", ")
        ));
    }
    Finding::new(places.first().cloned().unwrap_or_default(), problem)
}

#[cfg(test)]
mod tests {
    use super::super::tree::SourceFile;
    use super::*;
    use crate::workspace::{Package, Target};

    /// A library `demo` of these files, by their path below `src/`.
    fn tree(files: &[(&str, &str)]) -> Tree {
        let target = Target {
            name: "demo".into(),
            kind: vec!["lib".into()],
            source: "src/lib.rs".into(),
        };
        let file = |(path, text): &(&str, &str)| SourceFile::new(format!("src/{path}"), *text);
        Tree {
            packages: vec![Package {
                name: "demo".into(),
                targets: vec![target],
                ..Package::default()
            }],
            files: files.iter().map(file).collect(),
            ..Tree::default()
        }
    }

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let findings = check(&tree(files));
        findings.into_iter().map(|it| it.problem).collect()
    }

    #[test]
    fn two_modules_that_import_each_other_are_refused_with_both_places() {
        let found = problems(&[
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "pub struct B;\nfn f(_: super::a::A) {}"),
        ]);
        let expected = "modules import each other: demo::a -> demo::b -> demo::a \
                        (src/a.rs:1, src/b.rs:2)";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_longer_circle_names_the_shortest_way_and_all_members() {
        let found = problems(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::{a::A, c::C}; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
        ]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("demo::a -> demo::b -> demo::a"),
            "{found:?}"
        );
        assert!(
            found[0].contains("3 modules are in this circle"),
            "{found:?}"
        );
    }

    #[test]
    fn a_module_and_its_children_may_import_each_other() {
        let found = problems(&[
            ("lib.rs", "mod a;\npub struct Root;\npub use a::inner::B;"),
            ("a/mod.rs", "pub mod inner;\npub struct A;\nuse inner::B;"),
            (
                "a/inner.rs",
                "use super::A;\nuse crate::Root;\npub struct B;",
            ),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn cousins_are_judged_as_the_siblings_above_them() {
        let found = problems(&[
            (
                "lib.rs",
                "mod a { pub mod x; } mod b { pub mod y; pub mod z; }",
            ),
            ("a/x.rs", "use crate::b::y::Y; pub struct X;"),
            ("b/y.rs", "pub struct Y;"),
            ("b/z.rs", "use crate::a::x::X;"),
        ]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("demo::a -> demo::b -> demo::a"),
            "{found:?}"
        );
    }

    #[test]
    fn a_re_export_in_the_root_is_followed_to_the_module_that_defines_the_item() {
        let files = [
            (
                "lib.rs",
                "mod a; mod b; pub use b::B as Renamed; pub use a::*;",
            ),
            ("a.rs", "use crate::Renamed; pub struct A;"),
            ("b.rs", "use crate::A; pub struct B;"),
        ];
        assert_eq!(problems(&files).len(), 1);
    }

    #[test]
    fn a_re_export_in_a_folder_is_followed() {
        let files = [
            ("lib.rs", "mod a; pub mod front;"),
            ("a.rs", "use crate::front::deep::B; pub struct A;"),
            ("front/mod.rs", "mod deep_down; pub use deep_down as deep;"),
            ("front/deep_down.rs", "pub struct B; type T = crate::a::A;"),
        ];
        let found = problems(&files);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("demo::a -> demo::front"), "{found:?}");
    }

    #[test]
    fn paths_in_bodies_macros_and_derives_count_as_imports() {
        for mention in [
            "fn f() { crate::b::g(); }",
            "fn f() { use super::b::g; g(); }",
            "fn f() { println!(\"{}\", crate::b::G); }",
            "#[derive(crate::b::Derive)] struct S;",
            "impl crate::b::Trait for S {}",
            "use super::*; struct S(B);",
        ] {
            let files = [
                ("lib.rs", "mod a; mod b; use b::B;"),
                ("a.rs", &format!("pub struct A; {mention}")),
                ("b.rs", "use crate::a::A; pub struct B; pub fn g() {}"),
            ];
            assert_eq!(problems(&files).len(), 1, "{mention}");
        }
    }

    #[test]
    fn other_crates_and_variables_are_no_imports() {
        let found = problems(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use ::b::B; use std::fmt; fn f(b: u8) -> u8 { b }"),
            ("b.rs", "use crate::a;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn imports_of_test_code_do_not_count() {
        let found = problems(&[
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            (
                "b.rs",
                "pub struct B;\n#[cfg(test)]\nuse crate::a::A;\n#[cfg(test)]\n\
                 mod tests { use crate::a::A; }\n#[test]\nfn f() { crate::a::g(); }",
            ),
            ("tests.rs", "use crate::a::A;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_recorded_circle_passes_until_another_module_joins_it() {
        let circle = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::a::A; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
        ];
        let mut recorded = tree(&circle);
        recorded.ratchet.circles = circle_members(&recorded);
        assert_eq!(check(&recorded), []);
        let mut grown = circle;
        grown[2].1 = "use crate::{a::A, c::C}; pub struct B;";
        let grown = Tree {
            ratchet: recorded.ratchet,
            ..tree(&grown)
        };
        assert_eq!(check(&grown).len(), 1);
    }

    /// The crate `wingbeat` of three modules, and the page whose table lists them.
    fn walked(table: &str) -> Vec<String> {
        let mut tree = tree(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "pub struct C;"),
        ]);
        tree.packages[0].name = "wingbeat".into();
        tree.packages[0].targets[0].name = "wingbeat".into();
        let page = format!("## The path of a message\n\n| Module | Content |\n|---|---|\n{table}");
        tree.files.push(SourceFile::new("ARCHITECTURE.md", page));
        let findings = check(&tree);
        let shown = findings
            .iter()
            .map(|it| format!("{}: {}", it.place, it.problem));
        shown.collect()
    }

    #[test]
    fn modules_in_the_order_of_their_imports_pass() {
        let none: [&str; 0] = [];
        assert_eq!(walked("| `c`, `b` | parts |\n| `a` | more |\n"), none);
    }

    #[test]
    fn a_module_before_one_that_it_imports_is_refused() {
        let found = walked("| `c` | parts |\n| `a` | more |\n| `b` | others |\n");
        let expected = "ARCHITECTURE.md:7: `a` stands before `b`, which it imports (src/a.rs:1)";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_module_that_the_table_does_not_list_is_refused() {
        let found = walked("| `c`, `b` | parts |\n");
        assert_eq!(
            found,
            ["ARCHITECTURE.md: the table of modules does not list `a`"]
        );
    }

    #[test]
    fn the_picture_shows_levels_from_the_lowest_up() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; use crate::c::C;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "pub struct C;"),
        ]);
        let shown = picture(&tree, "demo").unwrap();
        let expected = "level 0: c\nlevel 1: b -> c\nlevel 2: a -> b, c\n\
                        3 modules on 3 levels, 3 imports, 0 circles\n";
        assert_eq!(shown, expected);
        assert_eq!(picture(&tree, "unknown"), None);
    }
}
