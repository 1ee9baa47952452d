//! The domain of a service decides: it does no I/O, and knows nothing of the rest of its service.

use super::Finding;
use super::code::{is_mark, is_word, line, walk};
use super::tree::{SourceFile, Tree};

/// Refuses `async` and `await` in the domain of every service, and paths to its other modules, such
/// as views.
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
    let mut refuse = |rest: &[_], problem: &str| {
        findings.push(Finding::new(
            format!("{}:{}", file.path, line(rest)),
            problem,
        ));
    };
    walk(tokens, &mut |rest| {
        if is_word(rest.first(), "async") || is_word(rest.first(), "await") {
            refuse(rest, "the domain is synchronous: load in the handler");
        }
        let leaves = is_word(rest.first(), "crate")
            && is_mark(rest.get(1), ':')
            && !is_word(rest.get(3), "domain");
        if leaves {
            refuse(
                rest,
                "the domain is pure: other modules import it, not the reverse",
            );
        }
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str) -> usize {
        findings_in(path, "/// Not async.\nasync fn decide() { load().await }")
    }

    fn findings_in(path: &str, code: &str) -> usize {
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
    fn a_domain_that_uses_the_views_of_its_service_is_refused() {
        let path = "shop/services/orders/src/domain/order.rs";
        assert_eq!(findings_in(path, "use crate::views::Row;"), 1);
        assert_eq!(findings_in(path, "fn f() { crate::api::g() }"), 1);
        let own = "use crate::domain::Line; pub(crate) struct Order; use super::line::Item;";
        assert_eq!(findings_in(path, own), 0);
    }

    #[test]
    fn handlers_may_be_asynchronous() {
        assert_eq!(findings("shop/services/orders/src/handlers.rs"), 0);
        assert_eq!(findings("crates/wingbeat/src/domain/mod.rs"), 0);
    }
}
