//! The part of a route's description that extractors fill in.

use std::any::Any;
use std::sync::Arc;

use wingbeat_core::{HasSchema, SchemaOf};

use super::StoredName;

/// The parts of a request that a route reads, and the problems that it may answer with. Extractors
/// fill it in.
#[derive(Clone, Debug, Default)]
pub struct RequestDescription {
    pub(super) path: Option<SchemaOf>,
    pub(super) queries: Vec<SchemaOf>,
    pub(super) headers: Vec<Field>,
    pub(super) body: Option<SchemaOf>,
    pub(super) security: Vec<Security>,
    pub(super) problems: Vec<ProblemCase>,
    pub(crate) uses: Vec<StoredName>,
    /// The tables that are used, and the rows that they show. The types are erased, since this
    /// module knows no units.
    pub(crate) tables: Vec<Arc<dyn Any + Send + Sync>>,
}

/// A request header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The header's name.
    pub name: &'static str,
    /// Set if a request without it is refused.
    pub required: bool,
    /// Its meaning.
    pub description: String,
}

/// A way to identify the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Security {
    /// A bearer token.
    Bearer,
    /// A cookie of this name.
    Cookie(&'static str),
}

/// A problem that a route may answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemCase {
    /// The HTTP status.
    pub status: u16,
    /// The problem's code.
    pub code: &'static str,
    /// The condition under which it is answered.
    pub description: String,
}

impl RequestDescription {
    /// Reads the path parameters as a `T`: a struct by name, a tuple in order, any other type as
    /// the only parameter.
    pub fn path<T: HasSchema>(&mut self) -> &mut Self {
        self.path = Some(SchemaOf::of::<T>());
        self
    }

    /// Reads or writes this stored data.
    pub fn stored(&mut self, name: StoredName) -> &mut Self {
        self.uses.push(name);
        self
    }

    /// Reads the fields of `T` as query parameters.
    pub fn query<T: HasSchema>(&mut self) -> &mut Self {
        self.queries.push(SchemaOf::of::<T>());
        self
    }

    /// Reads a header.
    pub fn header(
        &mut self,
        name: &'static str,
        required: bool,
        description: impl Into<String>,
    ) -> &mut Self {
        let description = description.into();
        self.headers.push(Field {
            name,
            required,
            description,
        });
        self
    }

    /// Reads the body as a `T` in JSON.
    pub fn json<T: HasSchema>(&mut self) -> &mut Self {
        self.body = Some(SchemaOf::of::<T>());
        self
    }

    /// Requires that the caller is identified in one of these ways.
    pub fn secured(&mut self, ways: &[Security]) -> &mut Self {
        self.security.extend(ways);
        self.security.sort_unstable();
        self.security.dedup();
        self
    }

    /// Adds the problem of cross-site writes. It concerns callers that are identified by a cookie,
    /// which browsers also send with requests of other sites.
    pub(super) fn guard_writes(&mut self) {
        let by_cookie = |way: &Security| matches!(way, Security::Cookie(_));
        if self.security.iter().any(by_cookie) {
            let words = "A page of another site sent the request with the caller's cookie.";
            self.problem(403, "cross_site", words);
        }
    }

    /// Adds a problem. The last description of a problem counts.
    pub fn problem(
        &mut self,
        status: u16,
        code: &'static str,
        description: impl Into<String>,
    ) -> &mut Self {
        self.problems
            .retain(|it| (it.status, it.code) != (status, code));
        self.problems.push(ProblemCase {
            status,
            code,
            description: description.into(),
        });
        self
    }
}
