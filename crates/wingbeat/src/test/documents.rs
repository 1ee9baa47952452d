//! Checks of OpenAPI and AsyncAPI documents: required fields, unique names, and references that
//! resolve.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Returns the faults of an OpenAPI 3.1 document; none if it is well formed.
///
/// ```
/// use wingbeat::describe::{Info, openapi};
/// use wingbeat::http::{Path, Problem, Reply, Routes, get, no_content};
/// use wingbeat::{App, Service};
/// use wingbeat::test::documents::openapi_faults;
///
/// async fn room(_: Path<String>) -> Result<Reply, Problem> {
///     Ok(no_content())
/// }
///
/// let routes = Routes::new().route("/rooms/{name}", get(room).answers::<()>(204));
/// let app = App::new().service(Service::new("rooms").routes(routes));
/// assert!(openapi_faults(&openapi(&app, &Info::new("The hotel", "1"))).is_empty());
/// ```
#[must_use]
pub fn openapi_faults(document: &Value) -> Vec<String> {
    let mut faults = Faults::of(document);
    faults.require(
        document["openapi"]
            .as_str()
            .is_some_and(|it| it.starts_with("3.1.")),
        "`openapi` must be 3.1",
    );
    let mut ids = BTreeSet::new();
    for (path, methods) in entries(&document["paths"]) {
        faults.require(
            path.starts_with('/'),
            &format!("{path} must begin with a slash"),
        );
        for (method, operation) in entries(methods) {
            let at = format!("{method} {path}");
            let id = operation["operationId"].as_str();
            faults.require(
                id.is_some_and(|id| ids.insert(id)),
                &format!("{at} needs a unique operationId"),
            );
            faults.responses(&at, &operation["responses"]);
            faults.parameters(&at, path, &operation["parameters"]);
            if let Some(body) = operation.get("requestBody") {
                faults.require(
                    body["content"].is_object(),
                    &format!("the body of {at} needs a content"),
                );
            }
            for way in operation["security"].as_array().into_iter().flatten() {
                for (name, _) in entries(way) {
                    let scheme = &document["components"]["securitySchemes"][name];
                    faults.require(
                        scheme["type"].is_string(),
                        &format!("the security scheme {name} of {at} is not described"),
                    );
                }
            }
        }
    }
    faults.found
}

/// Returns the faults of an AsyncAPI 3.0 document; none if it is well formed.
#[must_use]
pub fn asyncapi_faults(document: &Value) -> Vec<String> {
    let mut faults = Faults::of(document);
    faults.require(document["asyncapi"] == "3.0.0", "`asyncapi` must be 3.0.0");
    for (name, channel) in entries(&document["channels"]) {
        faults.require(
            channel["address"].is_string(),
            &format!("the channel {name} needs an address"),
        );
        faults.require(
            channel["messages"].is_object(),
            &format!("the channel {name} needs messages"),
        );
    }
    for (name, operation) in entries(&document["operations"]) {
        let action = operation["action"].as_str();
        faults.require(
            matches!(action, Some("send" | "receive")),
            &format!("the action of {name} must be send or receive"),
        );
        faults.require(
            operation["channel"]["$ref"].is_string(),
            &format!("the operation {name} needs a channel"),
        );
    }
    for (name, message) in entries(&document["components"]["messages"]) {
        faults.require(
            message.get("payload").is_some(),
            &format!("the message {name} needs a payload"),
        );
    }
    faults.found
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The faults found so far.
struct Faults {
    found: Vec<String>,
}

impl Faults {
    /// Checks the requirements of both kinds of documents.
    fn of(document: &Value) -> Self {
        let mut faults = Self { found: Vec::new() };
        for field in ["title", "version"] {
            let text = document["info"][field].as_str();
            faults.require(
                text.is_some_and(|it| !it.is_empty()),
                &format!("`info` needs a {field}"),
            );
        }
        faults.references(document, document);
        faults
    }

    /// Records a fault unless the requirement is met.
    fn require(&mut self, is_met: bool, fault: &str) {
        if !is_met {
            self.found.push(fault.into());
        }
    }

    /// Checks that every reference resolves within the document.
    fn references(&mut self, document: &Value, value: &Value) {
        if let Value::Array(items) = value {
            items
                .iter()
                .for_each(|item| self.references(document, item));
        }
        for (key, value) in entries(value) {
            match value {
                Value::String(to) if key == "$ref" => {
                    let pointer = to.strip_prefix('#');
                    let target = pointer.and_then(|pointer| document.pointer(pointer));
                    self.require(
                        target.is_some(),
                        &format!("the reference {to} does not resolve"),
                    );
                }
                value => self.references(document, value),
            }
        }
    }

    fn responses(&mut self, at: &str, responses: &Value) {
        self.require(
            entries(responses).next().is_some(),
            &format!("{at} needs responses"),
        );
        for (status, response) in entries(responses) {
            let described = response["description"].is_string() || response["$ref"].is_string();
            self.require(
                described,
                &format!("the response {status} of {at} needs a description"),
            );
        }
    }

    /// Checks that each parameter is complete, and that the path parameters match the braces of the
    /// path.
    fn parameters(&mut self, at: &str, path: &str, parameters: &Value) {
        let mut in_path = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for parameter in parameters.as_array().into_iter().flatten() {
            let (name, place) = (parameter["name"].as_str(), parameter["in"].as_str());
            let is_unique = name.is_some() && place.is_some() && seen.insert((name, place));
            self.require(
                is_unique,
                &format!("the parameter {name:?} of {at} must be unique"),
            );
            self.require(
                parameter["schema"].is_object(),
                &format!("the parameter {name:?} of {at} needs a schema"),
            );
            if place == Some("path") {
                self.require(
                    parameter["required"] == true,
                    &format!("the path parameter {name:?} of {at} must be required"),
                );
                in_path.extend(name);
            }
        }
        let braces = path
            .split('/')
            .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
        let braces: BTreeSet<_> = braces.collect();
        self.require(
            braces == in_path,
            &format!("the path parameters of {at} must be those of its path"),
        );
    }
}
