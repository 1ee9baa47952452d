//! Files and functions stay short; those that are not may only shrink.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::ratchet::Ratchet;
use super::tree::{SourceFile, Tree};
use super::{Bless, Finding, code};

/// Lines of a file, its test modules apart.
const FILE_LIMIT: usize = 400;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LIMIT: usize = 70;

/// Refuses what is longer than its limit, or than recorded.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let (actual, recorded) = (measure(tree), &tree.ratchet);
    let unreadable = tree.rust_files().filter(|file| parse(file).is_none());
    let unreadable = unreadable.map(|file| Finding::new(&file.path, "cannot be parsed as Rust"));
    let files = grown(&actual.files, &recorded.files, FILE_LIMIT);
    let functions = grown(&actual.functions, &recorded.functions, FUNCTION_LIMIT);
    unreadable.chain(files).chain(functions).collect()
}

/// Is there something recorded that is shorter by now?
pub(super) fn has_shrunk(tree: &Tree) -> bool {
    tree.ratchet.lowered_to(&measure(tree)) != tree.ratchet
}

/// What to record from now on.
pub(super) fn blessed(tree: &Tree, bless: Bless) -> Ratchet {
    let actual = measure(tree);
    match bless {
        Bless::Downward => tree.ratchet.lowered_to(&actual),
        Bless::Everything => actual,
    }
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

/// Everything over its limit.
fn measure(tree: &Tree) -> Ratchet {
    let mut over = Ratchet::default();
    for file in tree.rust_files() {
        let lines = if file.is_test() {
            0
        } else {
            lines_without_tests(file)
        };
        if lines > FILE_LIMIT {
            over.files.insert(file.path.clone(), lines);
        }
        if let Some(syntax) = parse(file) {
            let mut functions = Functions {
                scope: vec![file.path.clone()],
                over: &mut over,
            };
            functions.visit_file(&syntax);
        }
    }
    over
}

fn parse(file: &SourceFile) -> Option<syn::File> {
    syn::parse2(file.tokens()?).ok()
}

fn lines_without_tests(file: &SourceFile) -> usize {
    let tests = code::test_lines(file)
        .into_iter()
        .map(Iterator::count)
        .sum();
    file.text.lines().count().saturating_sub(tests)
}

/// Walks through a file and notes the functions over the limit under their full names.
struct Functions<'a> {
    /// The file, then the modules, types and functions around.
    scope: Vec<String>,
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
        let lines = last - first + 1;
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
    fn tests_do_not_count_towards_the_length_of_a_file() {
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
    fn what_is_recorded_may_shrink_but_not_grow() {
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
        assert!(has_shrunk(&recorded(120)));
        let findings = check(&recorded(90));
        assert_eq!(findings[0].problem, "grew from 90 to 100 lines, limit 70");
        assert_eq!(
            blessed(&recorded(90), Bless::Downward),
            recorded(90).ratchet
        );
        assert_eq!(
            blessed(&recorded(90), Bless::Everything),
            recorded(100).ratchet
        );
    }

    #[test]
    fn code_that_cannot_be_measured_is_refused() {
        assert_eq!(check(&tree("src/a.rs", "fn {")).len(), 1);
    }
}
