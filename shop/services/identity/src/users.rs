//! The stored users. A claim makes each e-mail address unique, in its folded form.
//!
//! Names, addresses and password hashes are encrypted under a key of the user, and claims contain
//! only a digest of the address. The erasure of a user destroys the key; see `docs/erasure.md`.

use serde::{Deserialize, Serialize};
use shop_contracts::UserId;
use shop_contracts::identity::{UserErased, UserRegistered};
use shop_contracts::notifications::RememberAddress;
use wingbeat::state::lookup_digest;
use wingbeat::{
    Claims, Effects, Entity, Extract, JsonSchema, Personal, Reads, Result, Scope, Subjects, Table,
    schemars,
};

use crate::domain::fold;

/// The admin's address.
pub const ADMIN_EMAIL: &str = "admin@shop.example";
/// The kind of claim on the digests of e-mail addresses.
const EMAIL_DIGEST: &str = "email_digest";
/// The kind of claim of older releases, on the addresses themselves.
const EMAIL: &str = "email";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The stored form of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StoredUser {
    email: Personal<String>,
    name: Personal<String>,
    password: Option<Personal<String>>,
    pub(crate) admin: bool,
    /// `true` once the user was erased. Only the id remains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) erased: bool,
}

impl Entity for StoredUser {
    const NAME: &'static str = "user";
    type Id = UserId;
}

/// The users and the claims on their addresses, which change in one unit.
pub struct Users {
    table: Table<StoredUser>,
    subjects: Subjects,
    claims: Claims,
}

impl<S> Extract<Scope, S> for Users {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            table: Extract::extract(scope, state)?,
            subjects: Extract::extract(scope, state)?,
            claims: Extract::extract(scope, state)?,
        })
    }
}

impl Users {
    /// Returns the users within the unit of `scope`.
    ///
    /// # Errors
    ///
    /// Those of the extractors of [`Table`], [`Subjects`] and [`Claims`], which never fail.
    pub fn of(scope: &Scope) -> Result<Self> {
        Extract::extract(scope, &())
    }

    /// Returns the user, or `None` if there is none or the user was erased.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn get(&self, id: UserId) -> Result<Option<User>> {
        let Some(stored) = self.table.get(&id).await? else {
            return Ok(None);
        };
        let email = self.subjects.decrypt(&id, &stored.email).await?;
        let name = self.subjects.decrypt(&id, &stored.name).await?;
        let password = match &stored.password {
            Some(password) => self.subjects.decrypt(&id, password).await?,
            None => None,
        };
        Ok(email.zip(name).map(|(email, name)| User {
            email,
            name,
            password,
            admin: stored.admin,
        }))
    }

    /// Returns the user with this address, or `None`.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn by_email(&self, email: &str) -> Result<Option<(UserId, User)>> {
        let owner = self.owner(email).await?;
        let Some(id) = owner.and_then(|owner| owner.parse::<UserId>().ok()) else {
            return Ok(None);
        };
        Ok(self.get(id).await?.map(|user| (id, user)))
    }

    /// Returns whether a user has this address.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn is_taken(&self, email: &str) -> Result<bool> {
        Ok(self.owner(email).await?.is_some())
    }

    async fn owner(&self, email: &str) -> Result<Option<String>> {
        let email = fold(email);
        let digest = lookup_digest(&email);
        match self.claims.owner(EMAIL_DIGEST, &digest).await? {
            Some(owner) => Ok(Some(owner)),
            None => self.claims.owner(EMAIL, &email).await,
        }
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
        let (digest, own) = (lookup_digest(&fold(&user.email)), id.to_string());
        let owner = self.owner(&user.email).await?;
        if owner.is_some_and(|owner| owner != own) {
            return Ok(false);
        }
        let claimed = self.claims.claim(EMAIL_DIGEST, &digest, &own).await?;
        if claimed {
            self.put(id, &user).await?;
        }
        Ok(claimed)
    }

    /// Replaces a user whose address stays the same.
    ///
    /// # Errors
    ///
    /// A `store_*` code if the store cannot be read.
    pub async fn put(&self, id: UserId, user: &User) -> Result<()> {
        let password = match &user.password {
            Some(password) => Some(self.subjects.encrypt(&id, password).await?),
            None => None,
        };
        let stored = StoredUser {
            email: self.subjects.encrypt(&id, &user.email).await?,
            name: self.subjects.encrypt(&id, &user.name).await?,
            password,
            admin: user.admin,
            erased: false,
        };
        self.table.put(&id, stored)
    }

    /// Erases a user: destroys the key, frees the address and publishes the erasure. The id
    /// remains, so that orders and counts stay consistent.
    pub(crate) async fn erase(&self, scope: &Scope, id: UserId, user: &User) -> Result<()> {
        let email = fold(&user.email);
        self.subjects.erase(&id).await?;
        self.claims.release(EMAIL_DIGEST, &lookup_digest(&email))?;
        if self.claims.owner(EMAIL, &email).await?.is_some() {
            self.claims.release(EMAIL, &email)?;
        }
        let stored = StoredUser {
            email: Personal::erased(),
            name: Personal::erased(),
            password: None,
            admin: false,
            erased: true,
        };
        self.table.put(&id, stored)?;
        scope.publish(&UserErased { user_id: id })
    }
}

/// Returns the user outside a unit of work; `None` if there is none or the user was erased.
pub(crate) async fn read(reads: &Reads, id: UserId) -> Result<Option<(String, String)>> {
    let Some(stored) = reads.entity::<StoredUser>(&id).await? else {
        return Ok(None);
    };
    let email = reads.personal(&id, &stored.email).await?;
    let name = reads.personal(&id, &stored.name).await?;
    Ok(email.zip(name))
}
