//! Refuses absolute paths of one machine, hosts of package registries, and marks of unfinished
//! work, which belongs in an issue.
//!
//! The patterns are concatenated from halves, so that this file does not contain them.

use super::Finding;
use super::tree::{SourceFile, Tree};

const PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("debian", ".org"),
    concat!("proxy.golang", ".org"),
];

const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Files whose text is generated or given.
const NOT_OURS: &[&str] = &["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT"];

/// Refuses these words in every text file of the repository.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let ours = |file: &&SourceFile| !NOT_OURS.contains(&file.path.as_str());
    tree.files.iter().filter(ours).flat_map(refused).collect()
}

fn refused(file: &SourceFile) -> Vec<Finding> {
    let numbered = (1..).zip(file.text.lines());
    numbered
        .filter_map(|(number, line)| {
            problem(line).map(|it| Finding::new(format!("{}:{number}", file.path), it))
        })
        .collect()
}

fn problem(line: &str) -> Option<String> {
    if let Some(path) = PATHS
        .iter()
        .find(|path| stands_alone(line, path, is_path, |_| false))
    {
        return Some(format!("an absolute path of one machine ({path}…)"));
    }
    // "crates.io-index" is an index, not a host.
    let in_host = |c: char| c.is_alphanumeric() || c == '-';
    if let Some(host) = HOSTS
        .iter()
        .find(|host| stands_alone(line, host, in_host, in_host))
    {
        return Some(format!("the host of a package registry ({host})"));
    }
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let unfinished = UNFINISHED
        .iter()
        .find(|word| stands_alone(line, word, in_word, in_word));
    unfinished.map(|word| format!("unfinished work ({word}) belongs in an issue"))
}

/// Returns whether a character before `/` belongs to a longer path.
fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | ')' | '*')
}

/// Returns whether a line contains a pattern that is not part of a longer word.
fn stands_alone(
    line: &str,
    pattern: &str,
    joins_before: impl Fn(char) -> bool,
    joins_after: impl Fn(char) -> bool,
) -> bool {
    line.match_indices(pattern).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        !before.is_some_and(&joins_before) && !after.is_some_and(&joins_after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: impl Into<String>) -> usize {
        let files = vec![SourceFile::new(path, text)];
        check(&Tree {
            files,
            ..Tree::default()
        })
        .len()
    }

    #[test]
    fn a_path_of_one_machine_is_refused() {
        for path in PATHS {
            assert_eq!(
                findings("README.md", format!("see `{path}me/notes`")),
                1,
                "{path}"
            );
            assert_eq!(
                findings("a.toml", format!("url = \"file://{path}me\"")),
                1,
                "{path}"
            );
            assert_eq!(
                findings("README.md", format!("see docs{path}index.md")),
                0,
                "{path}"
            );
        }
    }

    #[test]
    fn a_registry_host_is_refused_except_in_the_lock_file() {
        for host in HOSTS {
            assert_eq!(
                findings("README.md", format!("get it from {host}")),
                1,
                "{host}"
            );
            assert_eq!(
                findings("a.toml", format!("\"https://static.{host}/x\"")),
                1,
                "{host}"
            );
            assert_eq!(findings("a.toml", format!("\"{host}-index\"")), 0, "{host}");
            assert_eq!(findings("Cargo.lock", format!("\"{host}\"")), 0, "{host}");
        }
    }

    #[test]
    fn unfinished_work_is_refused() {
        for word in UNFINISHED {
            assert_eq!(
                findings("src/a.rs", format!("// {word}: later")),
                1,
                "{word}"
            );
            assert_eq!(
                findings("src/a.rs", format!("const {word}S: u8 = 1;")),
                0,
                "{word}"
            );
        }
    }
}
