//! Values that at most one owner holds.

use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use crate::extract::Extract;
use crate::unit::{Scope, remove};
use crate::{decode, encode};

/// Values that have at most one owner: an e-mail address, say. Uniqueness is never decided by a query.
pub struct Claims {
    scope: Scope,
}

impl<S> Extract<Scope, S> for Claims {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self {
            scope: scope.clone(),
        })
    }
}

impl Claims {
    /// Claims in the unit of `scope`, for handlers with more needs than arguments.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
        }
    }

    fn key(kind: &'static str, value: &str) -> Key {
        Key::new(Name::intern(&format!("claim.{kind}")), value)
    }

    /// Who holds the value.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn owner(&self, kind: &'static str, value: &str) -> Result<Option<String>> {
        let key = Self::key(kind, value);
        if let Some(owner) = self.scope.state::<Option<String>>(&key)? {
            return Ok(owner);
        }
        self.scope
            .load(&key)
            .await?
            .body
            .map(|body| decode(&body))
            .transpose()
    }

    /// Claims the value for `owner`; `false` when another holds it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn claim(&self, kind: &'static str, value: &str, owner: &str) -> Result<bool> {
        if let Some(holder) = self.owner(kind, value).await? {
            return Ok(holder == owner);
        }
        let key = Self::key(kind, value);
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(owner)),
            due_at: None,
            expires_at: None,
        })?;
        self.scope.remember(&key, Some(owner.to_owned()))?;
        Ok(true)
    }

    /// Gives the value free.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn release(&self, kind: &'static str, value: &str) -> Result<()> {
        let key = Self::key(kind, value);
        self.scope.write(remove(key.clone()))?;
        self.scope.remember(&key, None::<String>)
    }
}
