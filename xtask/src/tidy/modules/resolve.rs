//! Follows a path to the modules it reaches, as the compiler would, through `use` and `pub use`.

use std::collections::BTreeSet;

use super::source::{Crate, Id, Import};

/// Returns every module on the way of a path: those it names, those that re-export, and the one
/// that defines the item. Paths into other crates reach nothing.
pub(super) fn modules(krate: &Crate, from: Id, path: &[String]) -> BTreeSet<Id> {
    let mut search = Search {
        krate,
        touched: BTreeSet::new(),
        under_way: BTreeSet::new(),
    };
    search.path(from, path);
    search.touched
}

/// The end of a path.
enum End {
    Module(Id),
    /// An item, or a part of one.
    Item,
    /// Another crate, or nothing we know.
    Unknown,
}

struct Search<'a> {
    krate: &'a Crate,
    touched: BTreeSet<Id>,
    /// Guards against `use` items that lead to each other.
    under_way: BTreeSet<(Id, String)>,
}

impl Search<'_> {
    fn path(&mut self, from: Id, path: &[String]) -> End {
        let Some((first, rest)) = path.split_first() else {
            return End::Unknown;
        };
        let start = match first.as_str() {
            "crate" => Some(0),
            "self" => Some(from),
            "super" => self.krate.modules[from].parent,
            _ => None,
        };
        let end = match start {
            Some(module) => self.touch(module),
            None => self.name(from, first),
        };
        rest.iter().fold(end, |end, name| match end {
            End::Module(module) if name == "super" => match self.krate.modules[module].parent {
                Some(parent) => self.touch(parent),
                None => End::Unknown,
            },
            End::Module(module) => self.name(module, name),
            end => end,
        })
    }

    fn touch(&mut self, module: Id) -> End {
        self.touched.insert(module);
        End::Module(module)
    }

    /// Looks a name up in a module: its own children and items, then its imports, then globs.
    fn name(&mut self, module: Id, name: &str) -> End {
        let krate = self.krate;
        let here = &krate.modules[module];
        if let Some(child) = here.children.get(name) {
            return self.touch(*child);
        }
        if here.items.contains(name) {
            self.touched.insert(module);
            return End::Item;
        }
        if !self.under_way.insert((module, name.to_owned())) {
            return End::Unknown;
        }
        let end = self.imported(module, &here.imports, name);
        self.under_way.remove(&(module, name.to_owned()));
        end
    }

    fn imported(&mut self, module: Id, imports: &[Import], name: &str) -> End {
        let binds = |import: &&Import| import.name.as_deref() == Some(name);
        if let Some(import) = imports.iter().find(binds) {
            return self.path(module, &import.path);
        }
        for glob in imports.iter().filter(|import| import.name.is_none()) {
            let before = self.touched.clone();
            if let End::Module(from) = self.path(module, &glob.path)
                && from != module
            {
                match self.name(from, name) {
                    End::Unknown => {}
                    end => return end,
                }
            }
            self.touched = before;
        }
        End::Unknown
    }
}
