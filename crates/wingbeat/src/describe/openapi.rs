//! OpenAPI 3.1: the HTTP routes of a system.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::schemas::{Renamed, Schemas};
use super::{Answer, Info, Operation, ProblemCase, Security, System};

/// Returns the document.
pub(super) fn document(system: &System, info: &Info) -> Value {
    let mut document = Document::new();
    for service in &system.services {
        for operation in &service.operations {
            document.add(operation, service.name.as_str());
        }
    }
    for operation in &system.operations {
        document.add(operation, &info.title);
    }
    document.finish(info)
}

struct Document {
    schemas: Schemas,
    paths: BTreeMap<String, Map<String, Value>>,
    tags: BTreeSet<String>,
    ids: BTreeSet<String>,
    security: BTreeSet<Security>,
    problem: Option<Value>,
}

impl Document {
    fn new() -> Self {
        Self {
            schemas: Schemas::new(),
            paths: BTreeMap::new(),
            tags: BTreeSet::new(),
            ids: BTreeSet::new(),
            security: BTreeSet::new(),
            problem: None,
        }
    }

    fn add(&mut self, operation: &Operation, owner: &str) {
        let tag = operation.tag.as_deref().unwrap_or(owner);
        self.tags.insert(tag.into());
        if let Some(problem) = operation.problem {
            self.problem = Some(self.schemas.answer(problem));
        }
        let mut entry = Map::new();
        entry.insert("operationId".into(), self.id(operation).into());
        entry.insert("tags".into(), json!([tag]));
        for (name, text) in [
            ("summary", &operation.summary),
            ("description", &operation.description),
        ] {
            if !text.is_empty() {
                entry.insert(name.into(), text.as_str().into());
            }
        }
        let parameters = self.parameters(operation);
        if !parameters.is_empty() {
            entry.insert("parameters".into(), parameters.into());
        }
        if let Some(body) = operation.request.body {
            let content = json!({"application/json": {"schema": self.schemas.request(body)}});
            entry.insert(
                "requestBody".into(),
                json!({"required": true, "content": content}),
            );
        }
        let ways = &operation.request.security;
        self.security.extend(ways);
        if !ways.is_empty() {
            let ways = ways.iter().map(|way| json!({scheme(*way).0: []}));
            entry.insert("security".into(), ways.collect());
        }
        entry.insert("responses".into(), self.responses(operation).into());
        let method = operation.method.as_str().to_lowercase();
        let path = operation.path.replace("{*", "{");
        let methods = self.paths.entry(path).or_default();
        methods.insert(method, entry.into());
    }

    /// Returns the operation's id, with a number if another operation has the same id.
    fn id(&mut self, operation: &Operation) -> String {
        let id = operation.id();
        let mut unique = id.clone();
        let mut number = 1;
        while !self.ids.insert(unique.clone()) {
            number += 1;
            unique = format!("{id}_{number}");
        }
        unique
    }

    fn parameters(&mut self, operation: &Operation) -> Vec<Value> {
        let request = &operation.request;
        let path = request.path.map(|path| self.schemas.parameters(path));
        let in_path = operation.parameters().enumerate().map(|(at, name)| {
            let schema = path
                .as_ref()
                .map_or_else(|| json!({"type": "string"}), |path| part(path, at, name));
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        });
        let mut all: Vec<Value> = in_path.collect();
        for query in &request.queries {
            let query = self.schemas.parameters(*query);
            all.extend(in_query(&query));
        }
        all.extend(request.headers.iter().map(|header| {
            json!({
                "name": header.name,
                "in": "header",
                "required": header.required,
                "description": header.description,
                "schema": {"type": "string"},
            })
        }));
        all
    }

