//! Looking for patterns in code: by tokens, so that strings and comments never count, and what a
//! macro is given does.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::tree::SourceFile;

/// Shows every position in the code, at every depth, as the rest of its token list.
pub(super) fn walk(tokens: TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for at in 0..tokens.len() {
        visit(&tokens[at..]);
        if let TokenTree::Group(group) = &tokens[at] {
            walk(group.stream(), visit);
        }
    }
}

/// Is there this identifier?
pub(super) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

/// Is there this punctuation mark?
pub(super) fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// The line, counted from 1, on which the first token begins.
pub(super) fn line(rest: &[TokenTree]) -> usize {
    rest.first().map_or(0, |token| token.span().start().line)
}

/// What stands in brackets after `#`, if an outer attribute begins here.
pub(super) fn attribute(rest: &[TokenTree]) -> Option<&Group> {
    match rest {
        [TokenTree::Punct(hash), TokenTree::Group(group), ..] if hash.as_char() == '#' => {
            (group.delimiter() == Delimiter::Bracket).then_some(group)
        }
        _ => None,
    }
}

/// The lines of the items marked `#[cfg(test)]`.
pub(super) fn test_lines(file: &SourceFile) -> Vec<RangeInclusive<usize>> {
    let mut lines = Vec::new();
    let Some(tokens) = file.tokens() else {
        return lines;
    };
    walk(tokens, &mut |rest| {
        let is_cfg = |group: &Group| group.stream().to_string().replace(' ', "") == "cfg(test)";
        if attribute(rest).is_some_and(is_cfg) {
            lines.push(line(rest)..=end_of_item(&rest[2..]));
        }
    });
    lines
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
        let file = SourceFile::new("src/lib.rs", code);
        assert_eq!(test_lines(&file), [2..=5]);
    }

    #[test]
    fn other_conditions_are_not_tests() {
        let file = SourceFile::new("src/lib.rs", "#[cfg(feature = \"test\")]\nmod a {}\n");
        assert_eq!(test_lines(&file), []);
    }
}
