//! The schemas of a document. A type can have different schemas in requests and in answers: a field
//! with a default is optional in one and required in the other. Such types are defined twice.

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use wingbeat_core::SchemaOf;

/// The place of schemas in a document.
const PLACE: &str = "#/components/schemas/";

/// Collects the schemas of an OpenAPI document.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
    parameters: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|it| {
            it.definitions_path = "/components/schemas".into();
            it.meta_schema = None;
        });
        Self {
            requests: settings.clone().into_generator(),
            answers: settings.clone().for_serialize().into_generator(),
            parameters: settings
                .with(|it| it.inline_subschemas = true)
                .into_generator(),
        }
    }

    /// Returns the schema of a request's body.
    pub(super) fn request(&mut self, of: SchemaOf) -> Value {
        of.schema_in(&mut self.requests).to_value()
    }

    /// Returns the schema of an answer's body.
    pub(super) fn answer(&mut self, of: SchemaOf) -> Value {
        of.schema_in(&mut self.answers).to_value()
    }

    /// Returns the schema of parameters, without references.
    pub(super) fn parameters(&mut self, of: SchemaOf) -> Value {
        of.schema_in(&mut self.parameters).to_value()
    }

    /// Returns all definitions, and the new names for requests of those that differ.
    pub(super) fn finish(mut self) -> (Map<String, Value>, Renamed) {
        let mut all = self.answers.take_definitions(true);
        let requests = self.requests.take_definitions(true);
        let renamed = Renamed::new(&all, &requests);
        for (name, mut schema) in requests {
            renamed.apply(&mut schema);
            let name = renamed.0.get(&name).cloned().unwrap_or(name);
            all.insert(name, schema);
        }
        (all, renamed)
    }
}

/// Types that differ in requests, and their names there.
pub(super) struct Renamed(BTreeMap<String, String>);

impl Renamed {
    fn new(answers: &Map<String, Value>, requests: &Map<String, Value>) -> Self {
        let both = requests.iter().filter_map(|(name, schema)| {
            let other = answers.get(name)?;
            Some((name, schema, schema != other))
        });
        let both: Vec<_> = both.collect();
        let differ = both.iter().filter(|(.., differs)| *differs);
        let mut names: BTreeSet<&str> = differ.map(|(name, ..)| name.as_str()).collect();
        // A type that refers to a differing type differs too.
        loop {
            let refers = |schema: &Value| names.iter().any(|name| refers_to(schema, name));
            let more = both.iter().filter(|(_, schema, _)| refers(schema));
            let more: Vec<_> = more
                .map(|(name, ..)| name.as_str())
                .filter(|name| !names.contains(name))
                .collect();
            if more.is_empty() {
                break;
            }
            names.extend(more);
        }
        let renamed = names.iter().map(|name| {
            let taken = |it: &String| answers.contains_key(it) || requests.contains_key(it);
            let mut new = format!("{name}Request");
            while taken(&new) {
                new.push('_');
            }
            ((*name).to_owned(), new)
        });
        Self(renamed.collect())
    }

    /// Replaces all references in `value` by the new names.
    pub(super) fn apply(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "$ref" => {
                            let name = text.strip_prefix(PLACE);
                            if let Some(new) = name.and_then(|name| self.0.get(name)) {
                                *text = format!("{PLACE}{new}");
                            }
                        }
                        value => self.apply(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            _ => {}
        }
    }
}

fn refers_to(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(text) if key == "$ref" => text.strip_prefix(PLACE) == Some(name),
            value => refers_to(value, name),
        }),
        Value::Array(items) => items.iter().any(|item| refers_to(item, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, schemars::JsonSchema)]
    struct Inner {
        #[serde(default)]
        count: u32,
    }

    #[derive(Serialize, Deserialize, schemars::JsonSchema)]
    struct Outer {
        inner: Inner,
    }

    #[derive(Serialize, Deserialize, schemars::JsonSchema)]
    struct Equal {
        name: String,
    }

    #[test]
    fn types_that_differ_in_requests_are_defined_twice_with_all_that_refer_to_them() {
        let mut schemas = Schemas::new();
        let mut request = schemas.request(SchemaOf::of::<Outer>());
        schemas.request(SchemaOf::of::<Equal>());
        schemas.answer(SchemaOf::of::<Outer>());
        schemas.answer(SchemaOf::of::<Equal>());
        let (all, renamed) = schemas.finish();
        renamed.apply(&mut request);
        assert_eq!(request["$ref"], "#/components/schemas/OuterRequest");
        let names: Vec<_> = all.keys().collect();
        assert_eq!(
            names,
            ["Equal", "Inner", "InnerRequest", "Outer", "OuterRequest"]
        );
        let inner = &all["OuterRequest"]["properties"]["inner"];
        assert_eq!(inner["$ref"], "#/components/schemas/InnerRequest");
        assert_eq!(all["Inner"]["required"][0], "count");
        assert_eq!(all["InnerRequest"]["required"], Value::Null);
    }
}
