//! The spans of one trace, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::collector::Exported;

pub(crate) struct Trace {
    spans: BTreeMap<String, Exported>,
    /// Ids that several spans have.
    repeated: Vec<String>,
}

impl Trace {
    pub(crate) fn of(exported: impl Iterator<Item = Exported>) -> Self {
        let (mut spans, mut repeated) = (BTreeMap::new(), Vec::new());
        for span in exported {
            repeated.extend(spans.contains_key(&span.id).then(|| span.id.clone()));
            spans.insert(span.id.clone(), span);
        }
        Self { spans, repeated }
    }

    fn of_name<'a>(
        &'a self,
        service: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Exported> {
        let spans = self.spans.values();
        spans.filter(move |span| span.service == service && span.name.starts_with(name))
    }

    /// Returns whether the service exported a span whose name begins so.
    pub(crate) fn has(&self, service: &str, name: &str) -> bool {
        self.of_name(service, name).next().is_some()
    }

    /// The first such span, if there is one.
    pub(crate) fn first<'a>(
        &'a self,
        service: &'a str,
        name: &'a str,
        kind: &str,
    ) -> Option<&'a Exported> {
        let found = self.of_name(service, name).filter(|span| span.kind == kind);
        found.min_by_key(|span| span.start)
    }

    /// The first such span.
    pub(crate) fn some<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Exported {
        let first = self.first(service, name, kind);
        first.unwrap_or_else(|| panic!("{service} has no {kind} span `{name}`: {self:#?}"))
    }

    /// The first such span of an outside request that was answered with 200.
    pub(crate) fn answered<'a>(&'a self, service: &'a str, name: &'a str) -> &'a Exported {
        let is_ok = |span: &&Exported| span.text("http.response.status_code") == "200";
        let found = self.of_name(service, name).filter(is_ok);
        let first = found.min_by_key(|span| span.start);
        first.unwrap_or_else(|| panic!("{service} has no answered span `{name}`: {self:#?}"))
    }

    pub(crate) fn span(&self, id: &str) -> &Exported {
        let span = self.spans.get(id);
        span.unwrap_or_else(|| panic!("there is no span {id}: {self:#?}"))
    }

    /// The only span of this name.
    pub(crate) fn only<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Exported {
        let found = self.of_name(service, name);
        let mut found = found.filter(|span| span.name == name && span.kind == kind);
        let first = found
            .next()
            .unwrap_or_else(|| panic!("no {service} `{name}`: {self:#?}"));
        assert!(
            found.next().is_none(),
            "{service} `{name}` repeated: {self:#?}"
        );
        first
    }

    pub(crate) fn parent(&self, span: &Exported) -> &Exported {
        let parent = self.spans.get(&span.parent);
        parent.unwrap_or_else(|| panic!("the parent is missing of {span:?}: {self:#?}"))
    }

    pub(crate) fn child(&self, of: &Exported, name: &str) -> Option<&Exported> {
        let mut spans = self.spans.values();
        spans.find(|span| span.parent == of.id && span.name == name)
    }

    pub(crate) fn is_under(&self, span: &Exported, above: &Exported) -> bool {
        let mut at = Some(span);
        while let Some(span) = at {
            if span.id == above.id {
                return true;
            }
            at = self.spans.get(&span.parent);
        }
        false
    }

    /// Returns whether every span was exported once and descends from `root`.
    pub(crate) fn is_tree(&self, root: &str) -> bool {
        let known: BTreeSet<&str> = self.spans.keys().map(String::as_str).collect();
        let has_parent = |span: &Exported| span.parent == root || known.contains(&*span.parent);
        self.repeated.is_empty() && self.spans.values().all(has_parent)
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
        write!(f, "repeated: {:?}", self.repeated)
    }
}
