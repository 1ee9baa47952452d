//! Checks one value against a schema.

use serde_json::Value;
use wingbeat_core::MessageType;

use super::files;
use super::schema::{
    Keywords, Resolved, alternatives, label, properties, required, resolve, type_of,
};
use schemars::generate::SchemaSettings;

/// The depth of a value below which nothing is checked: schemas may refer to themselves.
const DEPTH_MAX: usize = 64;

/// Returns the first place at which a body does not fit the schema of its message type, and the
/// reason; `None` if it fits. Formats and patterns of texts are not checked.
pub(crate) fn misfit(of: &MessageType, body: &Value) -> Option<String> {
    let schema = files::whole(SchemaSettings::draft2020_12(), |it| of.schema_in(it));
    let fit = Fit { root: &schema };
    fit.value(&schema, body, "", DEPTH_MAX).err()
}

/// The document in which references are resolved.
struct Fit<'a> {
    root: &'a Value,
}

impl Fit<'_> {
    fn value(&self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        let schema = match resolve(self.root, schema) {
            _ if depth == 0 => return Ok(()),
            Resolved::Any => return Ok(()),
            Resolved::Never => return Err(wrong(at, "is not allowed")),
            Resolved::By(schema) => alternatives(self.root, schema),
        };
        let mut nearest = None;
        for one in &schema {
            let Err(why) = self.one(one, value, at, depth) else {
                return Ok(());
            };
            let is_nearer = !one.contains_key("const") && is_of(one, value);
            let is_nearer = is_nearer && !has_other_tag(one, value);
            if nearest.is_none() && (is_nearer || schema.len() == 1) {
                nearest = Some(why);
            }
        }
        let known: Vec<String> = schema.iter().map(label).take(12).collect();
        let none = || wrong(at, &format!("must be one of: {}", known.join(", ")));
        Err(nearest.unwrap_or_else(none))
    }

    fn one(&self, schema: &Keywords, value: &Value, at: &str, depth: usize) -> Result<(), String> {
        if let Some(wanted) = schema.get("const") {
            return if wanted == value {
                Ok(())
            } else {
                Err(wrong(at, &format!("must be {wanted}")))
            };
        }
        if !is_of(schema, value) {
            let wanted = type_of(schema).unwrap_or("another type");
            return Err(wrong(at, &format!("must be of type {wanted}")));
        }
        limits(schema, value, at)?;
        match value {
            Value::Object(_) => self.object(schema, value, at, depth),
            Value::Array(items) => {
                let prefix = schema.get("prefixItems").and_then(Value::as_array);
                let prefix = prefix.map_or(&[][..], Vec::as_slice);
                for (number, item) in items.iter().enumerate() {
                    let of = prefix.get(number).or_else(|| schema.get("items"));
                    if let Some(of) = of {
                        self.value(of, item, &format!("{at}/{number}"), depth - 1)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn object(
        &self,
        schema: &Keywords,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Result<(), String> {
        if let Some(missing) = required(schema).find(|it| value.get(it).is_none()) {
            return Err(wrong(&format!("{at}/{missing}"), "is missing"));
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{name}");
            let known = properties(schema).find(|(known, _)| *known == name);
            let of = known.map(|(_, of)| of);
            if let Some(of) = of.or_else(|| schema.get("additionalProperties")) {
                self.value(of, value, &at, depth - 1)?;
            }
        }
        Ok(())
    }
}

fn wrong(at: &str, why: &str) -> String {
    let at = if at.is_empty() { "the body" } else { at };
    format!("{at} {why}")
}

/// Returns whether a value has the type of a schema.
fn is_of(schema: &Keywords, value: &Value) -> bool {
    match type_of(schema) {
        None => true,
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(_) => false,
    }
}

/// Returns whether a property of the value names another variant than the schema.
fn has_other_tag(schema: &Keywords, value: &Value) -> bool {
    properties(schema).any(|(name, of)| of.get("const").is_some_and(|tag| value[name] != *tag))
}

/// Checks the limits of numbers, texts and arrays.
fn limits(schema: &Keywords, value: &Value, at: &str) -> Result<(), String> {
    let count = |value: usize| u32::try_from(value).map_or(f64::INFINITY, f64::from);
    let (least, most, size) = match value {
        Value::Number(number) => ("minimum", "maximum", number.as_f64()),
        Value::String(text) => ("minLength", "maxLength", Some(count(text.chars().count()))),
        Value::Array(items) => ("minItems", "maxItems", Some(count(items.len()))),
        _ => return Ok(()),
    };
    let Some(size) = size else { return Ok(()) };
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let outside = [
        (least, limit(least).is_some_and(|limit| size < limit)),
        (most, limit(most).is_some_and(|limit| size > limit)),
    ];
    match outside.iter().find(|(_, is_outside)| *is_outside) {
        Some((name, _)) => Err(wrong(at, &format!("violates {name} {}", schema[*name]))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: &Value) -> Option<String> {
        let schema = json!({
            "type": "object",
            "required": ["order", "lines"],
            "properties": {
                "order": {"type": "integer", "minimum": 0},
                "note": {"type": ["string", "null"], "maxLength": 5},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "paid": {"oneOf": [
                    {"type": "object", "required": ["by", "card"],
                     "properties": {"by": {"const": "card"}, "card": {"type": "string"}}},
                    {"type": "object", "required": ["by"],
                     "properties": {"by": {"const": "cash"}}},
                ]},
                "size": {"enum": ["s", "m"]},
            },
            "$defs": {"Line": {"type": "object", "required": ["sku"],
                "additionalProperties": false,
                "properties": {"sku": {"type": "string"}, "of": {"$ref": "#/$defs/Line"}}}},
        });
        let fit = Fit { root: &schema };
        fit.value(&schema, body, "", DEPTH_MAX).err()
    }

    #[test]
    fn a_body_that_fits_is_accepted() {
        for body in [
            json!({"order": 1, "lines": []}),
            json!({"order": 1, "lines": [{"sku": "a", "of": {"sku": "b"}}], "note": null}),
            json!({"order": 1, "lines": [], "paid": {"by": "cash"}, "size": "m", "more": 1}),
        ] {
            assert_eq!(check(&body), None, "{body}");
        }
    }

    #[test]
    fn the_place_of_a_misfit_is_named() {
        for (body, why) in [
            (json!([]), "the body must be of type object"),
            (json!({"order": 1}), "/lines is missing"),
            (
                json!({"order": "1", "lines": []}),
                "/order must be of type integer",
            ),
            (
                json!({"order": -1, "lines": []}),
                "/order violates minimum 0",
            ),
            (
                json!({"order": 1, "lines": [{"sku": "a", "of": {}}]}),
                "/lines/0/of/sku is missing",
            ),
            (
                json!({"order": 1, "lines": [{"sku": "a", "x": 1}]}),
                "/lines/0/x is not allowed",
            ),
            (
                json!({"order": 1, "lines": [], "note": "too long"}),
                "/note violates maxLength 5",
            ),
            (
                json!({"order": 1, "lines": [], "paid": {"by": "card"}}),
                "/paid/card is missing",
            ),
            (
                json!({"order": 1, "lines": [], "size": "l"}),
                "/size must be one of: s, m",
            ),
        ] {
            assert_eq!(check(&body).as_deref(), Some(why), "{body}");
        }
    }
}
