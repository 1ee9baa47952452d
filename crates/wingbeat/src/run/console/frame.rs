//! The frame of a page, and pages as HTTP replies.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::words::encode;
use super::{Console, Refused};

/// A page of the navigation.
pub(super) struct Entry {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
}

const ENTRIES: [Entry; 8] = [
    entry("/console", "Overview"),
    entry("/console/subscriptions", "Subscriptions"),
    entry("/console/incidents", "Incidents"),
    entry("/console/dead-letters", "Dead letters"),
    entry("/console/outside", "Outside systems"),
    entry("/console/sagas", "Sagas"),
    entry("/console/schedules", "Schedules"),
    entry("/console/stories", "Story"),
];

const fn entry(path: &'static str, label: &'static str) -> Entry {
    Entry { path, label }
}

/// The data of the frame.
pub(super) struct Frame<'a> {
    console: &'a Console,
    /// The path in the navigation that the page belongs to.
    here: &'static str,
    /// The navigation.
    pub(super) entries: Vec<Entry>,
    /// The result of the action that led here.
    pub(super) done: Option<&'static str>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(console: &'a Console, visitor: &Parts, here: &'static str) -> Self {
        let own = console.own.iter();
        let own = own.map(|page| entry(page.path(), page.label()));
        Self {
            console,
            here,
            entries: ENTRIES.into_iter().chain(own).collect(),
            done: parameter(visitor, "did").and_then(|did| words(&did)),
        }
    }

    pub(super) fn title(&self) -> &str {
        &self.console.title
    }

    pub(super) fn home(&self) -> Option<&(String, String)> {
        self.console.home.as_ref()
    }

    pub(super) fn current(&self, entry: &Entry) -> bool {
        entry.path == self.here
    }
}

/// The results of actions, by their names in `?did=`. Other names show nothing, so that a link
/// cannot put words into the console's mouth.
fn words(did: &str) -> Option<&'static str> {
    Some(match did {
        "paused" => "Paused. Messages wait until you resume it.",
        "resumed" => "Resumed.",
        "retried" => "The dead letter is handled again.",
        "begun" => "Retried: the first one alone, then the others.",
        "stopped" => "Stopped. The rest are dead letters as before.",
        "discarded" => "The dead letter is discarded.",
        _ => return None,
    })
}

/// Returns a parameter of the query.
pub(super) fn parameter(visitor: &Parts, name: &str) -> Option<String> {
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&visitor.uri);
    query.ok()?.0.remove(name).filter(|value| !value.is_empty())
}

/// Renders a page. Caches must not store it.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Response {
    let Ok(body) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    private((status, Html(body)).into_response())
}

fn private(mut response: Response) -> Response {
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

/// Redirects to a page after an action.
pub(super) fn see_other(path: &str) -> Response {
    private(Redirect::to(path).into_response())
}

#[derive(Template)]
#[template(path = "console/message.html")]
struct Message<'a> {
    frame: Frame<'a>,
    title: &'a str,
    text: &'a str,
    detail: String,
    hint: Option<&'a str>,
    /// The browser reloads the page automatically.
    retry: bool,
}

/// Returns the page for a refusal of the operator's API; the sign-in for a visitor who is unknown.
pub(super) fn instead(console: &Console, visitor: &Parts, refused: Refused) -> Response {
    let frame = Frame::new(console, visitor, "");
    let Refused {
        status,
        code,
        detail,
    } = refused;
    let mut hint = None;
    let (title, text) = match status {
        StatusCode::UNAUTHORIZED => {
            if let Some(path) = &console.sign_in {
                return sign_in(path, visitor);
            }
            ("Sign in first", "The console is for operators.")
        }
        StatusCode::FORBIDDEN if code == "cross_site" => (
            "Not from another site",
            "A page of another site sent this action. It was not carried out.",
        ),
        StatusCode::FORBIDDEN => {
            hint = console.hint.as_deref();
            (
                "Operators only",
                "You are signed in, but this account may not operate the system.",
            )
        }
        StatusCode::NOT_FOUND => (
            "Nothing here",
            "There is nothing at this address. It may have been settled in the meantime.",
        ),
        StatusCode::CONFLICT => ("That is not possible", "The action was refused."),
        status if status.is_client_error() => (
            "That link does not work",
            "It may be incomplete or too old. Start again from the overview.",
        ),
        _ => (
            "One moment",
            "A service or a server does not answer. This page reloads automatically.",
        ),
    };
    let retry = status.is_server_error() && visitor.method == axum::http::Method::GET;
    let message = Message {
        frame,
        title,
        text,
        detail: if hint.is_some() {
            String::new()
        } else {
            detail
        },
        hint,
        retry,
    };
    page(status, &message)
}

/// Redirects to the sign-in, which leads back to the requested page. After an action it leads to
/// the overview.
fn sign_in(path: &str, visitor: &Parts) -> Response {
    let wanted = visitor.uri.path_and_query().map(|path| path.as_str());
    let reads = visitor.method == axum::http::Method::GET;
    let next = wanted.filter(|_| reads).unwrap_or("/console");
    see_other(&format!("{path}?next={}", encode(next)))
}
