//! `/console/outside`: the circuit breakers of outside systems, and messages that nobody takes.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::future::try_join;

use super::Console;
use super::frame::{Frame, instead, page as reply};
use super::lists::{Listed, list};
use super::words;
use crate::Timestamp;
use crate::run::ops::{Breaker, Unroutable};

#[derive(Template)]
#[template(path = "console/outside.html")]
struct Outside<'a> {
    frame: Frame<'a>,
    breakers: Listed<Breaker>,
    unroutable: Listed<Unroutable>,
    now: Timestamp,
}

/// Returns what a state means for calls.
fn meaning(state: &str) -> &'static str {
    match state {
        "closed" => "Calls go through.",
        "half_open" => "One call at a time tests whether the system is back.",
        _ => "The system fails. Calls wait and are sent when it is back.",
    }
}

/// Returns the limits of calls in words.
fn limits(breaker: &Breaker) -> String {
    let at_once = words::counted(breaker.concurrency, "call");
    let rate = breaker.rate.as_ref();
    let rate = rate.map_or(String::new(), |rate| format!(", {rate} in all"));
    format!("At most {at_once} at once in each process{rate}.")
}

pub(super) async fn page(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let source = &*console.source;
    let found = try_join(
        list(source, "/breakers", &visitor),
        list(source, "/unroutable", &visitor),
    );
    match found.await {
        Ok((breakers, unroutable)) => {
            let outside = Outside {
                frame: Frame::new(&console, &visitor, "/console/outside"),
                breakers,
                unroutable,
                now: console.runtime.now(),
            };
            reply(StatusCode::OK, &outside)
        }
        Err(refused) => instead(&console, &visitor, refused),
    }
}