    fn responses(&mut self, operation: &Operation) -> Map<String, Value> {
        let mut responses = Map::new();
        for answer in &operation.answers {
            let entry = responses
                .entry(answer.status.to_string())
                .or_insert_with(|| json!({"description": phrase(answer.status)}));
            if let Some(media_type) = answer.media_type {
                let content = self.content(answer);
                entry["content"][media_type] = content;
            }
        }
        let mut by_status = BTreeMap::<u16, Vec<&ProblemCase>>::new();
        for problem in &operation.request.problems {
            by_status.entry(problem.status).or_default().push(problem);
        }
        for (status, cases) in by_status {
            let content = self.problem.as_ref().map(problem_content);
            responses.insert(
                status.to_string(),
                json!({"description": explained(&cases), "content": content}),
            );
        }
        if operation.problem.is_some() {
            let any = json!({"$ref": "#/components/responses/Problem"});
            responses.insert("default".into(), any);
        }
        responses
    }

    fn content(&mut self, answer: &Answer) -> Value {
        let schema = answer.schema.map(|schema| self.schemas.answer(schema));
        json!({"schema": schema.unwrap_or_else(|| json!({"type": "string"}))})
    }

    fn finish(self, info: &Info) -> Value {
        let (schemas, renamed) = self.schemas.finish();
        let mut paths = self.paths;
        for methods in paths.values_mut() {
            methods.values_mut().for_each(|it| rename(it, &renamed));
        }
        let responses = self.problem.as_ref().map(|problem| {
            let description = "Any other problem (RFC 9457).";
            json!({"Problem": {"description": description, "content": problem_content(problem)}})
        });
        let schemes: Map<_, _> = self.security.into_iter().map(scheme).collect();
        let tags = self.tags.into_iter().map(|tag| json!({"name": tag}));
        let mut head = json!({"title": info.title, "version": info.version});
        if !info.description.is_empty() {
            head["description"] = info.description.as_str().into();
        }
        json!({
            "openapi": "3.1.0",
            "info": head,
            "tags": tags.collect::<Vec<_>>(),
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": responses.unwrap_or_else(|| json!({})),
                "securitySchemes": schemes,
            },
        })
    }
}

/// Renames schemas in the body of a request: only there an operation refers to schemas of requests.
fn rename(operation: &mut Value, renamed: &Renamed) {
    if let Some(body) = operation.get_mut("requestBody") {
        renamed.apply(body);
    }
}

/// Returns the schema of a path parameter, by its name or its position.
fn part(path: &Value, at: usize, name: &str) -> Value {
    let by_name = path["properties"].get(name);
    let in_order = path["prefixItems"].get(at);
    by_name.or(in_order).unwrap_or(path).clone()
}

/// Returns the fields of a query as parameters.
fn in_query(query: &Value) -> Vec<Value> {
    let required = query["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    let fields = query["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let mut parameter = json!({"name": name, "in": "query", "required": is_required(name)});
        let map = schema.as_object_mut();
        if let Some(text) = map.and_then(|map| map.remove("description")) {
            parameter["description"] = text;
        }
        parameter["schema"] = without_null(schema);
        parameter
    };
    fields.map(parameter).collect()
}

/// Removes `null` from a schema: parameters are absent instead.
fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    schema
}

fn phrase(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("An answer")
}

fn problem_content(schema: &Value) -> Value {
    json!({"application/problem+json": {"schema": schema}})
}

/// Describes the problems that share a status.
fn explained(cases: &[&ProblemCase]) -> String {
    let line = |case: &&ProblemCase| format!("`{}`: {}", case.code, case.description);
    match cases {
        [only] => line(only),
        several => {
            let lines: Vec<_> = several
                .iter()
                .map(|case| format!("- {}", line(case)))
                .collect();
            lines.join("\n")
        }
    }
}

fn scheme(way: Security) -> (String, Value) {
    match way {
        Security::Bearer => ("bearer".into(), json!({"type": "http", "scheme": "bearer"})),
        Security::Cookie(name) => (
            "cookie".into(),
            json!({"type": "apiKey", "in": "cookie", "name": name}),
        ),
    }
}
