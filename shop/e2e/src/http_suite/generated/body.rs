//! Bodies from JSON schemas.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::text;

/// Makes values of the schemas of a document.
pub(super) struct Bodies<'a> {
    pub(super) document: &'a Value,
}

impl<'a> Bodies<'a> {
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.document.pointer(reference.trim_start_matches('#'));
            return self.resolved(target.expect("references resolve"));
        }
        // An optional part: `null` is the last choice.
        let any = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        any.map_or(schema, |any| self.resolved(&any[0]))
    }

    /// Makes a value that fits a schema, as far as a schema says.
    pub(super) fn valid(&self, schema: &'a Value, random: &mut Rng) -> Value {
        let schema = self.resolved(schema);
        if let Some(choices) = schema["enum"].as_array() {
            return choices[random.usize(..choices.len())].clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.object(schema, random),
            Some("array") => {
                let fewest = schema["minItems"].as_u64().unwrap_or(0);
                let items = (0..fewest).map(|_| self.valid(&schema["items"], random));
                items.collect()
            }
            Some("string") => self.string(schema, random),
            Some("integer" | "number") => {
                let least = schema["minimum"].as_i64().unwrap_or(1);
                json!(least.max(1) + random.i64(..3))
            }
            Some("boolean") => json!(random.bool()),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &'a Value, random: &mut Rng) -> Value {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|all| all.contains(&json!(name)));
        let fields = schema["properties"].as_object().into_iter().flatten();
        let mut object = Map::new();
        for (name, field) in fields {
            // The shop waits for the copy of a promo, which no test needs often.
            let wanted = match name.as_str() {
                "promo_code" => random.usize(..40) == 0,
                _ => random.usize(..3) == 0,
            };
            if is_required(name) || wanted {
                object.insert(name.clone(), self.named(name, field, random));
            }
        }
        Value::Object(object)
    }

    /// Makes the value of a field whose name says more than its schema.
    fn named(&self, name: &str, schema: &'a Value, random: &mut Rng) -> Value {
        match name {
            "email" => json!(format!("gen{}@b.example", random.u32(..1_000))),
            "password" | "new" | "current" => json!("a password of a run"),
            "sku" => json!("WB-BELL-01"),
            "price" => json!({"amount_minor": 499, "currency": "EUR"}),
            "delta" => json!(random.i64(1..5)),
            _ => self.valid(schema, random),
        }
    }

    fn string(&self, schema: &Value, random: &mut Rng) -> Value {
        let shortest = schema["minLength"].as_u64().unwrap_or(1).max(1);
        let longest = schema["maxLength"].as_u64().unwrap_or(20);
        let bounds = [shortest, longest.min(shortest + 5), longest];
        let length = bounds[random.usize(..bounds.len())];
        json!("x".repeat(usize::try_from(length).unwrap_or(1)))
    }

    /// Violates a schema in one place of a valid value.
    pub(super) fn violated(
        &self,
        schema: &'a Value,
        mut value: Value,
        random: &mut Rng,
    ) -> Vec<u8> {
        self.violate(self.resolved(schema), &mut value, random);
        value.to_string().into_bytes()
    }

    fn violate(&self, schema: &'a Value, value: &mut Value, random: &mut Rng) {
        match value {
            Value::Object(fields) if !fields.is_empty() => match random.usize(..6) {
                0 => {
                    let name = text::field(random);
                    fields.insert(name, json!(1));
                }
                1 => {
                    let name = nth_name(fields, random);
                    fields.remove(&name);
                }
                _ => {
                    let name = nth_name(fields, random);
                    let inner = self.resolved(&schema["properties"][&name]);
                    if let Some(field) = fields.get_mut(&name) {
                        self.violate(inner, field, random);
                        // So many shoppers at once take longer than a slow machine may.
                        let most = inner["maximum"].as_i64();
                        if name == "count" && most.is_some() && field.as_i64() == most {
                            *field = json!(2);
                        }
                    }
                }
            },
            Value::Array(items) if !items.is_empty() && random.bool() => {
                let inner = self.resolved(&schema["items"]);
                self.violate(inner, &mut items[0], random);
            }
            Value::Array(items) => {
                let one = items.first().cloned().unwrap_or(Value::Null);
                *items = vec![one; random.usize(..60)];
            }
            Value::String(_) if random.usize(..4) > 0 => *value = json!(text::field(random)),
            Value::Number(_) if random.usize(..4) > 0 => *value = number(schema, random),
            _ => *value = other(random),
        }
    }
}

fn nth_name(fields: &Map<String, Value>, random: &mut Rng) -> String {
    let mut names = fields.keys();
    let name = names.nth(random.usize(..fields.len()));
    name.cloned().unwrap_or_default()
}

/// A number at or beyond a bound.
fn number(schema: &Value, random: &mut Rng) -> Value {
    let least = schema["minimum"].as_i64().unwrap_or(0);
    let most = schema["maximum"].as_i64().unwrap_or(i64::from(u32::MAX));
    let numbers = [
        json!(least - 1),
        json!(least),
        json!(most),
        json!(most.saturating_add(1)),
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
    ];
    numbers[random.usize(..numbers.len())].clone()
}

/// A value of any type.
fn other(random: &mut Rng) -> Value {
    let values = [
        Value::Null,
        json!(true),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!([["\0"]]),
    ];
    values[random.usize(..values.len())].clone()
}
