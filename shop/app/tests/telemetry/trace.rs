//! The spans of one trace, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::collector::Told;

pub(crate) struct Trace {
    spans: BTreeMap<String, Told>,
    /// Spans whose id another one has.
    twice: Vec<String>,
}

impl Trace {
    pub(crate) fn of(told: impl Iterator<Item = Told>) -> Self {
        let (mut spans, mut twice) = (BTreeMap::new(), Vec::new());
        for span in told {
            twice.extend(spans.contains_key(&span.id).then(|| span.id.clone()));
            spans.insert(span.id.clone(), span);
        }
        Self { spans, twice }
    }

    fn of_name<'a>(&'a self, service: &'a str, name: &'a str) -> impl Iterator<Item = &'a Told> {
        let spans = self.spans.values();
        spans.filter(move |span| span.service == service && span.name.starts_with(name))
    }

    /// Whether the service told of something whose name begins so.
    pub(crate) fn has(&self, service: &str, name: &str) -> bool {
        self.of_name(service, name).next().is_some()
    }

    /// The first such span, if one was told.
    pub(crate) fn first<'a>(
        &'a self,
        service: &'a str,
        name: &'a str,
        kind: &str,
    ) -> Option<&'a Told> {
        let found = self.of_name(service, name).filter(|span| span.kind == kind);
        found.min_by_key(|span| span.start)
    }

    /// The first such span.
    pub(crate) fn some<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Told {
        let first = self.first(service, name, kind);
        first.unwrap_or_else(|| panic!("{service} tells no {kind} `{name}`: {self:#?}"))
    }

    /// The first such span of an outside request that was answered well.
    pub(crate) fn answered<'a>(&'a self, service: &'a str, name: &'a str) -> &'a Told {
        let is_well = |span: &&Told| span.text("http.response.status_code") == "200";
        let found = self.of_name(service, name).filter(is_well);
        let first = found.min_by_key(|span| span.start);
        first.unwrap_or_else(|| panic!("{service} `{name}` was not answered: {self:#?}"))
    }

    pub(crate) fn span(&self, id: &str) -> &Told {
        let span = self.spans.get(id);
        span.unwrap_or_else(|| panic!("there is no span {id}: {self:#?}"))
    }

    /// The only span of this name.
    pub(crate) fn only<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Told {
        let found = self.of_name(service, name);
        let mut found = found.filter(|span| span.name == name && span.kind == kind);
        let first = found
            .next()
            .unwrap_or_else(|| panic!("no {service} `{name}`: {self:#?}"));
        assert!(
            found.next().is_none(),
            "{service} `{name}` twice: {self:#?}"
        );
        first
    }

    pub(crate) fn parent(&self, span: &Told) -> &Told {
        let parent = self.spans.get(&span.parent);
        parent.unwrap_or_else(|| panic!("nobody told the parent of {span:?}: {self:#?}"))
    }

    pub(crate) fn child(&self, of: &Told, name: &str) -> Option<&Told> {
        let mut spans = self.spans.values();
        spans.find(|span| span.parent == of.id && span.name == name)
    }

    pub(crate) fn is_under(&self, span: &Told, above: &Told) -> bool {
        let mut at = Some(span);
        while let Some(span) = at {
            if span.id == above.id {
                return true;
            }
            at = self.spans.get(&span.parent);
        }
        false
    }

    /// Every span was told once, and is under one whose parent is `root`.
    pub(crate) fn is_tree(&self, root: &str) -> bool {
        let known: BTreeSet<&str> = self.spans.keys().map(String::as_str).collect();
        let has_parent = |span: &Told| span.parent == root || known.contains(&*span.parent);
        self.twice.is_empty() && self.spans.values().all(has_parent)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for span in self.spans.values() {
            let parent = self.spans.get(&span.parent);
            let under = parent.map_or(&*span.parent, |parent| &*parent.name);
            writeln!(
                f,
                "{} {} ({}) {} under {under}",
                span.service, span.name, span.kind, span.id
            )?;
        }
        write!(f, "twice: {:?}", self.twice)
    }
}
