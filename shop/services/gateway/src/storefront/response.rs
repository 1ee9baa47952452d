//! Pages as HTTP answers: what may be kept, what stands instead of a page that cannot be shown.

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
    /// Load the page again by itself.
    retry: bool,
}

/// The 404 page, and the fallback for whatever is neither page nor API.
pub async fn not_found(headers: HeaderMap) -> Response {
    let shell = Shell::unknown(shell::has_session(&headers));
    page(
        StatusCode::NOT_FOUND,
        &headers,
        &Message {
            shell,
            title: "This page has flown",
            text: "There is nothing at this address, or it is not yours to see.",
            retry: false,
        },
    )
}

/// Renders a page. With a session in the request nobody may keep it: it shows one person's things.
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

/// What to show when the API has nothing: the way to sign in, the 404 page, or "away, trying again".
pub(super) async fn instead(error: ApiError, api: &Api, visitor: &Parts) -> Response {
    let (status, title, text) = match error {
        ApiError::Unauthenticated => return sign_in(visitor),
        ApiError::NotFound => return not_found(visitor.headers.clone()).await,
        ApiError::Refused(status) => (
            status,
            "That link does not work",
            "It may have been cut short. Start from the shop.",
        ),
        ApiError::Away => (
            StatusCode::SERVICE_UNAVAILABLE,
            "One moment",
            "The service behind this page is away. Nothing is lost; this page tries again by itself.",
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

/// To the sign-in page, and from there back to where the visitor wanted to go.
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
