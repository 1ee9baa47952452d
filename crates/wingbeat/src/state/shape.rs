//! Numbers that identify the shape of a stored state.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Keywords of a schema that say nothing about the fields and their types.
const ANNOTATIONS: [&str; 8] = [
    "$comment",
    "$schema",
    "default",
    "deprecated",
    "description",
    "examples",
    "required",
    "title",
];
/// Keywords whose values are schemas by name.
const NAMED: [&str; 3] = ["$defs", "patternProperties", "properties"];

/// The shapes of the types that this process has used.
static SHAPES: RwLock<BTreeMap<TypeId, u32>> = RwLock::new(BTreeMap::new());

/// Returns a number that changes with the JSON Schema of `S`, the number of forms of its events and
/// the version of the code that folds them. Computes it once for each type.
pub(super) fn shape<S: JsonSchema + 'static>(version: u32, forms: usize) -> u32 {
    let of = TypeId::of::<S>();
    let known = SHAPES.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(shape) = known.get(&of) {
        return *shape;
    }
    drop(known);
    let shape = compute::<S>(version, forms);
    let mut known = SHAPES.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(of, shape);
    shape
}

fn compute<S: JsonSchema>(version: u32, forms: usize) -> u32 {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<S>().to_value();
    let mut text = format!("{version} {forms} ");
    write_schema(&schema, &mut text);
    let digest = Sha256::digest(text);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Writes a schema without annotations, in an order that does not depend on features of the build.
fn write_schema(schema: &Value, text: &mut String) {
    match schema {
        Value::Object(keywords) => {
            let keywords: BTreeMap<_, _> = keywords.iter().collect();
            text.push('{');
            for (keyword, value) in keywords {
                let is_annotation =
                    keyword.starts_with("x-") || ANNOTATIONS.contains(&keyword.as_str());
                match value {
                    _ if is_annotation => {}
                    Value::Object(schemas) if NAMED.contains(&keyword.as_str()) => {
                        let schemas: BTreeMap<_, _> = schemas.iter().collect();
                        let _ = write!(text, "{keyword}{{");
                        for (name, schema) in schemas {
                            let _ = write!(text, "{name:?}");
                            write_schema(schema, text);
                        }
                        text.push('}');
                    }
                    _ => {
                        let _ = write!(text, "{keyword}:");
                        write_schema(value, text);
                    }
                }
            }
            text.push('}');
        }
        Value::Array(schemas) => {
            text.push('[');
            for schema in schemas {
                write_schema(schema, text);
                text.push(',');
            }
            text.push(']');
        }
        other => {
            let _ = write!(text, "{other} ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! shapes {
        ($($(#[$about:meta])* $name:ident { $($field:tt)* })*) => {
            $(
                $(#[$about])*
                #[derive(JsonSchema)]
                #[schemars(rename = "State")]
                #[allow(dead_code, reason = "only its schema is read")]
                struct $name {
                    $($field)*
                }
            )*
        };
    }

    #[derive(JsonSchema)]
    #[schemars(rename = "Inner")]
    #[allow(dead_code, reason = "only its schema is read")]
    struct Inner {
        count: u32,
    }

    #[derive(JsonSchema)]
    #[schemars(rename = "Inner")]
    #[allow(dead_code, reason = "only its schema is read")]
    struct More {
        count: u32,
        #[serde(default)]
        title: String,
    }

    #[derive(JsonSchema)]
    #[schemars(rename = "Choice")]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only its schema is read")]
    enum Choice<T> {
        None,
        Some { inner: T },
    }

    shapes! {
        One { name: String, inner: Option<u8>, }
        Renamed { title: String, inner: Option<u8>, }
        /// Documented, and with a default.
        Documented {
            /// A name.
            #[serde(default)]
            name: String,
            inner: Option<u8>,
        }
        InOption { of: Option<Inner>, }
        MoreInOption { of: Option<More>, }
        InList { of: Vec<Inner>, }
        MoreInList { of: Vec<More>, }
        InMap { of: BTreeMap<String, Inner>, }
        MoreInMap { of: BTreeMap<String, More>, }
        InVariant { of: Choice<Inner>, }
        MoreInVariant { of: Choice<More>, }
        Flat { #[serde(flatten)] of: Inner, }
        MoreFlat { #[serde(flatten)] of: More, }
    }

    #[test]
    fn a_shape_depends_on_fields_forms_and_version() {
        let shapes = [
            compute::<One>(0, 0),
            compute::<One>(1, 0),
            compute::<One>(0, 1),
            compute::<Renamed>(0, 0),
        ];
        let mut different = shapes.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 4, "{shapes:?}");
        assert_eq!(
            compute::<Documented>(0, 0),
            shapes[0],
            "the fields are equal"
        );
    }

    #[test]
    fn a_field_within_an_option_a_list_a_map_or_a_variant_changes_the_shape() {
        let pairs = [
            (compute::<InOption>(0, 0), compute::<MoreInOption>(0, 0)),
            (compute::<InList>(0, 0), compute::<MoreInList>(0, 0)),
            (compute::<InMap>(0, 0), compute::<MoreInMap>(0, 0)),
            (compute::<InVariant>(0, 0), compute::<MoreInVariant>(0, 0)),
            (compute::<Flat>(0, 0), compute::<MoreFlat>(0, 0)),
        ];
        for (at, (before, after)) in pairs.into_iter().enumerate() {
            assert_ne!(before, after, "pair {at}");
        }
    }

    /// Stored snapshots contain it: another release, built with other features, must compute the
    /// same number, or it folds every history once more.
    #[test]
    fn the_shape_of_a_type_is_this_number() {
        assert_eq!(compute::<One>(0, 0), 0x483c_b648);
    }
}
