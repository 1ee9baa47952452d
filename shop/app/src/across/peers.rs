//! Requests of the gateway to a service.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use wingbeat::http::Peers;

/// The header with the address of the client.
const FORWARDED: &str = "x-forwarded-for";

/// Believes the address of a client only if the gateway reports it. Otherwise the address of the
/// peer counts, for the limits of failed sign-ins for example.
pub(crate) async fn addresses(
    State(peers): State<Peers>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.headers().contains_key(FORWARDED) && !peers.admits(&request) {
        request.headers_mut().remove(FORWARDED);
    }
    next.run(request).await
}
