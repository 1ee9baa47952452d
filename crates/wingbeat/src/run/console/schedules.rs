//! `/console/schedules`: last and next runs, pause and resume; replays of the past, and rebuilds.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::future::try_join3;

use super::Console;
use super::frame::{Frame, instead, page as reply, see_other};
use super::lists::{Listed, list};
use super::subscriptions::send;
use super::words::{self, encode};
use crate::Timestamp;
use crate::run::ops::{Rebuild, Replay, Schedule};

const HERE: &str = "/console/schedules";

#[derive(Template)]
#[template(path = "console/schedules.html")]
struct Schedules<'a> {
    frame: Frame<'a>,
    schedules: Listed<Schedule>,
    replays: Listed<Replay>,
    rebuilds: Listed<Rebuild>,
    now: Timestamp,
}

/// Returns the path of the action that is possible.
fn action(schedule: &Schedule) -> String {
    let control = if schedule.state == "paused" {
        "resume"
    } else {
        "pause"
    };
    let (service, name) = (encode(schedule.service.as_str()), encode(&schedule.name));
    format!("{HERE}/{service}/{name}/{control}")
}

/// Returns the name of what is rebuilt: a table, or a version of a projection.
fn rebuilt(rebuild: &Rebuild) -> String {
    match &rebuild.projection {
        Some(it) => format!("{}.{} version {}", rebuild.service, it.view, it.version),
        None => format!("{}.{}", rebuild.service, rebuild.table),
    }
}

pub(super) async fn page(State(console): State<Arc<Console>>, visitor: Parts) -> Response {
    let source = &*console.source;
    let found = try_join3(
        list::<Schedule>(source, "/schedules", &visitor),
        list::<Replay>(source, "/replays", &visitor),
        list::<Rebuild>(source, "/rebuilds", &visitor),
    );
    match found.await {
        Ok((mut schedules, replays, rebuilds)) => {
            let by_name = |it: &Schedule| (it.service.as_str(), it.name.clone());
            schedules.items.sort_by_key(by_name);
            let schedules = Schedules {
                frame: Frame::new(&console, &visitor, HERE),
                schedules,
                replays,
                rebuilds,
                now: console.runtime.now(),
            };
            reply(StatusCode::OK, &schedules)
        }
        Err(refused) => instead(&console, &visitor, refused),
    }
}

/// `POST …/pause` and `…/resume`.
pub(super) async fn control(
    State(console): State<Arc<Console>>,
    Path(of): Path<(String, String, String)>,
    visitor: Parts,
) -> Response {
    match send(&console, "schedules", &of, &visitor).await {
        Ok(did) => see_other(&format!("{HERE}?did={did}")),
        Err(refused) => instead(&console, &visitor, refused),
    }
}
