//! The stored users. A claim makes each e-mail address unique, in its folded form.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::UserRegistered;
use shop_contracts::notifications::RememberAddress;
use wingbeat::{Claims, Effects, Entity, Extract, Result, Scope, Table};

use crate::domain::fold;

/// The admin's address.
pub const ADMIN_EMAIL: &str = "admin@shop.example";
/// The kind of claim on e-mail addresses.
const EMAIL: &str = "email";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The address as the user typed it.
    pub email: String,
    /// The name.
    pub name: String,
    /// The hash of the password, with its parameters and salt. Nobody can sign in if it is `None`.
    pub password: Option<String>,
    /// `true` if the user can use the routes below `/admin`.
    pub admin: bool,
}

impl Entity for User {
    const NAME: &'static str = "user";
    type Id = UserId;
}

/// The users and the claims on their addresses, which change in one unit.
pub struct Users {
    /// The users, by id.
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
    /// Returns the users within the unit of `scope`.
    ///
    /// # Errors
    ///
    /// Those of the extractors of [`Table`] and [`Claims`], which never fail.
    pub fn of(scope: &Scope) -> Result<Self> {
        Extract::extract(scope, &())
    }

    /// Returns the user with this address, or `None`.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn by_email(&self, email: &str) -> Result<Option<(UserId, User)>> {
        let owner = self.claims.owner(EMAIL, &fold(email)).await?;
        let Some(id) = owner.and_then(|owner| owner.parse::<UserId>().ok()) else {
            return Ok(None);
        };
        Ok(self.table.get(&id).await?.map(|user| (id, user)))
    }

    /// Returns whether a user has this address.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn is_taken(&self, email: &str) -> Result<bool> {
        Ok(self.claims.owner(EMAIL, &fold(email)).await?.is_some())
    }

    /// Adds a user and publishes the registration. Returns `false` if another user has the address.
    pub(crate) async fn register(
        &self,
        scope: &Scope,
        user_id: UserId,
        user: User,
        marketing_opt_in: bool,
    ) -> Result<bool> {
        let (email, name) = (user.email.clone(), user.name.clone());
        if !self.add(user_id, user).await? {
            return Ok(false);
        }
        let mut effects = Effects::new();
        effects
            .send(&RememberAddress {
                user_id,
                email,
                name,
                marketing_opt_in,
            })
            .publish(&UserRegistered {
                user_id,
                marketing_opt_in,
            });
        scope.emit(effects)?;
        Ok(true)
    }

    /// Adds a user. Returns `false` if another user has the address.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
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
