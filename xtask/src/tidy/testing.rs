//! Tests are never ignored and do not sleep.

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use super::code::{attribute, is_mark, is_word, line, walk};
use super::tree::{SourceFile, Tree};

/// Tests on real processes, sockets and disks, which take real time. They poll with a deadline.
const REAL_TIME: [&str; 17] = [
    "crates/wingbeat-cli/tests/it/",
    "crates/wingbeat/tests/it/connections.rs",
    "crates/wingbeat/tests/it/operator.rs",
    "crates/wingbeat/tests/it/overload/embedded.rs",
    "crates/wingbeat/tests/it/past.rs",
    "crates/wingbeat/tests/it/ready.rs",
    "crates/wingbeat/tests/it/projecting/replicas.rs",
    "crates/wingbeat/tests/it/rebuilding/replicas.rs",
    "crates/wingbeat/tests/it/recorded/stores.rs",
    "crates/wingbeat/tests/it/replicas.rs",
    "crates/wingbeat/tests/it/verifying/stores.rs",
    "crates/wingbeat/tests/it/versions/replicas.rs",
    "crates/wingbeat-core/src/conformance/real_time.rs",
    "shop/e2e/",
    "shop/app/tests/it/real/",
    "shop/services/notifications/tests/it/smtp.rs",
    "crates/wingbeat-rabbitmq/tests/it/",
];

/// Refuses ignored tests, and tests that sleep.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files().flat_map(refused).collect()
}

fn refused(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(tokens) = file.tokens() else {
        return findings;
    };
    let in_test = |at: usize| file.is_test() || file.is_test_line(at);
    let may_sleep = REAL_TIME.iter().any(|path| file.path.starts_with(path));
    walk(tokens, &mut |rest| {
        let at = line(rest);
        let mut refuse = |problem| {
            findings.push(Finding::new(format!("{}:{at}", file.path), problem));
        };
        if is_ignored(rest) {
            refuse("an ignored test protects nothing: make it run, or remove it");
        }
        if !may_sleep && is_sleep(rest) && in_test(at) {
            refuse("tests wait for a condition, in virtual time, and do not sleep");
        }
    });
    findings
}

/// Returns whether `#[ignore]` begins here, also with a reason or behind a condition.
fn is_ignored(rest: &[TokenTree]) -> bool {
    let mut found = false;
    let Some(group) = attribute(rest) else {
        return false;
    };
    let first: Option<TokenTree> = group.stream().into_iter().next();
    if is_word(first.as_ref(), "ignore") {
        return true;
    }
    if is_word(first.as_ref(), "cfg_attr") {
        walk(group.stream(), &mut |rest| {
            found |= is_word(rest.first(), "ignore")
        });
    }
    found
}

/// Returns whether `thread::sleep` or `time::sleep` begins here, in a call or in a `use`.
fn is_sleep(rest: &[TokenTree]) -> bool {
    let from = is_word(rest.first(), "thread") || is_word(rest.first(), "time");
    let path = is_mark(rest.get(1), ':') && is_mark(rest.get(2), ':');
    from && path && rest.get(3).is_some_and(is_sleeping_name)
}

fn is_sleeping_name(token: &TokenTree) -> bool {
    let any = |names: TokenStream| names.into_iter().any(|name| is_sleeping_name(&name));
    match token {
        TokenTree::Ident(name) => name == "sleep" || name == "sleep_until",
        TokenTree::Group(names) => any(names.stream()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, code: &str) -> usize {
        let files = vec![SourceFile::new(path, code)];
        check(&Tree {
            files,
            ..Tree::default()
        })
        .len()
    }

    const SLEEPING: [&str; 4] = [
        "fn f() { std::thread::sleep(SECOND) }",
        "async fn f() { tokio::time::sleep(SECOND).await }",
        "use tokio::time::{Duration, sleep};",
        "use std::thread::sleep as pause;",
    ];

    #[test]
    fn a_test_that_sleeps_is_refused() {
        for code in SLEEPING {
            assert_eq!(findings("crates/a/tests/it/main.rs", code), 1, "{code}");
            let module = format!("#[cfg(test)]\nmod tests {{\n{code}\n}}");
            assert_eq!(findings("crates/a/src/lib.rs", &module), 1, "{code}");
        }
    }

    #[test]
    fn sleeping_is_left_to_clippy_elsewhere_and_allowed_end_to_end() {
        for code in SLEEPING {
            assert_eq!(findings("crates/a/src/lib.rs", code), 0, "{code}");
            assert_eq!(findings("shop/e2e/tests/it/main.rs", code), 0, "{code}");
        }
    }

    #[test]
    fn an_ignored_test_is_refused() {
        let attributes = ["ignore", "ignore = \"slow\"", "cfg_attr(windows, ignore)"];
        for attribute in attributes {
            let code = format!("#[test]\n#[{attribute}]\nfn f() {{}}");
            assert_eq!(findings("shop/e2e/tests/it/main.rs", &code), 1, "{code}");
        }
        assert_eq!(findings("src/a.rs", "#[test]\nfn ignore() {}"), 0);
    }
}
