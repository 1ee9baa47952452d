//! `/console/incidents`: dead letters by cause, and many of them retried at once.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::frame::{Frame, instead, page, parameter, see_other};
use super::lists::list as read_list;
use super::source::read;
use super::words::{self, counted, encode, grouped};
use super::{Console, Refused};
use crate::Timestamp;
use crate::failed::RedriveState;
use crate::run::ops::{Incident, Letter, Redrive};

/// The number of dead letters on a page.
const LETTERS: usize = 50;
/// The number of redrives on a page.
const REDRIVES: usize = 10;
const HERE: &str = "/console/incidents";

/// A redrive on a page.
struct Progress {
    redrive: Redrive,
    state: &'static str,
    /// How the page marks the state.
    mark: &'static str,
}

impl From<Redrive> for Progress {
    fn from(redrive: Redrive) -> Self {
        let (state, mark) = match redrive.state {
            RedriveState::Canary => ("waits for its canary", "running"),
            RedriveState::Running => ("running", "running"),
            RedriveState::Settling => ("ending", "running"),
            RedriveState::Done => ("done", "ok"),
            RedriveState::Stopped => ("stopped: one failed again", "bad"),
            RedriveState::Cancelled => ("stopped by hand", "paused"),
        };
        Self {
            redrive,
            state,
            mark,
        }
    }
}

impl Progress {
    fn is_active(&self) -> bool {
        self.redrive.ended.is_none()
    }

    fn figures(&self) -> String {
        let Redrive { sent, failed, .. } = self.redrive;
        let (sent, failed) = (counted(sent, "dead letter"), grouped(failed));
        format!("{sent} delivered, {failed} failed again")
    }

    fn what(&self) -> String {
        let selection = &self.redrive.selection;
        let fields = selection
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let all = if fields.is_empty() { "all" } else { &fields };
        format!("{}: {all}", self.redrive.service)
    }
}

#[derive(Template)]
#[template(path = "console/incidents.html")]
struct Incidents<'a> {
    frame: Frame<'a>,
    groups: Vec<Group>,
    redrives: Vec<Progress>,
    missing: Option<String>,
    now: Timestamp,
}

/// A group on a page.
struct Group {
    incident: Incident,
    /// The name of the subscription, or of the service of other causes.
    name: String,
    path: String,
    figures: String,
}

impl From<Incident> for Group {
    fn from(incident: Incident) -> Self {
        let service = incident.service.as_str();
        let letters = counted(incident.count, "dead letter");
        let keys = counted(incident.affected_keys, "key");
        Self {
            name: if incident.subscription.is_empty() {
                service.to_owned()
            } else {
                incident.subscription.clone()
            },
            path: format!("{}/{}", encode(service), encode(&incident.group)),
            figures: format!("{letters}, {keys}, {:.1} a minute", incident.per_minute),
            incident,
        }
    }
}

pub(super) async fn list(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let source = &*console.source;
    let found = read_list::<Incident>(source, "/incidents", &visitor).await;
    let redrives = read_list::<Redrive>(source, "/redrives", &visitor).await;
    let (found, redrives) = match (found, redrives) {
        (Ok(found), Ok(redrives)) => (found, redrives),
        (Err(refused), _) | (_, Err(refused)) => return instead(&console, &visitor, refused),
    };
    let missing = found.missing();
    let redrives = redrives.items.into_iter().take(REDRIVES);
    let incidents = Incidents {
        frame: Frame::new(&console, &visitor, HERE),
        missing,
        groups: found.items.into_iter().map(Group::from).collect(),
        redrives: redrives.map(Progress::from).collect(),
        now: console.runtime.now(),
    };
    page(StatusCode::OK, &incidents)
}

/// The page of dead letters that a group has beside its figures.
#[derive(Deserialize)]
struct Page {
    items: Vec<Letter>,
    next_cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "console/incident.html")]
struct One<'a> {
    frame: Frame<'a>,
    group: Group,
    letters: Vec<Letter>,
    next: Option<String>,
    now: Timestamp,
}

pub(super) async fn one(
    State(console): State<Arc<Console>>,
    Path((service, group)): Path<(String, String)>,
    visitor: Parts,
) -> Response {
    match whole(&console, &service, &group, &visitor).await {
        Ok(one) => page(StatusCode::OK, &one),
        Err(refused) => instead(&console, &visitor, refused),
    }
}

async fn whole<'a>(
    console: &'a Console,
    service: &str,
    group: &str,
    visitor: &Parts,
) -> Result<One<'a>, Refused> {
    let here = format!("/incidents/{}/{}", encode(service), encode(group));
    let mut path = format!("{here}?limit={LETTERS}");
    if let Some(cursor) = parameter(visitor, "cursor") {
        path.push_str(&format!("&cursor={}", encode(&cursor)));
    }
    let body: serde_json::Value = read(&*console.source, &path, visitor).await?;
    let unreadable = |_| Refused::new(StatusCode::BAD_GATEWAY, "unreadable", "");
    let incident: Incident = serde_json::from_value(body.clone()).map_err(unreadable)?;
    let letters: Page = serde_json::from_value(body).map_err(unreadable)?;
    let next = letters.next_cursor;
    Ok(One {
        frame: Frame::new(console, visitor, HERE),
        group: incident.into(),
        letters: letters.items,
        next: next.map(|cursor| format!("/console{here}?cursor={}", encode(&cursor))),
        now: console.runtime.now(),
    })
}

/// The fields of the form.
#[derive(Deserialize)]
struct Wanted {
    rate: u32,
    #[serde(default)]
    why: String,
}

/// Reads the fields of a form, which has the encoding of a query.
pub(super) fn fields<T: DeserializeOwned>(form: &str) -> Option<T> {
    let uri = Uri::builder().path_and_query(format!("/?{form}")).build();
    let Query(fields) = Query::try_from_uri(&uri.ok()?).ok()?;
    Some(fields)
}

pub(super) async fn retry(
    State(console): State<Arc<Console>>,
    Path((service, group)): Path<(String, String)>,
    visitor: Parts,
    form: String,
) -> Response {
    let Some(Wanted { rate, why }) = fields(&form) else {
        let refused = Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "");
        return instead(&console, &visitor, refused);
    };
    let why = encode(&why);
    let (service, group) = (encode(&service), encode(&group));
    let path = format!("/redrives/{service}?group={group}&rate={rate}&why={why}");
    act(&console, &path, "begun", &visitor).await
}

pub(super) async fn stop(
    State(console): State<Arc<Console>>,
    Path((service, id)): Path<(String, String)>,
    visitor: Parts,
) -> Response {
    let path = format!("/redrives/{}/{}/stop", encode(&service), encode(&id));
    act(&console, &path, "stopped", &visitor).await
}

async fn act(console: &Console, path: &str, did: &str, visitor: &Parts) -> Response {
    match console.source.ask(Method::POST, path, visitor).await {
        Ok(_) => see_other(&format!("{HERE}?did={did}")),
        Err(refused) => instead(console, visitor, refused),
    }
}
