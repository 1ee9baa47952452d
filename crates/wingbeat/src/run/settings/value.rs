//! Deserializes a program's own settings from the texts of their sources.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::SettingsError;
use super::field::Field;
use super::lookup::{A_DURATION, Found, Lookup, duration};

/// Reads a struct from the values of its fields. Fields that are wrong are added to `faults`, and
/// have their defaults.
pub(super) fn deserialize<S: DeserializeOwned + Default>(
    fields: &[Field],
    look: &Lookup<'_>,
    faults: &mut Vec<SettingsError>,
) -> S {
    let mut values = Vec::new();
    for field in fields {
        match look.find(&field.key, &field.env) {
            // Without a value nobody would be kept out.
            Ok(Some(found)) if field.secret && found.is_blank() => faults.push(found.blank()),
            Ok(found) => {
                values.extend(found.map(|it| (field.key.clone(), Text(it, field.is_hidden()))))
            }
            Err(why) => faults.push(why),
        }
    }
    // Reading ends at the first field that is wrong, so it is repeated without that field.
    loop {
        let Wrong(why) = match read(values.clone()) {
            Ok(own) => return own,
            Err(wrong) => wrong,
        };
        let origin = why.origin().unwrap_or_default().to_owned();
        faults.push(why);
        let Some(wrong) = values.iter().position(|(_, text)| text.0.origin == origin) else {
            return S::default();
        };
        values.remove(wrong);
    }
}

fn read<S: DeserializeOwned>(values: Vec<(String, Text)>) -> Result<S, Wrong> {
    if values.is_empty()
        && let Ok(own) = S::deserialize(serde::de::value::UnitDeserializer::new())
            .or_else(|Wrong(_)| S::deserialize(Nothing))
    {
        return Ok(own);
    }
    let fields = Fields {
        rest: values.into_iter(),
        value: None,
    };
    S::deserialize(MapAccessDeserializer::new(fields))
}

/// The fields of a struct, with the texts of their values.
struct Fields {
    rest: std::vec::IntoIter<(String, Text)>,
    value: Option<Text>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let text = self.value.take().expect("a value follows its key");
        seed.deserialize(text.clone())
            .map_err(|Wrong(why)| match why {
                // A type that parses the text itself knows neither its origin nor that it is
                // secret.
                SettingsError::Missing(why) => text.wrong(format!("right: {why}")),
                why => Wrong(why),
            })
    }
}

/// An empty struct.
struct Nothing;

impl<'de> Deserializer<'de> for Nothing {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let none = std::iter::empty::<(String, String)>();
        visitor.visit_map(MapDeserializer::new(none))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The text of a setting; `true` if errors must not show it.
#[derive(Clone)]
struct Text(Found, bool);

impl Text {
    fn wrong(self, expected: impl Into<String>) -> Wrong {
        let Self(found, secret) = self;
        Wrong(if secret {
            SettingsError::InvalidSecret {
                origin: found.origin,
                expected: expected.into(),
            }
        } else {
            found.invalid(expected)
        })
    }

    fn parse<T: std::str::FromStr>(self, expected: &str) -> Result<T, Wrong> {
        let parsed = self.0.value.parse();
        parsed.map_err(|_| self.wrong(expected))
    }

    /// Passes the text to the visitor, and reports its error as a wrong setting.
    fn visit<'de, V: Visitor<'de>>(
        self,
        visit: impl FnOnce(String) -> Result<V::Value, serde::de::value::Error>,
    ) -> Result<V::Value, Wrong> {
        visit(self.0.value.clone()).map_err(|why| self.wrong(format!("right: {why}")))
    }
}

/// An error of deserializing.
#[derive(Debug)]
pub(super) struct Wrong(SettingsError);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(SettingsError::Missing(text.to_string()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(SettingsError::Missing(format!(
            "--{}",
            field.replace('_', "-")
        )))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $kind:ty),+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let text = self.0.value.clone();
            let number: Result<$kind, _> = text.parse();
            let visit = |number| visitor.$visit::<serde::de::value::Error>(number);
            let visited = number.ok().map(visit);
            match visited {
                Some(Ok(value)) => Ok(value),
                Some(Err(why)) => Err(self.wrong(format!("right: {why}"))),
                None => Err(self.wrong(concat!("a number (", stringify!($kind), ")"))),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.visit::<V>(|text| visitor.visit_string(text))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.value.as_str() {
            "on" | "true" | "1" => visitor.visit_bool(true),
            "off" | "false" | "0" => visitor.visit_bool(false),
            _ => Err(self.wrong("on or off")),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64, deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let character = self.parse("a character")?;
        visitor.visit_char(character)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if name != "Duration" {
            return Err(self.wrong("supported: own settings are flat"));
        }
        let Some(duration) = duration(&self.0.value) else {
            return Err(self.wrong(A_DURATION));
        };
        let parts = [
            ("secs", duration.as_secs()),
            ("nanos", u64::from(duration.subsec_nanos())),
        ];
        visitor.visit_map(MapDeserializer::new(parts.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let value = self.0.value.clone();
        if !variants.contains(&value.as_str()) {
            return Err(self.wrong(format!("one of {}", variants.join(", "))));
        }
        visitor.visit_enum(value.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
        ignored_any
    }
}
