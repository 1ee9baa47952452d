//! Pages as HTTP replies: the caching headers, and the messages instead of a page that cannot be
//! shown.

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{
    api::{Api, ApiError, encode},
    shell::{self, Shell},
};

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    shell: Shell,
    title: &'a str,
    text: &'a str,
    /// `true` if the browser reloads the page automatically.
    retry: bool,
}

/// Returns the 404 page. It is the fallback for paths that are neither a page nor the API.
pub async fn not_found(headers: HeaderMap) -> Response {
    let shell = Shell::unknown(shell::has_session(&headers));
    page(
        StatusCode::NOT_FOUND,
        &headers,
        &Message {
            shell,
            title: "This page has flown",
            text: "There is nothing at this address, or you cannot see it.",
            retry: false,
        },
    )
}

/// Renders a page. If the request has a session, caches must not store the page, because it shows
/// personal data.
pub(super) fn page(status: StatusCode, visitor: &HeaderMap, page: &impl Template) -> Response {
    let Ok(body) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, Html(body)).into_response();
    let caching = if shell::has_session(visitor) {
        "no-store"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
    }
    response
}

/// Returns the reply to an API error: a redirect to the sign-in page, the 404 page, or a message.
pub(super) async fn instead(error: ApiError, api: &Api, visitor: &Parts) -> Response {
    let (status, title, text) = match error {
        ApiError::Unauthenticated => return sign_in(visitor),
        ApiError::NotFound => return not_found(visitor.headers.clone()).await,
        ApiError::Refused(status) => (
            status,
            "That link does not work",
            "It may be incomplete. Start again from the shop.",
        ),
        ApiError::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "One moment",
            "The service behind this page is unavailable. This page reloads automatically.",
        ),
    };
    let shell = Shell::of(api, visitor, "").await;
    let retry = status == StatusCode::SERVICE_UNAVAILABLE;
    page(
        status,
        &visitor.headers,
        &Message {
            shell,
            title,
            text,
            retry,
        },
    )
}

/// Redirects to the sign-in page, which leads back to the requested page.
fn sign_in(visitor: &Parts) -> Response {
    let wanted = visitor
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let mut response = Redirect::to(&format!("/account?next={}", encode(wanted))).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
