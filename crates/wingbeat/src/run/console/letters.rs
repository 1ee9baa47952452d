//! `/console/dead-letters`: failures by cause, one message, retry and discard.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::frame::{Frame, instead, page, parameter, see_other};
use super::lists::{Listed, or_missing};
use super::source::{parsed, read};
use super::words::{self, counted, encode, indented};
use super::{Console, Refused};
use crate::Timestamp;
use crate::run::ops::{Letter, LetterPage};

/// The number of dead letters on a page.
const LIMIT: usize = 100;
/// The most characters of a body that a page shows.
const BODY_SHOWN: usize = 64 << 10;
const HERE: &str = "/console/dead-letters";

/// Dead letters of one subscription with one code.
struct Group {
    subscription: String,
    reason: String,
    letters: Vec<Letter>,
}

impl Group {
    fn count(&self) -> String {
        counted(self.letters.len() as u64, "dead letter")
    }
}

/// Groups dead letters, the largest group first.
fn grouped(letters: Vec<Letter>) -> Vec<Group> {
    let mut groups: BTreeMap<(String, String), Vec<Letter>> = BTreeMap::new();
    for letter in letters {
        let cause = (letter.subscription.clone(), letter.reason.clone());
        groups.entry(cause).or_default().push(letter);
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|((subscription, reason), letters)| Group {
            subscription,
            reason,
            letters,
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.letters.len()));
    groups
}

#[derive(Template)]
#[template(path = "console/letters.html")]
struct Letters<'a> {
    frame: Frame<'a>,
    groups: Vec<Group>,
    is_first: bool,
    next: Option<String>,
    missing: Option<String>,
    now: Timestamp,
}

pub(super) async fn list(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let cursor = parameter(&visitor, "cursor");
    let mut path = format!("/dead-letters?limit={LIMIT}");
    if let Some(cursor) = &cursor {
        path.push_str(&format!("&cursor={}", encode(cursor)));
    }
    let found: Result<LetterPage, Refused> = read(&*console.source, &path, &visitor).await;
    let mut next = None;
    let found = or_missing(found.map(|found| {
        next = found
            .next_cursor
            .and_then(|it| serde_json::to_value(it).ok());
        Listed {
            items: found.items,
            away: found.away,
            failed: None,
        }
    }));
    let found = match found {
        Ok(found) => found,
        Err(refused) => return instead(&console, &visitor, refused),
    };
    let next = next.as_ref().and_then(|it| it.as_str());
    let letters = Letters {
        frame: Frame::new(&console, &visitor, HERE),
        missing: found.missing(),
        groups: grouped(found.items),
        is_first: cursor.is_none(),
        next: next.map(|cursor| format!("{HERE}?cursor={}", encode(cursor))),
        now: console.runtime.now(),
    };
    page(StatusCode::OK, &letters)
}

/// The fields of a whole dead letter that its list has not.
#[derive(Deserialize)]
struct Rest {
    first_error: Option<String>,
    headers: BTreeMap<String, serde_json::Value>,
    body: Box<RawValue>,
}

#[derive(Template)]
#[template(path = "console/letter.html")]
struct One<'a> {
    frame: Frame<'a>,
    letter: Letter,
    first_error: Option<String>,
    headers: Vec<(String, String)>,
    story: Option<Uuid>,
    body: String,
    is_cut: bool,
    now: Timestamp,
    /// The page asks whether to discard it.
    confirm: bool,
}

async fn whole<'a>(
    console: &'a Console,
    id: &str,
    visitor: &Parts,
    confirm: bool,
) -> Result<One<'a>, Refused> {
    let path = format!("/dead-letters/{}", encode(id));
    let body = console.source.ask(Method::GET, &path, visitor).await?;
    let letter: Letter = parsed(&body)?;
    let rest: Rest = parsed(&body)?;
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let story = rest.headers.get("correlationid").map(text);
    let headers = rest.headers.iter().filter(|(_, value)| !value.is_null());
    let shown = shown(rest.body.get());
    let cut = shown.char_indices().nth(BODY_SHOWN).map(|(at, _)| at);
    Ok(One {
        frame: Frame::new(console, visitor, HERE),
        first_error: rest.first_error.filter(|first| *first != letter.error),
        letter,
        headers: headers
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        story: story.and_then(|id| id.parse().ok()),
        body: shown[..cut.unwrap_or(shown.len())].to_owned(),
        is_cut: cut.is_some(),
        now: console.runtime.now(),
        confirm,
    })
}

/// Returns a body as text: JSON with line breaks, and a body that is not JSON as it is.
fn shown(body: &str) -> String {
    match serde_json::from_str::<String>(body) {
        Ok(text) => text,
        Err(_) => indented(body),
    }
}

pub(super) async fn one(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Parts,
) -> Response {
    match whole(&console, &id, &visitor, false).await {
        Ok(one) => page(StatusCode::OK, &one),
        Err(refused) => instead(&console, &visitor, refused),
    }
}

/// `GET …/discard`: asks first, because discarding cannot be undone.
pub(super) async fn confirm(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Parts,
) -> Response {
    match whole(&console, &id, &visitor, true).await {
        Ok(one) => page(StatusCode::OK, &one),
        Err(refused) => instead(&console, &visitor, refused),
    }
}

pub(super) async fn retry(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Parts,
) -> Response {
    settle(&console, &id, ("retry", "retried"), "", &visitor).await
}

pub(super) async fn discard(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    visitor: Parts,
    form: String,
) -> Response {
    let given: Option<Given> = super::incidents::fields(&form);
    let why = given.unwrap_or_default().why;
    settle(&console, &id, ("discard", "discarded"), &why, &visitor).await
}

/// The field of the form that discards a dead letter.
#[derive(Default, Deserialize)]
struct Given {
    #[serde(default)]
    why: String,
}

async fn settle(
    console: &Console,
    id: &str,
    (action, did): (&str, &str),
    why: &str,
    visitor: &Parts,
) -> Response {
    let mut path = format!("/dead-letters/{}/{action}", encode(id));
    if !why.is_empty() {
        path.push_str(&format!("?why={}", encode(why)));
    }
    match console.source.ask(Method::POST, &path, visitor).await {
        Ok(_) => see_other(&format!("{HERE}?did={did}")),
        Err(refused) => instead(console, visitor, refused),
    }
}
