//! Reads a JSON Schema for comparison: resolves references and lists alternatives.

use serde_json::{Map, Value};

/// The keywords of a schema.
pub(super) type Keywords = Map<String, Value>;

/// References to references end somewhere.
const DEPTH_MAX: usize = 64;

/// Keywords that do not restrict a value.
const ANNOTATIONS: [&str; 7] = [
    "$comment",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "title",
];

/// Keywords whose values are schemas by name.
const NAMED: [&str; 3] = ["$defs", "patternProperties", "properties"];

/// A schema whose references are resolved.
pub(super) enum Resolved {
    /// Every value is valid.
    Any,
    /// No value is valid.
    Never,
    /// These keywords restrict the values.
    By(Keywords),
}

/// Resolves a reference at the top of `schema`, and joins `allOf`.
pub(super) fn resolve(root: &Value, schema: &Value) -> Resolved {
    resolve_within(root, schema, DEPTH_MAX)
}

fn resolve_within(root: &Value, schema: &Value, depth: usize) -> Resolved {
    let Value::Object(keywords) = schema else {
        return match schema {
            Value::Bool(false) => Resolved::Never,
            _ => Resolved::Any,
        };
    };
    let mut joined = Keywords::new();
    let parts = keywords.get("allOf").and_then(Value::as_array);
    let target = keywords.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|to| root.pointer(to.trim_start_matches('#')));
    for part in target.into_iter().chain(parts.into_iter().flatten()) {
        match resolve_within(root, part, depth.saturating_sub(1)) {
            _ if depth == 0 => {}
            Resolved::Any => {}
            Resolved::Never => return Resolved::Never,
            Resolved::By(part) => join(&mut joined, part),
        }
    }
    let mut own = keywords.clone();
    own.retain(|key, _| !["allOf", "$ref"].contains(&key.as_str()));
    join(&mut joined, own);
    if joined.keys().any(|key| restricts(key)) {
        Resolved::By(joined)
    } else {
        Resolved::Any
    }
}

fn restricts(keyword: &str) -> bool {
    !ANNOTATIONS.contains(&keyword) && keyword != "$defs" && !keyword.starts_with("x-")
}

/// Adds keywords to a schema, so that both restrict its values.
pub(super) fn join(schema: &mut Keywords, more: Keywords) {
    for (key, value) in more {
        match (schema.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) if key == "properties" => {
                old.extend(new);
            }
            (Some(Value::Array(old)), Value::Array(new)) if key == "required" => {
                old.extend(new);
            }
            (_, value) => {
                schema.insert(key, value);
            }
        }
    }
}

/// Returns schemas of which a value must fit one: branches of `oneOf` and `anyOf`, values of an
/// enumeration, types.
pub(super) fn alternatives(root: &Value, schema: Keywords) -> Vec<Keywords> {
    for key in ["oneOf", "anyOf"] {
        if let Some(branches) = schema.get(key).and_then(Value::as_array) {
            let mut base = schema.clone();
            base.remove(key);
            let all = branches.iter().flat_map(|branch| {
                let mut joined = base.clone();
                match resolve(root, branch) {
                    Resolved::Any => vec![joined],
                    Resolved::Never => Vec::new(),
                    Resolved::By(branch) => {
                        join(&mut joined, branch);
                        alternatives(root, joined)
                    }
                }
            });
            return all.collect();
        }
    }
    let each = |key: &str, as_key: &str, values: &[Value]| {
        let one = |value: &Value| {
            let mut one = schema.clone();
            one.remove(key);
            one.insert(as_key.into(), value.clone());
            one
        };
        values.iter().map(one).collect()
    };
    if let Some(Value::Array(values)) = schema.get("enum") {
        return each("enum", "const", values);
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        return each("type", "type", types);
    }
    vec![schema]
}

/// Returns the JSON type of the values.
pub(super) fn type_of(schema: &Keywords) -> Option<&str> {
    let of_const = schema.get("const").map(|value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    });
    of_const.or_else(|| schema.get("type")?.as_str())
}

/// Returns the properties of an object.
pub(super) fn properties(schema: &Keywords) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

/// Returns whether an object always has this property.
pub(super) fn requires(schema: &Keywords, property: &str) -> bool {
    required(schema).any(|it| it == property)
}

/// Returns the properties that an object always has.
pub(super) fn required(schema: &Keywords) -> impl Iterator<Item = &str> {
    let required = schema.get("required").and_then(Value::as_array);
    required.into_iter().flatten().filter_map(Value::as_str)
}

/// Returns the name of an alternative: the tag of an enum's variant, or the type of its values.
pub(super) fn label(schema: &Keywords) -> String {
    if let Some(value) = schema.get("const") {
        return value.as_str().map_or(value.to_string(), str::to_owned);
    }
    if let Some(tag) = tag(schema) {
        return tag.into();
    }
    let mut properties = properties(schema);
    match (properties.next(), properties.next()) {
        (Some((only, _)), None) if requires(schema, only) => only.clone(),
        _ => type_of(schema).unwrap_or("any").into(),
    }
}

/// Returns whether a property of an object names the variant of an enum.
pub(super) fn is_tagged(schema: &Keywords) -> bool {
    tag(schema).is_some()
}

fn tag(schema: &Keywords) -> Option<&str> {
    properties(schema).find_map(|(_, value)| value.get("const")?.as_str())
}

/// Returns a schema without annotations and with references replaced by their targets, so that two
/// schemas of the same values are equal although types or comments were renamed.
pub(super) fn canonical(root: &Value) -> Value {
    expand(root, root, &mut Vec::new())
}

fn expand<'a>(root: &'a Value, schema: &'a Value, above: &mut Vec<&'a str>) -> Value {
    match schema {
        Value::Object(keywords) => {
            let mut all = Keywords::new();
            if let Some(to) = keywords.get("$ref").and_then(Value::as_str) {
                if let Some(depth) = above.iter().rev().position(|it| *it == to) {
                    all.insert("$ref".into(), depth.into());
                } else if let Some(target) = root.pointer(to.trim_start_matches('#')) {
                    above.push(to);
                    if let Value::Object(target) = expand(root, target, above) {
                        all.extend(target);
                    }
                    above.pop();
                }
            }
            let own = keywords
                .iter()
                .filter(|(key, _)| restricts(key) && *key != "$ref");
            for (key, value) in own {
                let value = match value {
                    Value::Object(named) if NAMED.contains(&key.as_str()) => {
                        let each = named.iter();
                        let each = each.map(|(name, it)| (name.clone(), expand(root, it, above)));
                        Value::Object(each.collect())
                    }
                    value if ["const", "enum"].contains(&key.as_str()) => value.clone(),
                    value => expand(root, value, above),
                };
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| expand(root, item, above));
            Value::Array(items.collect())
        }
        value => value.clone(),
    }
}
