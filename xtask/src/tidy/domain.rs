//! The domain of a service is synchronous: it decides and does no I/O.

use super::Finding;
use super::code::{is_word, line, walk};
use super::tree::{SourceFile, Tree};

/// Refuses `async` and `await` in the domain of every service.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files()
        .filter(|file| is_domain(&file.path))
        .flat_map(refused)
        .collect()
}

/// Returns whether a path is `shop/services/<service>/src/domain.rs` or below `…/src/domain/`.
fn is_domain(path: &str) -> bool {
    let inside = path
        .strip_prefix("shop/services/")
        .and_then(|path| path.split_once("/src/"));
    inside.is_some_and(|(_, path)| path == "domain.rs" || path.starts_with("domain/"))
}

fn refused(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(tokens) = file.tokens() else {
        return findings;
    };
    walk(tokens, &mut |rest| {
        if is_word(rest.first(), "async") || is_word(rest.first(), "await") {
            let place = format!("{}:{}", file.path, line(rest));
            findings.push(Finding::new(
                place,
                "the domain is synchronous: load in the handler",
            ));
        }
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str) -> usize {
        let code = "/// Not async.\nasync fn decide() { load().await }";
        let files = vec![SourceFile::new(path, code)];
        check(&Tree {
            files,
            ..Tree::default()
        })
        .len()
    }

    #[test]
    fn an_asynchronous_domain_is_refused() {
        assert_eq!(findings("shop/services/orders/src/domain/order.rs"), 2);
        assert_eq!(findings("shop/services/orders/src/domain.rs"), 2);
    }

    #[test]
    fn handlers_may_be_asynchronous() {
        assert_eq!(findings("shop/services/orders/src/handlers.rs"), 0);
        assert_eq!(findings("crates/wingbeat/src/domain/mod.rs"), 0);
    }
}
