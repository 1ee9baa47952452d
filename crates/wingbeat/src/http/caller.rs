//! Extractors for the caller of a route or a command.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wingbeat_core::{Error, Result};

use super::audit::requires_admin;
use super::describe::DescribeRequest;
use super::problem::Problem;
use super::request::CommandRequest;
use super::session::{COOKIE, Session, SessionState};
use crate::describe::{RequestDescription, Security};
use crate::extract::Extract;
use crate::unit::Scope;

/// An extractor for the signed-in caller. It answers 401 without one, and 503 if the cache is
/// unavailable.
///
/// ```
/// use wingbeat::prelude::*;
///
/// async fn mine(Caller(session): Caller, reads: Reads) -> Result<Reply, Problem> {
///     # drop(reads);
///     Ok(ok(&session.user_id))
/// }
///
/// let routes = Routes::new().route("/orders", get(mine));
/// # let orders = Service::new("orders").routes(routes);
/// # #[cfg(feature = "test")]
/// # {
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(orders));
/// # let nothing = wingbeat::serde_json::Value::Null;
/// # let token = app.sign_in(wingbeat::Uuid::from_u128(7), false);
/// # assert_eq!(app.ask("GET", "/orders", "", &nothing).0, 401);
/// # assert_eq!(app.ask("GET", "/orders", &token, &nothing).0, 200);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Caller(pub Session);

impl Caller {
    pub(crate) fn of(state: Option<&SessionState>) -> Result<Self> {
        match state {
            Some(SessionState::SignedIn(session)) => Ok(Self(session.clone())),
            Some(SessionState::CrossSite) => Err(Error::reject(
                "cross_site",
                "this write came from another site",
            )),
            Some(SessionState::Unavailable) => Err(Error::retry(
                "sessions_unavailable",
                "sessions are not available",
            )),
            Some(SessionState::Nobody) | None => {
                Err(Error::reject("unauthenticated", "sign in first"))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self::of(parts.extensions.get::<SessionState>())?)
    }
}

impl<S> Extract<Scope, S> for Caller {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Self::of(CommandRequest::of(scope).map(|command| &command.info.session))
    }

    fn describe(request: &mut RequestDescription) {
        <Self as DescribeRequest>::describe(request);
    }
}

impl DescribeRequest for Caller {
    fn describe(request: &mut RequestDescription) {
        request
            .secured(&[Security::Bearer, Security::Cookie(COOKIE)])
            .problem(401, "unauthenticated", "Nobody is signed in.")
            .problem(
                503,
                "sessions_unavailable",
                "Sessions cannot be read at the moment.",
            );
    }
}

/// An extractor for a caller who may use `/admin`. It answers 401 or 403 to others.
#[derive(Clone, Debug)]
pub struct Admin(pub Session);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(session) = Caller::from_request_parts(parts, state).await?;
        if session.admin {
            requires_admin(parts);
            return Ok(Self(session));
        }
        Err(Problem::new(403, "forbidden", "only the admin may do this"))
    }
}

impl DescribeRequest for Admin {
    fn describe(request: &mut RequestDescription) {
        <Caller as DescribeRequest>::describe(request);
        request.problem(403, "forbidden", "The caller is not the admin.");
    }
}
