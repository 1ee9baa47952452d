//! Compares each response that a test gets with the OpenAPI document of the shop that sent it: the
//! status is listed, and the body fits the schema.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::raw::{self, Reply};

/// The document. All shops of a test program serve the same one.
static DOCUMENT: OnceCell<Value> = OnceCell::const_new();

/// Statuses that any route may answer with before it is reached.
const OF_ALL: [u16; 5] = [400, 404, 405, 431, 503];

/// Panics if the document of the shop at `address` does not describe this answer.
pub(super) async fn check(address: SocketAddr, method: &str, path: &str, reply: &Reply) {
    let document = DOCUMENT.get_or_init(async || {
        let document = raw::ask(address, "GET", "/openapi.json", &[], "").await;
        document.json()
    });
    let document = document.await;
    let path = path.split('?').next().unwrap_or(path);
    let Some(operation) = operation(document, method, path) else {
        return;
    };
    let status = reply.status.to_string();
    let Some(response) = operation["responses"].get(&status) else {
        let is_of_all = OF_ALL.contains(&reply.status);
        assert!(
            is_of_all,
            "{method} {path} is not documented to answer {reply:?}"
        );
        return;
    };
    let kind = reply.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(content) = response.get("content") else {
        assert_eq!(kind, "", "{method} {path}: {reply:?}");
        return;
    };
    let schema = content.get(kind).map(|it| &it["schema"]);
    let schema = schema.unwrap_or_else(|| panic!("{method} {path} is not documented as {kind}"));
    if kind.ends_with("json") {
        let misfit = misfit(document, schema, &reply.json(), "");
        assert_eq!(misfit, None, "{method} {path}: {reply:?}");
    }
}

/// The operation of this path; the one with fewest parameters.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let segments: Vec<&str> = path.split('/').collect();
    let paths = document["paths"].as_object()?;
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let mut pairs = parts.iter().zip(&segments);
        parts.len() == segments.len()
            && pairs.all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let (_, methods) = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    methods.get(method.to_lowercase())
}

/// Returns the place at which a value violates a schema, and the reason.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return misfit(document, target.expect("references resolve"), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let fits = |one: &Value| misfit(document, one, value, at).is_none();
        return (!any.iter().any(fits)).then(|| format!("{at}: {value} fits none of {any:?}"));
    }
    let of_type = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => value.is_null(),
    };
    let right = match &schema["type"] {
        Value::Null => true,
        Value::Array(types) => types.iter().any(of_type),
        kind => of_type(kind),
    };
    let listed = schema["enum"].as_array();
    let listed = listed.is_none_or(|all| all.contains(value));
    let same = schema.get("const").is_none_or(|it| it == value);
    if !(right && listed && same) {
        return Some(format!("{at}: {value} is not {schema}"));
    }
    let in_object = value.as_object().and_then(|fields| {
        let required = schema["required"].as_array().into_iter().flatten();
        let mut missing = required.filter_map(|it| it.as_str());
        if let Some(name) = missing.find(|name| !fields.contains_key(*name)) {
            return Some(format!("{at}: {name} is missing"));
        }
        fields.iter().find_map(|(name, field)| {
            let at = format!("{at}/{name}");
            match schema["properties"].get(name) {
                Some(schema) => misfit(document, schema, field, &at),
                None if schema["properties"].is_object() => Some(format!("{at} is undocumented")),
                None => None,
            }
        })
    });
    in_object.or_else(|| {
        let mut items = value.as_array()?.iter();
        items.find_map(|item| misfit(document, schema.get("items")?, item, at))
    })
}
