//! The documentation agrees with the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Collects the names of all functions in the Rust files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let names = text.split("fn ").skip(1).map(|rest| {
                let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            });
            found.extend(names);
        }
    }
}

/// Every promise in `docs/security.md` names tests that exist.
#[test]
fn the_tests_that_hold_the_security_exist() {
    let mut found = BTreeSet::new();
    for folder in ["crates", "shop"] {
        functions(&root().join(folder), &mut found);
    }
    let text = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // Names of tests are sentences.
    let is_test = |word: &&str| {
        let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
        word.matches('_').count() >= 3 && word.chars().all(plain)
    };
    let tests: Vec<&str> = words.filter(is_test).collect();
    assert!(tests.len() > 50, "{}", tests.len());
    let missing: Vec<_> = tests.iter().filter(|it| !found.contains(**it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
