//! Numbers that identify the shape of a stored state.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The shapes of the types that this process has used.
static SHAPES: RwLock<BTreeMap<TypeId, u32>> = RwLock::new(BTreeMap::new());

/// Returns a number that changes with the fields of the default of `S`, the number of forms of its
/// events and the version of the code that folds them. Computes it once for each type.
pub(super) fn shape<S: Default + Serialize + 'static>(version: u32, forms: usize) -> u32 {
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

fn compute<S: Default + Serialize>(version: u32, forms: usize) -> u32 {
    let fields = serde_json::to_value(S::default()).map(|state| outline(&state));
    let text = format!("{version} {forms} {}", fields.unwrap_or_default());
    let digest = Sha256::digest(text);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Returns the names of the fields that the value shows, with the kinds of their values.
fn outline(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let outlined = fields.map(|(name, it)| (name.clone(), outline(it)));
            Value::Object(outlined.collect())
        }
        Value::Array(_) => "array".into(),
        Value::String(_) => "string".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Serialize)]
    struct One {
        name: String,
        inner: Option<u8>,
    }

    #[derive(Default, Serialize)]
    struct Renamed {
        title: String,
        inner: Option<u8>,
    }

    #[test]
    fn a_shape_depends_on_fields_forms_and_version_and_stays_the_same() {
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
        // Stored snapshots contain it: another release must compute the same number.
        assert_eq!(shapes[0], compute::<One>(0, 0));
    }
}
