//! The description of one method of one path.

use http::Method;
use wingbeat_core::SchemaOf;

use super::RequestDescription;
use crate::overload::Priority;

/// A method of a path: its request and its answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Operation {
    /// The HTTP method.
    pub method: Method,
    /// The path, with parameters as `{name}`.
    pub path: String,
    /// A short text.
    pub summary: String,
    /// A longer text, in Markdown.
    pub description: String,
    /// The group in which it is listed; the service's name if `None`.
    pub tag: Option<String>,
    /// The parts of a request that it reads.
    pub request: RequestDescription,
    /// Its priority under [overload](crate::overload).
    pub priority: Priority,
    /// Its successful answers.
    pub answers: Vec<Answer>,
    /// The schema of problems; `None` if errors have another form, for example pages.
    pub problem: Option<SchemaOf>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body; `None` without a body.
    pub media_type: Option<&'static str>,
    /// The schema of the body.
    pub schema: Option<SchemaOf>,
}

impl Operation {
    /// Creates an operation without a path.
    #[must_use]
    pub fn new(method: Method, problem: Option<SchemaOf>) -> Self {
        let priority = if method.is_safe() {
            Priority::High
        } else {
            Priority::Normal
        };
        Self {
            priority,
            method,
            path: String::new(),
            summary: String::new(),
            description: String::new(),
            tag: None,
            request: RequestDescription::default(),
            answers: Vec::new(),
            problem,
        }
    }

    /// Lets extractors describe the parts that they read.
    pub fn reads(&mut self, describe: impl FnOnce(&mut RequestDescription)) {
        describe(&mut self.request);
        if !self.method.is_safe() {
            self.request.guard_writes();
        }
    }

    /// Adds the problem with which requests are refused under overload, if they may be.
    #[cfg(feature = "http")]
    pub(crate) fn may_be_shed(&mut self) {
        if self.priority != Priority::Essential {
            let words = "Too much work waits, or the process runs out of memory or disk space.";
            self.request.problem(503, "overloaded", words);
        }
    }

    /// Returns an id that is unique among all methods and paths, such as `get_api_v1_orders_id`.
    #[must_use]
    pub fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .fold(self.method.as_str().to_lowercase(), |id, word| {
                format!("{id}_{word}")
            })
    }

    /// Returns the names of the path's parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        let segments = self.path.split('/');
        segments.filter_map(|segment| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(name.trim_start_matches('*'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_parameters_come_from_the_path() {
        let mut operation = Operation::new(Method::POST, None);
        operation.path = "/api/v1/subscriptions/{service}/{*name}".into();
        assert_eq!(operation.id(), "post_api_v1_subscriptions_service_name");
        let parameters: Vec<_> = operation.parameters().collect();
        assert_eq!(parameters, ["service", "name"]);
    }
}
