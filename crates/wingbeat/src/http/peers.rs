//! Routes between the processes of a system, which ask for the caller's identity.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wingbeat_core::Signatures;
use wingbeat_core::runtime::SharedRuntime;

use super::Problem;
use crate::trust::{CALLER_HEADER, RequestText};

/// Admits requests of other processes of the system that prove their identity.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use axum::{Router, middleware::from_fn_with_state, routing::get};
/// # use wingbeat::SharedRuntime;
/// # use wingbeat::ports::Signatures;
/// use wingbeat::http::{Peers, peers_only};
///
/// # fn routes(signatures: Arc<dyn Signatures>, runtime: SharedRuntime) -> Router {
/// let peers = Peers {
///     signatures,
///     runtime,
///     here: vec!["orders"],
///     callers: vec!["gateway"],
/// };
/// Router::new()
///     .route("/internal/state", get(|| async { "fine" }))
///     .layer(from_fn_with_state(peers, peers_only))
/// # }
/// ```
#[derive(Clone)]
pub struct Peers {
    /// The keys.
    pub signatures: Arc<dyn Signatures>,
    /// The clock.
    pub runtime: SharedRuntime,
    /// The services that run here. A proof is for one of them.
    pub here: Vec<&'static str>,
    /// The names that may call.
    pub callers: Vec<&'static str>,
}

impl Peers {
    /// Returns whether a request proves that it comes from one of the callers.
    #[must_use]
    pub fn admits(&self, request: &Request) -> bool {
        let caller = self.caller(request);
        caller.is_some_and(|caller| self.callers.contains(&caller))
    }

    /// Returns the caller that a request proves to come from.
    fn caller<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let mut values = request.headers().get_all(CALLER_HEADER).iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let path = request.uri().path_and_query()?.as_str();
        let now = self.runtime.now();
        self.here.iter().find_map(|receiver| {
            let text = RequestText {
                receiver,
                method: request.method().as_str(),
                path,
            };
            text.proven(&*self.signatures, value, now)
        })
    }
}

/// The header in which a gateway reports the address of its client.
const FORWARDED: &str = "x-forwarded-for";

/// Removes `x-forwarded-for` from requests that none of the callers proves to have sent. Then the
/// address of the connection counts, for limits of failed logins for example: nobody but a gateway
/// reports the addresses of others.
///
/// Use it like [`peers_only`], around routes that everybody may use.
pub async fn peer_addresses(
    State(peers): State<Peers>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.headers().contains_key(FORWARDED) && !peers.admits(&request) {
        request.headers_mut().remove(FORWARDED);
    }
    next.run(request).await
}

/// Refuses requests without a proof with 401 `unauthenticated`, and those of callers that may not
/// use the routes with 403 `forbidden`.
pub async fn peers_only(State(peers): State<Peers>, request: Request, next: Next) -> Response {
    match peers.caller(&request) {
        None => {
            let detail = "the request does not prove which service sent it";
            Problem::new(401, "unauthenticated", detail).into_response()
        }
        Some(caller) if !peers.callers.contains(&caller) => {
            let detail = "this service may not use the route";
            Problem::new(403, "forbidden", detail).into_response()
        }
        Some(_) => next.run(request).await,
    }
}
