//! Structs that are read from JSON objects only.
//!
//! serde also reads a struct from an array, field by field in the order of the declaration. For a
//! body this would be a second, undocumented form, whose meaning changes with the order of fields.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

/// A deserializer that refuses arrays for structs, nested ones included. Arrays for lists and
/// tuples stay. Types that buffer their input (`untagged`, `flatten`) check it themselves.
pub(super) struct Objects<D>(pub(super) D);

macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*),)+) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Nested { visitor, is_struct: false })
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    forward! {
        deserialize_any(), deserialize_bool(), deserialize_i8(), deserialize_i16(),
        deserialize_i32(), deserialize_i64(), deserialize_i128(), deserialize_u8(),
        deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(),
        deserialize_f32(), deserialize_f64(), deserialize_char(), deserialize_str(),
        deserialize_string(), deserialize_bytes(), deserialize_byte_buf(), deserialize_option(),
        deserialize_unit(), deserialize_seq(), deserialize_map(), deserialize_identifier(),
        deserialize_ignored_any(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let is_struct = true;
        let visitor = Nested { visitor, is_struct };
        self.0.deserialize_struct(name, fields, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// The visitor of a value. It passes the rule on to the values within.
struct Nested<V> {
    visitor: V,
    is_struct: bool,
}

macro_rules! visit {
    ($($method:ident: $kind:ty,)+) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nested<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64,
        visit_i128: i128, visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64,
        visit_u128: u128, visit_f32: f32, visit_f64: f64, visit_char: char, visit_str: &str,
        visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Objects(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Objects(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        if self.is_struct {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self.visitor));
        }
        self.visitor.visit_seq(Within(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Within(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Within(data))
    }
}

/// Access to the values within another one.
struct Within<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Seed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Seed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Within<A> {
    type Error = A::Error;
    type Variant = Within<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, content) = self.0.variant_seed(seed)?;
        Ok((name, Within(content)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Within<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Seed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let is_struct = false;
        self.0.tuple_variant(len, Nested { visitor, is_struct })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let is_struct = true;
        self.0.struct_variant(fields, Nested { visitor, is_struct })
    }
}

/// A value within another one.
struct Seed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Objects(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Money(i64, String);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Item {
        sku: String,
        price: Option<Money>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Choice {
        None,
        One(Item),
        Pair(Item, u8),
        Named { item: Item },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        items: Vec<Item>,
        gift: Option<Item>,
        choice: Choice,
        pair: (u8, Item),
        by_name: std::collections::BTreeMap<String, Item>,
        more: Value,
    }

    fn read<T: DeserializeOwned>(body: &str) -> Option<T> {
        let mut json = serde_json::Deserializer::from_str(body);
        T::deserialize(Objects(&mut json)).ok()
    }

    fn order(from: &str, to: &str) -> String {
        let order = r#"{"items":[{"sku":"A","price":[5,"EUR"]}],"gift":{"sku":"B"},
            "choice":{"Named":{"item":{"sku":"C"}}},"pair":[1,{"sku":"D"}],
            "by_name":{"x":{"sku":"E"}},"more":[1,[2,{"a":[]}]]}"#;
        assert!(order.contains(from), "{from}");
        order.replace(from, to)
    }

    #[test]
    fn lists_and_tuples_are_read_from_arrays() {
        let plain: Option<Order> = serde_json::from_str(&order("", "")).ok();
        assert!(plain.is_some());
        assert_eq!(read(&order("", "")), plain);
        for choice in [
            r#""None""#,
            r#"{"One":{"sku":"C"}}"#,
            r#"{"Pair":[{"sku":"C"},1]}"#,
        ] {
            let body = order(r#"{"Named":{"item":{"sku":"C"}}}"#, choice);
            let plain: Option<Order> = serde_json::from_str(&body).ok();
            assert!(plain.is_some() && read(&body) == plain, "{choice}");
        }
        assert_eq!(read::<Value>("[[1]]"), serde_json::from_str("[[1]]").ok());
    }

    #[test]
    fn a_struct_is_not_read_from_an_array_wherever_it_is() {
        let named = r#"{"Named":{"item":{"sku":"C"}}}"#;
        for (from, to) in [
            (r#"{"sku":"A","price":[5,"EUR"]}"#, r#"["A",[5,"EUR"]]"#),
            (r#"{"sku":"B"}"#, r#"["B",null]"#),
            (r#"{"sku":"D"}"#, r#"["D",null]"#),
            (r#"{"sku":"E"}"#, r#"["E",null]"#),
            (named, r#"{"One":["C",null]}"#),
            (named, r#"{"Pair":[["C",null],1]}"#),
            (named, r#"{"Named":[{"sku":"C"}]}"#),
            (named, r#"{"Named":{"item":["C",null]}}"#),
        ] {
            let body = order(from, to);
            let plain: Result<Order, _> = serde_json::from_str(&body);
            assert!(plain.is_ok(), "serde reads it: {to}");
            assert_eq!(read::<Order>(&body), None, "{to}");
        }
        assert_eq!(read::<Item>(r#"["A",null]"#), None);
    }
}
