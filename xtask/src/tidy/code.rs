//! Searches code by its tokens: strings and comments never match, the input of macros does.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// Visits every position in the code, at every depth, as the rest of its token list.
pub(super) fn walk(tokens: TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for at in 0..tokens.len() {
        visit(&tokens[at..]);
        if let TokenTree::Group(group) = &tokens[at] {
            walk(group.stream(), visit);
        }
    }
}

/// Returns whether the token is this identifier.
pub(super) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

/// Returns whether the token is this punctuation mark.
pub(super) fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// The line, counted from 1, on which the first token begins.
pub(super) fn line(rest: &[TokenTree]) -> usize {
    rest.first().map_or(0, |token| token.span().start().line)
}

/// The list in brackets after `#` or `#!`, if an attribute begins here.
pub(super) fn attribute(rest: &[TokenTree]) -> Option<&Group> {
    match rest.get(if is_inner(rest) { 2 } else { 1 }) {
        Some(TokenTree::Group(list)) if is_mark(rest.first(), '#') => {
            (list.delimiter() == Delimiter::Bracket).then_some(list)
        }
        _ => None,
    }
}

/// Returns whether the list of an attribute is documentation.
pub(super) fn is_doc(list: &Group) -> bool {
    is_word(list.stream().into_iter().next().as_ref(), "doc")
}

/// The lines that have code, counted from 1: no blank lines, comments and documentation.
pub(super) fn lines_of_code(tokens: TokenStream) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    collect_lines(tokens, &mut lines);
    lines
}

fn collect_lines(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for part in parts(&tokens) {
        match part {
            Part::Attribute(list) if is_doc(list) => {}
            Part::Attribute(list) => lines.extend(span_lines(list.span())),
            Part::Token(_, TokenTree::Group(group)) => {
                lines.insert(group.span_open().start().line);
                collect_lines(group.stream(), lines);
                lines.insert(group.span_close().end().line);
            }
            Part::Token(_, token) => lines.extend(span_lines(token.span())),
        }
    }
}

/// An attribute, or any other token with its place in the list.
pub(super) enum Part<'a> {
    Attribute(&'a Group),
    Token(usize, &'a TokenTree),
}

/// Splits a token list into attributes and other tokens.
pub(super) fn parts(tokens: &[TokenTree]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match attribute(&tokens[at..]) {
            Some(list) => {
                parts.push(Part::Attribute(list));
                at += if is_inner(&tokens[at..]) { 3 } else { 2 };
            }
            None => {
                parts.push(Part::Token(at, &tokens[at]));
                at += 1;
            }
        }
    }
    parts
}

/// The lines that a span covers.
pub(super) fn span_lines(span: Span) -> RangeInclusive<usize> {
    span.start().line..=span.end().line
}

/// Returns whether attributes keep an item out of every build but tests: `#[test]`,
/// `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let is_test = |segment: &syn::PathSegment| segment.ident == "test";
        match &attribute.meta {
            syn::Meta::List(list) if path.is_ident("cfg") => requires_test(&list.tokens),
            _ => path.segments.last().is_some_and(is_test),
        }
    })
}

/// Returns whether a condition is `test`, or `all(…)` with `test` in it.
fn requires_test(condition: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
    match tokens.as_slice() {
        [word] => is_word(Some(word), "test"),
        [word, TokenTree::Group(parts)] if is_word(Some(word), "all") => {
            let mut parts = parts.stream().into_iter();
            parts.any(|part| is_word(Some(&part), "test"))
        }
        _ => false,
    }
}

/// Returns whether an attribute that begins here is one of what encloses it: `#![…]`.
fn is_inner(rest: &[TokenTree]) -> bool {
    is_mark(rest.get(1), '!')
}

/// The lines of the items marked `#[cfg(test)]`.
pub(super) fn test_lines(tokens: TokenStream) -> Vec<RangeInclusive<usize>> {
    let mut lines = Vec::new();
    walk(tokens, &mut |rest| {
        if attribute(rest).is_some_and(is_cfg_test) {
            let item = rest.get(2..).filter(|_| !is_inner(rest));
            let end = item.map_or(usize::MAX, end_of_item);
            lines.push(line(rest)..=end);
        }
    });
    lines
}

fn is_cfg_test(list: &Group) -> bool {
    let tokens: Vec<TokenTree> = list.stream().into_iter().take(3).collect();
    match tokens.as_slice() {
        [word, TokenTree::Group(condition)] => {
            is_word(Some(word), "cfg") && requires_test(&condition.stream())
        }
        _ => false,
    }
}

/// The last line of the item that begins here: it ends with its body or a semicolon.
fn end_of_item(rest: &[TokenTree]) -> usize {
    let ends = |token: &&TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_mark(Some(other), ';'),
    };
    let end = rest.iter().find(ends).or(rest.last());
    end.map_or(0, |token| token.span().end().line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_test_modules_are_known() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        assert_eq!(test_lines(code.parse().unwrap()), [2..=5]);
    }

    #[test]
    fn other_conditions_are_not_tests() {
        for condition in ["feature = \"test\"", "not(test)", "any(test, unix)"] {
            let code = format!("#[cfg({condition})]\nmod a {{}}\n");
            assert_eq!(test_lines(code.parse().unwrap()), [], "{condition}");
        }
    }
}
