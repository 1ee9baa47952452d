//! Imports between siblings, and the circles among them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use super::resolve;
use super::source::{Crate, Id};

/// The children of one module and the imports between them.
#[derive(Default)]
pub(super) struct Siblings {
    names: BTreeMap<Id, String>,
    /// Each import with its first place as `file:line`.
    imports: BTreeMap<(Id, Id), String>,
}

/// Modules that import each other.
pub(super) struct Circle {
    pub(super) members: BTreeSet<String>,
    /// The shortest way around, from its first member by name.
    pub(super) path: Vec<String>,
    /// Where each member of the path imports the next.
    pub(super) places: Vec<String>,
}

/// The imports of a crate, by the module whose children they connect.
pub(super) fn siblings(krate: &Crate) -> BTreeMap<Id, Siblings> {
    let mut all: BTreeMap<Id, Siblings> = BTreeMap::new();
    for (id, module) in krate.modules.iter().enumerate() {
        for child in module.children.values() {
            let names = &mut all.entry(id).or_default().names;
            names.insert(*child, krate.display(*child));
        }
    }
    for (from, module) in krate.modules.iter().enumerate() {
        for mention in &module.mentions {
            for to in resolve::modules(krate, from, &mention.path) {
                let Some((above, from, to)) = collapsed(krate, from, to) else {
                    continue;
                };
                let place = || format!("{}:{}", module.file, mention.line);
                let imports = &mut all.entry(above).or_default().imports;
                imports.entry((from, to)).or_insert_with(place);
            }
        }
    }
    all
}

/// The common ancestor of two modules and its children above each; nothing if one is the
/// ancestor of the other.
fn collapsed(krate: &Crate, from: Id, to: Id) -> Option<(Id, Id, Id)> {
    let (from, to) = (line_of(krate, from), line_of(krate, to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let above = from[..shared].last()?;
    Some((*above, *from.get(shared)?, *to.get(shared)?))
}

/// A module and its ancestors, from the root down.
fn line_of(krate: &Crate, module: Id) -> Vec<Id> {
    let above = |id: &Id| krate.modules[*id].parent;
    let mut line: Vec<Id> = std::iter::successors(Some(module), above).collect();
    line.reverse();
    line
}

impl Siblings {
    /// The circles: groups in which each module reaches every other.
    pub(super) fn circles(&self) -> Vec<Circle> {
        let groups = self.groups().into_iter().filter(|group| group.len() > 1);
        groups.map(|group| self.circle(&group)).collect()
    }

    /// Levels from the lowest up, each module with what it imports.
    pub(super) fn picture(&self) -> String {
        let levels = self.levels();
        let mut shown = String::new();
        for (level, modules) in &levels {
            let modules: Vec<String> = modules
                .iter()
                .map(|id| {
                    let imports: Vec<String> = self.next(*id).map(|it| self.short(it)).collect();
                    match imports.as_slice() {
                        [] => self.short(*id),
                        imports => format!("{} -> {}", self.short(*id), imports.join(", ")),
                    }
                })
                .collect();
            let _ = writeln!(shown, "level {level}: {}", modules.join("; "));
        }
        let _ = writeln!(
            shown,
            "{} modules on {} levels, {} imports, {} circles",
            self.names.len(),
            levels.len(),
            self.imports.len(),
            self.circles().len()
        );
        shown
    }

    /// The level of a group is above those of everything that it imports.
    fn levels(&self) -> BTreeMap<usize, Vec<Id>> {
        let groups = self.groups();
        let mut level: BTreeMap<Id, usize> = self.names.keys().map(|id| (*id, 0)).collect();
        // At most one round a group: a round that changes nothing ends the search.
        for _ in &groups {
            for group in &groups {
                let below = group.iter().flat_map(|id| self.next(*id));
                let outside = below.filter(|id| !group.contains(id));
                let above = outside.map(|id| level[&id] + 1).max().unwrap_or_default();
                level.extend(group.iter().map(|id| (*id, above)));
            }
        }
        let mut levels: BTreeMap<usize, Vec<Id>> = BTreeMap::new();
        for (id, level) in level {
            levels.entry(level).or_default().push(id);
        }
        levels
    }

    /// The strongly connected components.
    fn groups(&self) -> Vec<BTreeSet<Id>> {
        let reached: BTreeMap<Id, BTreeSet<Id>> = self
            .names
            .keys()
            .map(|id| (*id, self.reached(*id)))
            .collect();
        let mut groups: Vec<BTreeSet<Id>> = Vec::new();
        for id in self.names.keys() {
            if groups.iter().any(|group| group.contains(id)) {
                continue;
            }
            let both = |other: &&Id| reached[*other].contains(id);
            let mut group: BTreeSet<Id> = reached[id].iter().filter(both).copied().collect();
            group.insert(*id);
            groups.push(group);
        }
        groups
    }

    /// The names of the siblings, without those of the modules above them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.names.keys().map(|id| self.short(*id))
    }

    /// The imports as names of siblings, each with its first place.
    pub(super) fn imports(&self) -> impl Iterator<Item = (String, String, &str)> {
        self.imports
            .iter()
            .map(|((from, to), place)| (self.short(*from), self.short(*to), place.as_str()))
    }

    fn short(&self, id: Id) -> String {
        let name = &self.names[&id];
        name.rsplit("::").next().unwrap_or(name).to_owned()
    }

    fn next(&self, id: Id) -> impl Iterator<Item = Id> {
        let imports = self.imports.range((id, 0)..=(id, Id::MAX));
        imports.map(|((_, to), _)| *to)
    }

    /// Everything that a module imports, directly or through others.
    fn reached(&self, id: Id) -> BTreeSet<Id> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![id]);
        while let Some(id) = open.pop() {
            open.extend(self.next(id).filter(|next| reached.insert(*next)));
        }
        reached
    }

    fn circle(&self, group: &BTreeSet<Id>) -> Circle {
        let shortest = group.iter().map(|id| self.way_around(*id));
        let shortest = shortest.min_by_key(Vec::len).unwrap_or_default();
        let next = shortest.iter().cycle().skip(1);
        let places = shortest.iter().zip(next);
        let places = places.map(|(from, to)| self.imports[&(*from, *to)].clone());
        let named = |id: &Id| self.names[id].clone();
        Circle {
            members: group.iter().map(named).collect(),
            path: shortest.iter().map(named).collect(),
            places: places.collect(),
        }
    }

    /// The shortest way from a module in a circle back to itself.
    fn way_around(&self, start: Id) -> Vec<Id> {
        let mut before: BTreeMap<Id, Id> = BTreeMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            for next in self.next(id) {
                if before.contains_key(&next) {
                    continue;
                }
                before.insert(next, id);
                if next == start {
                    let back = |id: &Id| before.get(id).copied().filter(|it| *it != start);
                    let mut way: Vec<Id> = std::iter::successors(Some(id), back).collect();
                    way.push(start);
                    way.reverse();
                    return way;
                }
                open.push_back(next);
            }
        }
        Vec::new()
    }
}
