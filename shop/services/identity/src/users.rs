//! The stored user. E-mail addresses are unique by claim, in folded form.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use wingbeat::{Claims, Entity, Extract, Result, Scope, Table};

use crate::domain::fold;

/// The kind of claim on e-mail addresses.
const EMAIL: &str = "email";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The address, as it was typed.
    pub email: String,
    /// The name to greet with.
    pub name: String,
    /// The password's hash with its parameters and salt; `None` lets nobody sign in.
    pub password: Option<String>,
    /// May use `/admin`.
    pub admin: bool,
}

impl Entity for User {
    const NAME: &'static str = "user";
    type Id = UserId;
}

/// Users and who has which address, changed together.
pub struct Users {
    /// By id.
    pub table: Table<User>,
    claims: Claims,
}

impl<S> Extract<Scope, S> for Users {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            table: Extract::extract(scope, state)?,
            claims: Extract::extract(scope, state)?,
        })
    }
}

impl Users {
    /// In the unit of `scope`.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn of(scope: &Scope) -> Result<Self> {
        Extract::extract(scope, &())
    }

    /// Who has this address.
    ///
    /// # Errors
    ///
    /// The store's, here and below.
    pub async fn by_email(&self, email: &str) -> Result<Option<(UserId, User)>> {
        let owner = self.claims.owner(EMAIL, &fold(email)).await?;
        let Some(id) = owner.and_then(|owner| owner.parse::<UserId>().ok()) else {
            return Ok(None);
        };
        Ok(self.table.get(&id).await?.map(|user| (id, user)))
    }

    /// Whether somebody has this address.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn is_taken(&self, email: &str) -> Result<bool> {
        Ok(self.claims.owner(EMAIL, &fold(email)).await?.is_some())
    }

    /// Adds a user; `false` when another has the address.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn add(&self, id: UserId, user: User) -> Result<bool> {
        let claimed = self
            .claims
            .claim(EMAIL, &fold(&user.email), &id.to_string())
            .await?;
        if claimed {
            self.table.put(&id, user)?;
        }
        Ok(claimed)
    }
}
