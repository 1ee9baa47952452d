//! Lines end at 100 columns. String literals, URLs and tables may be longer.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use super::code::{Part, is_doc, parts, span_lines};
use super::tree::{SourceFile, Tree};

/// The columns of a line, as in rustfmt.
const COLUMNS: usize = 100;

/// Refuses longer lines of Rust and of Markdown; one finding a file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let rust = tree.rust_files().filter_map(|file| {
        let exempt = literal_lines(file);
        refused(file, |number, _| exempt.contains(&number))
    });
    let markdown = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    rust.chain(markdown.filter_map(|file| refused(file, |_, _| false)))
        .collect()
}

fn refused(file: &SourceFile, is_exempt: impl Fn(usize, &str) -> bool) -> Option<Finding> {
    let numbered = (1..).zip(file.text.lines());
    let is_long = |(number, line): &(usize, &str)| {
        line.chars().count() > COLUMNS && !is_unbreakable(line) && !is_exempt(*number, line)
    };
    let mut long = numbered.filter(is_long).map(|(number, _)| number);
    let first = long.next()?;
    let count = 1 + long.count();
    let problem = format!("{count} of its lines are longer than {COLUMNS} columns");
    Some(Finding::new(format!("{}:{first}", file.path), problem))
}

/// Returns whether a line has a URL or is a row of a table.
fn is_unbreakable(line: &str) -> bool {
    let text = line.trim_start_matches([' ', '/', '!', '#', '*']);
    text.starts_with('|') || line.contains("://")
}

/// The lines with a string literal, without documentation.
fn literal_lines(file: &SourceFile) -> BTreeSet<usize> {
    let mut lines = BTreeSet::new();
    collect(file.tokens().unwrap_or_default(), &mut lines);
    lines
}

fn collect(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for part in parts(&tokens) {
        match part {
            Part::Attribute(list) if is_doc(list) => {}
            Part::Attribute(list) => collect(list.stream(), lines),
            Part::Token(_, TokenTree::Group(group)) => collect(group.stream(), lines),
            Part::Token(_, TokenTree::Literal(literal)) if literal.to_string().contains('"') => {
                lines.extend(span_lines(literal.span()));
            }
            Part::Token(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let files = vec![SourceFile::new(path, text)];
        let tree = Tree {
            files,
            ..Tree::default()
        };
        let found = check(&tree).into_iter();
        found
            .map(|it| format!("{}: {}", it.place, it.problem))
            .collect()
    }

    #[test]
    fn long_comments_and_code_are_refused_with_their_number_and_first_line() {
        let long = format!("// {}\n", "word ".repeat(20));
        let doc = format!("/// {}\nfn f() {{}}\n", "word ".repeat(20));
        let expected = "src/a.rs:2: 2 of its lines are longer than 100 columns";
        assert_eq!(problems("src/a.rs", &format!("\n{long}{doc}")), [expected]);
        let code = format!("m! {{ {} }}", "a ".repeat(50));
        assert_eq!(problems("src/a.rs", &code).len(), 1);
        assert_eq!(problems("README.md", &"word ".repeat(21)).len(), 1);
    }

    #[test]
    fn strings_urls_and_tables_may_be_longer() {
        let string = format!("const A: &str = \"{}\";", "word ".repeat(20));
        let url = format!("// see https://example.org/{}", "a".repeat(90));
        let table = format!("| a | {} |", "word ".repeat(20));
        let in_doc = format!("/// {table}\nfn f() {{}}");
        for (path, text) in [
            ("src/a.rs", string),
            ("src/a.rs", url),
            ("README.md", table),
            ("src/a.rs", in_doc),
        ] {
            assert_eq!(problems(path, &text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn columns_are_characters_and_not_bytes() {
        let line = format!("// {}", "é".repeat(97));
        assert_eq!(problems("src/a.rs", &line), Vec::<String>::new());
    }
}
