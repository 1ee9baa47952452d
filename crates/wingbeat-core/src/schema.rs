//! JSON Schemas of the types that travel, so that documents can be made from types.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A type with a JSON Schema: every type that derives `JsonSchema` has one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no JSON Schema",
    label = "derive `JsonSchema` for it",
    note = "AsyncAPI and OpenAPI documents are made from the schemas of types",
    note = "the derive needs both names: `use wingbeat::JsonSchema; use wingbeat::schemars;`"
)]
pub trait HasSchema: 'static {
    /// Returns the schema. Schemas that it refers to become definitions of `generator`.
    fn schema_in(generator: &mut SchemaGenerator) -> Schema;

    /// Returns the schema with all definitions that it refers to.
    fn root_schema() -> Schema;
}

#[diagnostic::do_not_recommend]
impl<T: JsonSchema + 'static> HasSchema for T {
    fn schema_in(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }

    fn root_schema() -> Schema {
        schemars::schema_for!(T)
    }
}

/// The schema of a type whose name is no longer known, for lists of several types.
#[derive(Clone, Copy)]
pub struct SchemaOf(fn(&mut SchemaGenerator) -> Schema);

impl SchemaOf {
    /// The schema of `T`.
    #[must_use]
    pub const fn of<T: HasSchema>() -> Self {
        Self(T::schema_in)
    }

    /// Returns the schema. Schemas that it refers to become definitions of `generator`.
    #[must_use]
    pub fn schema_in(self, generator: &mut SchemaGenerator) -> Schema {
        (self.0)(generator)
    }
}

impl fmt::Debug for SchemaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchemaOf(..)")
    }
}
