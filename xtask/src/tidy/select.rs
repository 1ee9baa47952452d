//! `select!` begins with `biased;`. Otherwise it picks a ready branch at random, and a seed would
//! not repeat a simulated run.

use proc_macro2::TokenTree;

use super::Finding;
use super::code::{is_mark, is_word, line, walk};
use super::tree::{SourceFile, Tree};

/// Refuses a `select!` without `biased;`.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files().flat_map(refused).collect()
}

fn refused(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(tokens) = file.tokens() else {
        return findings;
    };
    walk(tokens, &mut |rest| {
        if is_unbiased(rest) {
            let place = format!("{}:{}", file.path, line(rest));
            findings.push(Finding::new(place, "`select!` must begin with `biased;`"));
        }
    });
    findings
}

fn is_unbiased(rest: &[TokenTree]) -> bool {
    let [
        TokenTree::Ident(name),
        TokenTree::Punct(mark),
        TokenTree::Group(body),
        ..,
    ] = rest
    else {
        return false;
    };
    let body: Vec<TokenTree> = body.stream().into_iter().take(2).collect();
    let biased = is_word(body.first(), "biased") && is_mark(body.get(1), ';');
    name == "select" && mark.as_char() == '!' && !biased
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(code: &str) -> usize {
        let files = vec![SourceFile::new("src/a.rs", code)];
        check(&Tree {
            files,
            ..Tree::default()
        })
        .len()
    }

    #[test]
    fn an_unbiased_select_is_refused() {
        assert_eq!(
            findings("fn f() { tokio::select! { _ = a => (), _ = b => () } }"),
            1
        );
        assert_eq!(
            findings("fn f() { outer!(select! { _ = a => biased(), }) }"),
            1
        );
    }

    #[test]
    fn a_biased_select_passes() {
        assert_eq!(
            findings("fn f() { tokio::select! { biased; _ = a => () } }"),
            0
        );
        assert_eq!(findings("// select! { }\nfn f() { \"select! { }\" }"), 0);
    }
}
