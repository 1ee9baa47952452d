//! The spans of one trace, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Exported;

/// The spans of one trace, as a tree.
pub struct Trace {
    spans: BTreeMap<String, Exported>,
    /// Ids that several spans have.
    repeated: Vec<String>,
}

impl Trace {
    pub(super) fn of(exported: impl Iterator<Item = Exported>) -> Self {
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

    /// Returns whether the service exported a span whose name begins with `name`.
    #[must_use]
    pub fn has(&self, service: &str, name: &str) -> bool {
        self.of_name(service, name).next().is_some()
    }

    /// Returns the first span of this kind whose name begins with `name`, if there is one.
    #[must_use]
    pub fn first<'a>(
        &'a self,
        service: &'a str,
        name: &'a str,
        kind: &str,
    ) -> Option<&'a Exported> {
        let found = self.of_name(service, name).filter(|span| span.kind == kind);
        found.min_by_key(|span| span.start)
    }

    /// Returns the first span of this kind whose name begins with `name`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn some<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Exported {
        let first = self.first(service, name, kind);
        first.unwrap_or_else(|| panic!("{service} has no {kind} span `{name}`: {self:#?}"))
    }

    /// Returns the first span of a request that was answered with 200 and whose name begins with
    /// `name`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn answered<'a>(&'a self, service: &'a str, name: &'a str) -> &'a Exported {
        let is_ok = |span: &&Exported| span.text("http.response.status_code") == "200";
        let found = self.of_name(service, name).filter(is_ok);
        let first = found.min_by_key(|span| span.start);
        first.unwrap_or_else(|| panic!("{service} has no answered span `{name}`: {self:#?}"))
    }

    /// Returns whether the span with this id was received.
    #[must_use]
    pub fn has_span(&self, id: &str) -> bool {
        self.spans.contains_key(id)
    }

    /// Returns the span with this id.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn span(&self, id: &str) -> &Exported {
        let span = self.spans.get(id);
        span.unwrap_or_else(|| panic!("there is no span {id}: {self:#?}"))
    }

    /// Returns the only span of this name and kind.
    ///
    /// # Panics
    ///
    /// If there is none, or several.
    #[must_use]
    pub fn only<'a>(&'a self, service: &'a str, name: &'a str, kind: &str) -> &'a Exported {
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

    /// Returns the parent of a span.
    ///
    /// # Panics
    ///
    /// If it was not received.
    #[must_use]
    pub fn parent(&self, span: &Exported) -> &Exported {
        let parent = self.spans.get(&span.parent);
        parent.unwrap_or_else(|| panic!("the parent is missing of {span:?}: {self:#?}"))
    }

    /// Returns a child of a span with this name, if there is one.
    #[must_use]
    pub fn child(&self, of: &Exported, name: &str) -> Option<&Exported> {
        let mut spans = self.spans.values();
        spans.find(|span| span.parent == of.id && span.name == name)
    }

    /// Returns whether a span descends from another, or is that one.
    #[must_use]
    pub fn is_under(&self, span: &Exported, above: &Exported) -> bool {
        let mut at = Some(span);
        while let Some(span) = at {
            if span.id == above.id {
                return true;
            }
            at = self.spans.get(&span.parent);
        }
        false
    }

    /// Returns whether every span was exported once and has its parent among them, or the parent
    /// `root`.
    #[must_use]
    pub fn is_tree(&self, root: &str) -> bool {
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
