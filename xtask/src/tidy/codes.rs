//! Every error code has a page under `docs/errors`, and every page has a code.
//!
//! A code is a string literal, a constant or a `let` of the same file that is passed to
//! `Error::retry`, `Error::reject` or `Problem::new`; a literal in a function named `code` or
//! `reason`; or a variant marked `#[failure(..)]`, in snake case.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Group, TokenStream, TokenTree};

use super::Finding;
use super::code::{attribute, is_mark, is_word, line, test_lines, walk};
use super::tree::{SourceFile, Tree};

const FOLDER: &str = "docs/errors/";
const INDEX: &str = "docs/errors/README.md";

/// Refuses a code without a page, a page without a code, and a page that its index does not list.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut codes = BTreeMap::new();
    let mut words = BTreeSet::new();
    for file in tree.rust_files().filter(|file| is_ours(file)) {
        collect(file, &mut codes, &mut words);
    }
    let missing = codes.iter().filter_map(|(code, place)| {
        let page = format!("{FOLDER}{code}.md");
        let absent = tree.file(&page).is_none();
        absent.then(|| Finding::new(place, format!("the code `{code}` has no page {page}")))
    });
    let index = tree.file(INDEX).map_or("", |file| &file.text);
    let pages = tree.files.iter().filter_map(|file| {
        let code = code_of(&file.path)?;
        let known = codes.contains_key(code) || words.contains(code);
        let problem = page_problem(code, &file.text, known, index)?;
        Some(Finding::new(&file.path, problem))
    });
    missing.chain(pages).collect()
}

/// Returns whether a file is code of the framework or the shop, outside of tests.
fn is_ours(file: &SourceFile) -> bool {
    let place = file.path.starts_with("crates/") || file.path.starts_with("shop/");
    // Suites that drive the shop from outside read codes and define none.
    let drives = file.path.starts_with("shop/e2e/");
    // What a template defines belongs to the project that is made from it.
    let template = file.path.contains("/templates/");
    place && !drives && !template && !file.is_test()
}

/// The code that a page describes.
fn code_of(path: &str) -> Option<&str> {
    let code = path.strip_prefix(FOLDER)?.strip_suffix(".md")?;
    (code != "README").then_some(code)
}

fn page_problem(code: &str, text: &str, known: bool, index: &str) -> Option<String> {
    let title = text.lines().next().unwrap_or_default();
    if title != format!("# {code}") {
        return Some(format!("the first line must be `# {code}`"));
    }
    if !known {
        return Some(format!("no error has the code `{code}`"));
    }
    let listed = index.contains(&format!("({code}.md)"));
    (!listed).then(|| format!("{INDEX} does not link this page"))
}

/// Collects the codes of a file with their places, and all its string literals.
fn collect(file: &SourceFile, codes: &mut BTreeMap<String, String>, words: &mut BTreeSet<String>) {
    let Some(tokens) = file.tokens() else {
        return;
    };
    let tests = test_lines(tokens.clone());
    walk(tokens.clone(), &mut |rest| {
        let at = line(rest);
        if tests.iter().any(|lines| lines.contains(&at)) {
            return;
        }
        words.extend(rest.first().and_then(literal));
        for code in codes_at(rest, &tokens) {
            let place = format!("{}:{at}", file.path);
            codes.entry(code).or_insert(place);
        }
    });
}

/// The codes that begin at this position.
fn codes_at(rest: &[TokenTree], file: &TokenStream) -> Vec<String> {
    let path = is_mark(rest.get(1), ':') && is_mark(rest.get(2), ':');
    let retry = is_word(rest.get(3), "retry") || is_word(rest.get(3), "reject");
    let new = is_word(rest.get(3), "new");
    match rest {
        [name, _, _, _, TokenTree::Group(args), ..] if path => {
            let number = match name {
                TokenTree::Ident(name) if name == "Error" && retry => 0,
                TokenTree::Ident(name) if name == "Problem" && new => 1,
                _ => return Vec::new(),
            };
            argument(args, number).map_or_else(Vec::new, |it| values(&it, file))
        }
        [TokenTree::Ident(word), TokenTree::Ident(name), ..]
            if word == "fn" && (name == "code" || name == "reason") =>
        {
            let body = rest.iter().find_map(body);
            body.map_or_else(Vec::new, |body| literals(body.stream()))
        }
        _ => attribute(rest)
            .filter(|group| is_word(group.stream().into_iter().next().as_ref(), "failure"))
            .and_then(|_| variant(&rest[2..]))
            .into_iter()
            .collect(),
    }
}

