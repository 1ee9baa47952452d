//! `/console/subscriptions`: state and figures, pause and resume.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::frame::{Frame, instead, page as reply, parameter, see_other};
use super::lists::list;
use super::words::{encode, grouped};
use super::{Console, Refused};
use crate::run::ops::{Subscription, SubscriptionState};

/// The number of subscriptions on a page.
const ROWS: usize = 100;
/// The filters of the list.
const SHOW: [(&str, &str); 4] = [
    ("", "All"),
    ("waiting", "Busy"),
    ("paused", "Paused"),
    ("dead", "Failing"),
];

/// The part of the list that the visitor wants.
#[derive(Default)]
struct Wanted {
    /// A part of `service.name`.
    q: String,
    show: String,
    page: usize,
}

impl Wanted {
    fn of(visitor: &Parts) -> Self {
        let text = |name| parameter(visitor, name).unwrap_or_default();
        Self {
            q: text("q"),
            show: text("show"),
            page: text("page").parse().unwrap_or(1).max(1),
        }
    }

    fn has(&self, one: &Subscription) -> bool {
        let named = format!("{}.{}", one.service, one.name).contains(&self.q);
        named
            && match self.show.as_str() {
                "waiting" => one.waiting + one.in_flight > 0,
                "paused" => one.state == SubscriptionState::Paused,
                "dead" => one.dead > 0 || one.retried > 0,
                _ => true,
            }
    }

    /// Returns the query of a list with these parameters.
    fn query(&self, show: &str, page: usize) -> String {
        let mut query = format!("?page={page}");
        for (name, value) in [("q", self.q.as_str()), ("show", show)] {
            if !value.is_empty() {
                query.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        query
    }
}

/// A row of the list.
struct Row {
    name: String,
    is_first: bool,
    service: String,
    state: &'static str,
    figures: [(&'static str, String, bool); 5],
    /// The path of the action that is possible.
    action: String,
}

#[derive(Template)]
#[template(path = "console/subscriptions.html")]
struct Subscriptions<'a> {
    frame: Frame<'a>,
    wanted: Wanted,
    rows: Vec<Row>,
    found: usize,
    pages: usize,
    missing: Option<String>,
}

impl Subscriptions<'_> {
    fn filters(&self) -> Vec<(&'static str, String, bool)> {
        let filter = |(name, label): (&str, &'static str)| {
            let path = format!("/console/subscriptions{}", self.wanted.query(name, 1));
            (label, path, name == self.wanted.show)
        };
        SHOW.map(filter).into()
    }

    fn beside(&self, page: usize) -> String {
        let query = self.wanted.query(&self.wanted.show, page);
        format!("/console/subscriptions{query}")
    }
}

fn rows(items: &[Subscription], wanted: &Wanted) -> Vec<Row> {
    let query = wanted.query(&wanted.show, wanted.page);
    let mut before = "";
    let row = |one: &Subscription| {
        let service = one.service.as_str();
        let is_first = std::mem::replace(&mut before, service) != service;
        let paused = one.state == SubscriptionState::Paused;
        let control = if paused { "resume" } else { "pause" };
        let dead = one.dead.unsigned_abs();
        Row {
            name: one.name.clone(),
            is_first,
            service: service.to_owned(),
            state: if paused { "paused" } else { "running" },
            figures: [
                ("Waiting", grouped(one.waiting), one.waiting == 0),
                ("In flight", grouped(one.in_flight), one.in_flight == 0),
                (
                    "Handled",
                    grouped(one.handled.unsigned_abs()),
                    one.handled == 0,
                ),
                ("Retried", grouped(one.retried), one.retried == 0),
                ("Dead", grouped(dead), dead == 0),
            ],
            action: format!(
                "/console/subscriptions/{}/{}/{control}{query}",
                encode(service),
                encode(&one.name)
            ),
        }
    };
    items.iter().map(row).collect()
}

pub(super) async fn page(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let found = list::<Subscription>(&*console.source, "/subscriptions", &visitor).await;
    let mut found = match found {
        Ok(found) => found,
        Err(refused) => return instead(&console, &visitor, refused),
    };
    let mut wanted = Wanted::of(&visitor);
    found.items.retain(|one| wanted.has(one));
    found
        .items
        .sort_by(|a, b| (a.service.as_str(), &a.name).cmp(&(b.service.as_str(), &b.name)));
    let pages = found.items.len().div_ceil(ROWS).max(1);
    wanted.page = wanted.page.min(pages);
    let shown = found.items.chunks(ROWS).nth(wanted.page - 1);
    let list = Subscriptions {
        frame: Frame::new(&console, &visitor, "/console/subscriptions"),
        rows: rows(shown.unwrap_or_default(), &wanted),
        found: found.items.len(),
        pages,
        missing: found.missing(),
        wanted,
    };
    reply(StatusCode::OK, &list)
}

/// `POST …/pause` and `…/resume`.
pub(super) async fn control(
    State(console): State<Arc<Console>>,
    Path(of): Path<(String, String, String)>,
    visitor: Parts,
) -> Response {
    match send(&console, "subscriptions", &of, &visitor).await {
        Ok(did) => {
            let wanted = Wanted::of(&visitor);
            let query = wanted.query(&wanted.show, wanted.page);
            see_other(&format!("/console/subscriptions{query}&did={did}"))
        }
        Err(refused) => instead(&console, &visitor, refused),
    }
}

/// Pauses or resumes a subscription or a schedule. Returns the name of the result.
pub(super) async fn send(
    console: &Console,
    kind: &str,
    (service, name, control): &(String, String, String),
    visitor: &Parts,
) -> Result<&'static str, Refused> {
    let did = match control.as_str() {
        "pause" => "paused",
        "resume" => "resumed",
        _ => return Err(Refused::new(StatusCode::NOT_FOUND, "not_found", "")),
    };
    let path = format!("/{kind}/{}/{}/{control}", encode(service), encode(name));
    let source = &console.source;
    source.ask(Method::POST, &path, visitor).await.map(|_| did)
}
