//! Reads the modules of a crate: which names each defines, imports and mentions.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use super::super::code::{is_mark, is_test_only};
use super::super::tree::{SourceFile, Tree};
use crate::workspace::Target;

/// The place of a module in [`Crate::modules`]. The root is 0.
pub(super) type Id = usize;

/// A crate: a library or a program.
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) modules: Vec<Module>,
}

/// A module with everything that its non-test code refers to.
#[derive(Default)]
pub(super) struct Module {
    /// The names from the root down; empty for the root.
    pub(super) path: Vec<String>,
    pub(super) parent: Option<Id>,
    pub(super) children: BTreeMap<String, Id>,
    /// Names of items that the module itself defines.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    pub(super) mentions: Vec<Mention>,
    /// The file that contains the module.
    pub(super) file: String,
}

/// A name that `use` brings into a module.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// The name in the importing module; nothing for a glob.
    pub(super) name: Option<String>,
}

/// A path in the code of a module.
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

impl Crate {
    /// The name of a module as `crate::a::b`.
    pub(super) fn display(&self, module: Id) -> String {
        let mut names = vec![self.name.clone()];
        names.extend(self.modules[module].path.iter().cloned());
        names.join("::")
    }
}

/// Reads every library and program of the workspace.
pub(super) fn read(tree: &Tree) -> Vec<Crate> {
    let targets = tree.packages.iter().flat_map(|package| &package.targets);
    targets
        .filter(|target| target.is_shipped())
        .filter_map(|target| read_target(tree, target))
        .collect()
}

fn read_target(tree: &Tree, target: &Target) -> Option<Crate> {
    let root = tree.file(&target.source)?;
    let mut reader = Reader {
        tree,
        modules: Vec::new(),
    };
    let folder = folder_of(&root.path).to_owned();
    reader.file(root, None, Vec::new(), &folder);
    Some(Crate {
        name: target.name.replace('-', "_"),
        modules: reader.modules,
    })
}

/// Collects modules, following `mod` declarations into their files.
struct Reader<'a> {
    tree: &'a Tree,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Reads a file as a module whose children have their files in the folder.
    fn file(&mut self, file: &SourceFile, parent: Option<Id>, path: Vec<String>, folder: &str) {
        if let Some(syntax) = file.syntax() {
            self.module(&syntax.items, &file.path, parent, path, folder);
        }
    }

    fn module(
        &mut self,
        items: &[Item],
        file: &str,
        parent: Option<Id>,
        path: Vec<String>,
        folder: &str,
    ) {
        let id = self.modules.len();
        if let (Some(parent), Some(name)) = (parent, path.last()) {
            self.modules[parent].children.insert(name.clone(), id);
        }
        self.modules.push(Module {
            path,
            parent,
            file: file.to_owned(),
            ..Module::default()
        });
        for item in items {
            match item {
                item if attributes(item).is_some_and(is_test_only) => {}
                Item::Mod(child) => self.child(id, child, folder),
                item => self.modules[id].add(item),
            }
        }
    }

    fn child(&mut self, parent: Id, item: &syn::ItemMod, folder: &str) {
        let name = item.ident.to_string();
        let mut path = self.modules[parent].path.clone();
        path.push(name.clone());
        let below = join(folder, &name);
        if let Some((_, items)) = &item.content {
            let file = self.modules[parent].file.clone();
            self.module(items, &file, Some(parent), path, &below);
            return;
        }
        let files = [format!("{below}.rs"), format!("{below}/mod.rs")];
        let found = files.iter().find_map(|path| self.tree.file(path));
        if let Some(file) = found {
            self.file(file, Some(parent), path, &below);
        }
    }
}

impl Module {
    /// Notes the name of an item and everything that it refers to.
    fn add(&mut self, item: &Item) {
        self.items.extend(name_of(item));
        let mut mentions = Mentions::default();
        mentions.visit_item(item);
        self.mentions.append(&mut mentions.found);
        if let Item::Use(item) = item
            && item.leading_colon.is_none()
        {
            leaves(&item.tree, &mut Vec::new(), &mut |path, name, _| {
                self.imports.push(Import { path, name });
            });
        }
    }
}

/// Collects the paths in an item.
#[derive(Default)]
struct Mentions {
    found: Vec<Mention>,
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).is_some_and(is_test_only) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test_only(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            leaves(&item.tree, &mut Vec::new(), &mut |path, _, line| {
                self.found.push(Mention { path, line });
            });
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|it| it.ident.to_string());
            let first = path.segments.first().map(|it| it.ident.span().start().line);
            self.note(names.collect(), first.unwrap_or_default());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.tokens(it.tokens.clone());
        visit::visit_macro(self, it);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}

impl Mentions {
    /// A single name in lower case is a variable, or a function whose import is noted anyway.
    fn note(&mut self, path: Vec<String>, line: usize) {
        let is_type = |name: &String| name.starts_with(char::is_uppercase);
        if path.len() > 1 || path.first().is_some_and(is_type) {
            self.found.push(Mention { path, line });
        }
    }

    /// Collects the paths in tokens that no parser understands, such as a macro's.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_joint = |at: usize| is_mark(tokens.get(at), ':') && is_mark(tokens.get(at + 1), ':');
        let mut at = 0;
        while at < tokens.len() {
            let continues =
                at > 0 && is_mark(tokens.get(at - 1), '.') || at > 1 && is_joint(at - 2);
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if !continues => {
                    let line = first.span().start().line;
                    let mut path = vec![first.to_string()];
                    while is_joint(at + 1)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.note(path, line);
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Shows every leaf of a `use` tree: its path, the name it binds (nothing for a glob), its line.
fn leaves(
    tree: &UseTree,
    before: &mut Vec<String>,
    visit: &mut dyn FnMut(Vec<String>, Option<String>, usize),
) {
    let mut leaf = |ident: &syn::Ident, name: &syn::Ident| {
        let mut path = before.clone();
        let is_self = ident == "self" && !path.is_empty();
        if !is_self {
            path.push(ident.to_string());
        }
        let bound = if is_self && name == "self" {
            path.last().cloned().unwrap_or_default()
        } else {
            name.to_string()
        };
        visit(path, Some(bound), ident.span().start().line);
    };
    match tree {
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(rename) => leaf(&rename.ident, &rename.rename),
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            visit(before.clone(), None, line);
        }
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, visit);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, before, visit);
            }
        }
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::TraitAlias(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> Option<&[Attribute]> {
    Some(match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::ExternCrate(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::ForeignMod(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::TraitAlias(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Union(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => return None,
    })
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