fn body(token: &TokenTree) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
            Some(group)
        }
        _ => None,
    }
}

/// The argument at that place, if it is a single token.
fn argument(args: &Group, number: usize) -> Option<TokenTree> {
    let tokens: Vec<TokenTree> = args.stream().into_iter().collect();
    let mut args = tokens.split(|token| is_mark(Some(token), ','));
    match args.nth(number)? {
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// A literal's text, or the literals that the constant or variable of that name is made of.
fn values(argument: &TokenTree, file: &TokenStream) -> Vec<String> {
    let TokenTree::Ident(name) = argument else {
        return literal(argument).into_iter().collect();
    };
    let mut found = Vec::new();
    walk(file.clone(), &mut |rest| {
        let defines = is_word(rest.first(), "const") || is_word(rest.first(), "let");
        if defines && matches!(rest.get(1), Some(TokenTree::Ident(it)) if it == name) {
            let value = rest.iter().take_while(|token| !is_mark(Some(token), ';'));
            found.extend(literals(value.cloned().collect()));
        }
    });
    found
}

/// The variant behind further attributes, in snake case.
fn variant(mut rest: &[TokenTree]) -> Option<String> {
    while attribute(rest).is_some() {
        rest = &rest[2..];
    }
    match rest.first()? {
        TokenTree::Ident(name) => Some(snake(&name.to_string())),
        _ => None,
    }
}

fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn literals(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    walk(tokens, &mut |rest| {
        found.extend(rest.first().and_then(literal));
    });
    found
}

/// The text of a plain string literal.
fn literal(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else {
        return None;
    };
    let text = literal.to_string();
    Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = r#"
        const GONE: &str = "gone";
        fn a() -> Error { Error::retry("away", "not there") }
        fn b() -> Error { wingbeat::Error::reject(GONE, format!("{x}")) }
        fn c() -> Problem { Problem::new(409, "taken", "somebody has it") }
        fn d(full: bool) -> Error {
            let code = match full { true => "full", false => "failed" };
            Error::retry(code, "no room")
        }
        enum E { #[failure(retry)] #[error("so many")] TooMany(u8) }
        impl Failure for F { fn code(&self) -> &'static str { "by_hand" } }
        #[cfg(test)]
        mod tests { fn e() -> Error { Error::retry("only_tested", "here") } }
    "#;
    const CODES: [&str; 7] = [
        "away", "by_hand", "failed", "full", "gone", "taken", "too_many",
    ];

    fn findings(pages: &[(&str, &str)], listed: &[&str]) -> Vec<String> {
        let links: String = listed
            .iter()
            .map(|code| format!("[x]({code}.md)"))
            .collect();
        let mut files = vec![
            SourceFile::new("crates/a/src/lib.rs", CODE),
            SourceFile::new(
                "crates/a/tests/it/main.rs",
                "fn f() { Error::retry(\"x\", \"y\") }",
            ),
            SourceFile::new(INDEX, links),
        ];
        let page =
            |(code, text): &(&str, &str)| SourceFile::new(format!("{FOLDER}{code}.md"), *text);
        files.extend(pages.iter().map(page));
        let tree = Tree {
            files,
            ..Tree::default()
        };
        check(&tree).into_iter().map(|it| it.problem).collect()
    }

    fn all() -> Vec<(&'static str, String)> {
        CODES.map(|code| (code, format!("# {code}\n"))).to_vec()
    }

    #[test]
    fn every_kind_of_code_needs_a_page() {
        let found = findings(&[], &[]);
        let expected = CODES.map(|code| format!("the code `{code}` has no page {FOLDER}{code}.md"));
        assert_eq!(found, expected);
    }

    #[test]
    fn codes_with_listed_pages_pass() {
        let pages = all();
        let pages: Vec<(&str, &str)> = pages.iter().map(|(code, text)| (*code, &**text)).collect();
        assert_eq!(findings(&pages, &CODES), Vec::<String>::new());
    }

    #[test]
    fn a_page_without_a_code_a_link_or_its_title_is_refused() {
        let mut pages = all();
        pages.push(("only_tested", "# only_tested\n".into()));
        pages[0].1 = "# Away\n".into();
        let pages: Vec<(&str, &str)> = pages.iter().map(|(code, text)| (*code, &**text)).collect();
        let expected = [
            "the first line must be `# away`",
            "docs/errors/README.md does not link this page",
            "no error has the code `only_tested`",
        ];
        let listed = &CODES[..CODES.len() - 1];
        assert_eq!(findings(&pages, listed), expected);
    }
}
