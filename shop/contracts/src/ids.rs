//! The ids of users, orders and products.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                hyphenated(text).map(Self)
            }
        }
    };
}

/// The error of a text that is no id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an id is a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidId;

/// Parses a UUID in its usual form. The crate `uuid` also accepts braces, URNs and texts without
/// hyphens: several names for one object.
fn hyphenated(text: &str) -> Result<Uuid, InvalidId> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(InvalidId);
    }
    text.parse().map_err(|_| InvalidId)
}

id! {
    /// The id of a user.
    UserId
}
id! {
    /// The id of an order.
    OrderId
}
id! {
    /// The id of a flash sale.
    SaleId
}
id! {
    /// The id of a claim on a unit of a flash sale. [`ClaimKey`](crate::ClaimKey) signs it.
    ClaimId
}

/// A stock-keeping unit: 1 to 40 characters of `A`–`Z`, `0`–`9` and `-`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[A-Z0-9-]{1,40}$"))]
pub struct Sku(String);

/// The error of a text that is not a SKU.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a SKU is 1 to 40 characters of A-Z, 0-9 and -")]
pub struct InvalidSku;

impl Sku {
    /// Returns the SKU as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sku {
    type Err = InvalidSku;

    fn from_str(text: &str) -> Result<Self, InvalidSku> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=40).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into())).ok_or(InvalidSku)
    }
}

impl TryFrom<String> for Sku {
    type Error = InvalidSku;

    fn try_from(text: String) -> Result<Self, InvalidSku> {
        text.parse()
    }
}

impl From<Sku> for String {
    fn from(sku: Sku) -> Self {
        sku.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(
            id.parse::<OrderId>().map(|id| id.to_string()),
            Ok(id.into())
        );
        let compact = id.replace('-', "");
        let urn = format!("urn:uuid:{id}");
        let braces = format!("{{{id}}}");
        for wrong in ["", "7", &compact, &urn, &braces, &format!("{id} ")] {
            assert_eq!(wrong.parse::<OrderId>(), Err(InvalidId), "{wrong}");
            assert!(
                serde_json::from_value::<UserId>(wrong.into()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_sku_is_upper_case_and_short() {
        assert!("TEA-001".parse::<Sku>().is_ok());
        for wrong in ["", "tea", "A B", "Ä", &"A".repeat(41)] {
            assert_eq!(wrong.parse::<Sku>(), Err(InvalidSku), "{wrong}");
        }
    }
}
