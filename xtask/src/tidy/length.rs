//! Files and functions stay short; recorded ones that are longer may only shrink.
//!
//! Only lines with code count: documentation, comments and blank lines are free.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::ratchet::Ratchet;
use super::tree::{SourceFile, Tree};
use super::{Finding, code};

/// Lines of code in a file, without its test modules.
const FILE_LIMIT: usize = 400;

/// Lines of code in a function, from `fn` to its closing brace.
const FUNCTION_LIMIT: usize = 70;

/// Refuses files and functions that are longer than their limit, or than recorded.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let (actual, recorded) = (measure(tree), &tree.ratchet);
    let unreadable = tree.rust_files().filter(|file| file.syntax().is_none());
    let unreadable = unreadable.map(|file| Finding::new(&file.path, "cannot be parsed as Rust"));
    let files = grown(&actual.files, &recorded.files, FILE_LIMIT);
    let functions = grown(&actual.functions, &recorded.functions, FUNCTION_LIMIT);
    unreadable.chain(files).chain(functions).collect()
}

fn grown(
    actual: &BTreeMap<String, usize>,
    recorded: &BTreeMap<String, usize>,
    limit: usize,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, length) in actual {
        match recorded.get(name) {
            None => findings.push(Finding::new(name, format!("{length} lines, limit {limit}"))),
            Some(before) if length > before => {
                let problem = format!("grew from {before} to {length} lines, limit {limit}");
                findings.push(Finding::new(name, problem));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Everything over its limit, as entries of the ratchet.
pub(super) fn measure(tree: &Tree) -> Ratchet {
    let mut over = Ratchet::default();
    for file in tree.rust_files() {
        let code = code::lines_of_code(file.tokens().unwrap_or_default());
        let lines = lines_without_tests(file, &code);
        if lines > FILE_LIMIT {
            over.files.insert(file.path.clone(), lines);
        }
        if let Some(syntax) = file.syntax() {
            let mut functions = Functions {
                scope: vec![file.path.clone()],
                code: &code,
                over: &mut over,
            };
            functions.visit_file(syntax);
        }
    }
    over
}

fn lines_without_tests(file: &SourceFile, code: &BTreeSet<usize>) -> usize {
    if file.is_test() {
        return 0;
    }
    code.iter()
        .filter(|line| !file.is_test_line(**line))
        .count()
}

/// Finds the functions over the limit in a file and notes them under their full names.
struct Functions<'a> {
    /// The file, then the enclosing modules, types and functions.
    scope: Vec<String>,
    code: &'a BTreeSet<usize>,
    over: &'a mut Ratchet,
}

impl Functions<'_> {
    fn inside(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.scope.push(name);
        visit(self);
        self.scope.pop();
    }

    fn note(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = self.code.range(first..=last).count();
        if lines > FUNCTION_LIMIT {
            let name = format!("{}::{}", self.scope.join("::"), signature.ident);
            let longest = self.over.functions.entry(name).or_default();
            *longest = lines.max(*longest);
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inside(item.ident.to_string(), |it| visit::visit_item_mod(it, item));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.inside(type_name(&item.self_ty), |it| {
            visit::visit_item_impl(it, item)
        });
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.inside(item.ident.to_string(), |it| {
            visit::visit_item_trait(it, item)
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig, &item.block);
        self.inside(item.sig.ident.to_string(), |it| {
            visit::visit_item_fn(it, item)
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig, &item.block);
        self.inside(item.sig.ident.to_string(), |it| {
            visit::visit_impl_item_fn(it, item)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.note(&item.sig, block);
        }
        self.inside(item.sig.ident.to_string(), |it| {
            visit::visit_trait_item_fn(it, item)
        });
    }
}

/// The last word of a type's path, without generics.
fn type_name(of: &syn::Type) -> String {
    match of {
        syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        syn::Type::Reference(reference) => Some(type_name(&reference.elem)),
        _ => None,
    }
    .unwrap_or_else(|| "_".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: impl Into<String>) -> Tree {
        let files = vec![SourceFile::new(path, text)];
        Tree {
            files,
            ..Tree::default()
        }
    }

    fn long_function(lines: usize) -> String {
        format!(
            "impl Order {{\nfn place() {{\n{}}}\n}}\n",
            "();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let findings = check(&tree(
            "src/a.rs",
            "const A: u8 = 1;\n".repeat(FILE_LIMIT + 1),
        ));
        assert_eq!(findings, [Finding::new("src/a.rs", "401 lines, limit 400")]);
        assert_eq!(
            check(&tree("src/a.rs", "const A: u8 = 1;\n".repeat(FILE_LIMIT))),
            []
        );
    }

    #[test]
    fn tests_do_not_count_toward_the_length_of_a_file() {
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "const A: u8 = 1;\n".repeat(900)
        );
        assert_eq!(check(&tree("src/a.rs", tests)), []);
        assert_eq!(
            check(&tree("tests/it/a.rs", "const A: u8 = 1;\n".repeat(900))),
            []
        );
    }

    #[test]
    fn a_function_over_the_limit_is_refused_under_its_name() {
        let findings = check(&tree("src/a.rs", long_function(FUNCTION_LIMIT + 1)));
        assert_eq!(
            findings,
            [Finding::new("src/a.rs::Order::place", "71 lines, limit 70")]
        );
        assert_eq!(check(&tree("src/a.rs", long_function(FUNCTION_LIMIT))), []);
    }

    #[test]
    fn documentation_comments_and_blank_lines_do_not_count() {
        let free = "/// Text.\n///\n/// ```\n/// let a = 1;\n/// ```\n\n// Why.\n/* More. */\n";
        let item = format!("{free}const A: u8 = 1;\n");
        assert_eq!(check(&tree("src/a.rs", item.repeat(FILE_LIMIT))), []);
        assert_eq!(
            check(&tree("src/a.rs", item.repeat(FILE_LIMIT + 1))).len(),
            1
        );
        let body = "// Why.\n\n();\n".repeat(FUNCTION_LIMIT - 2);
        let function = format!("fn place() {{\n{body}}}\n");
        assert_eq!(check(&tree("src/a.rs", function)), []);
    }

    #[test]
    fn a_string_over_several_lines_counts_as_code() {
        let text = format!("const A: &str = \"{}\";", "line\n".repeat(FILE_LIMIT));
        assert_eq!(check(&tree("src/a.rs", text)).len(), 1);
    }

    #[test]
    fn recorded_lengths_may_shrink_but_not_grow() {
        let recorded = |lines| {
            let functions = BTreeMap::from([("src/a.rs::Order::place".to_owned(), lines)]);
            let ratchet = Ratchet {
                functions,
                ..Ratchet::default()
            };
            Tree {
                ratchet,
                ..tree("src/a.rs", long_function(100))
            }
        };
        assert_eq!(check(&recorded(120)), []);
        let findings = check(&recorded(90));
        assert_eq!(findings[0].problem, "grew from 90 to 100 lines, limit 70");
    }

    #[test]
    fn code_that_cannot_be_measured_is_refused() {
        assert_eq!(check(&tree("src/a.rs", "fn {")).len(), 1);
    }
}
