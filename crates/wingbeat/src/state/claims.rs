//! Unique values.

use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use crate::extract::Extract;
use crate::unit::{Scope, remove};
use crate::{decode, encode};

/// An extractor for values that have at most one owner, such as e-mail addresses.
///
/// A claim is part of the handler's unit of work: of two units that claim the same value at the
/// same time, one commits, and the other runs again and finds the value taken. A query cannot
/// guarantee that.
///
/// ```
/// use wingbeat::{Claims, Either, Result, Service};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Command, Event, JsonSchema};
/// # #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// # #[command(name = "seats.take", version = 1, key = seat)]
/// # struct Take { seat: String, guest: String }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "seats.taken", version = 1, key = seat)]
/// # struct Taken { seat: String, guest: String }
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "seats.refused", version = 1, key = seat)]
/// # struct Refused { seat: String, guest: String }
///
/// async fn take(Take { seat, guest }: Take, claims: Claims) -> Result<Either<Taken, Refused>> {
///     if claims.claim("seat", &seat, &guest).await? {
///         Ok(Either::Left(Taken { seat, guest }))
///     } else {
///         Ok(Either::Right(Refused { seat, guest }))
///     }
/// }
///
/// let service = Service::new("seats").on(take);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(service));
/// # let story = uuid::Uuid::from_u128(1);
/// # app.publish(story, &Take { seat: "12A".into(), guest: "Ada".into() });
/// # app.publish(story, &Take { seat: "12A".into(), guest: "Grace".into() });
/// # app.until_idle();
/// # let entries = app.run(app.reads("seats").timeline(story.into())).unwrap();
/// # let mut names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
/// # names.sort();
/// # assert_eq!(names, ["seats.refused.v1", "seats.taken.v1"]);
/// # }
/// ```
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
    /// Returns the claims in the unit of `scope`, for code that has a [`Scope`] instead of an
    /// extractor.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
        }
    }

    fn key(kind: &'static str, value: &str) -> Key {
        Key::new(Name::intern(&format!("claim.{kind}")), value)
    }

    /// Returns the owner of a value, or `None` if it is free. Values of different kinds are
    /// independent.
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `sealed` after the handler has returned.
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

    /// Claims a value for `owner`. Returns `false` if it has another owner, `true` if `owner` has
    /// it now.
    ///
    /// # Errors
    ///
    /// As for [`owner`](Self::owner).
    pub async fn claim(&self, kind: &'static str, value: &str, owner: &str) -> Result<bool> {
        if let Some(current) = self.owner(kind, value).await? {
            return Ok(current == owner);
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

    /// Releases a value, whoever owns it.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn release(&self, kind: &'static str, value: &str) -> Result<()> {
        let key = Self::key(kind, value);
        self.scope.write(remove(key.clone()))?;
        self.scope.remember(&key, None::<String>)
    }
}
