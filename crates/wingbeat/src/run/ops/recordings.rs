//! Recorded stories: the files that replays need. Each process answers for the services that run in
//! it; the program `wingbeat` asks all of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::letter::find;
use crate::CorrelationId;
use crate::http::{Path, Problem, Routes, get, ok};
use crate::run::host::Host;
use crate::story::Story;

/// The routes of recorded stories.
pub(super) fn recording_routes() -> Routes<Arc<Host>> {
    Routes::new()
        .route(
            "/recordings/{id}",
            get(recording)
                .summary("The recorded story with this correlation id, for a replay")
                .answers::<Story>(200)
                .problem(404, "not_found", "Nothing was recorded of this story."),
        )
        .route(
            "/dead-letters/{id}/recording",
            get(of_dead_letter)
                .summary("The recorded attempt that ended as this dead letter, for a replay")
                .answers::<Story>(200)
                .problem(404, "not_found", "It does not exist, or was not recorded."),
        )
}

async fn recording(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    answer(&recorded(&host, CorrelationId(id)).await?)
}

async fn of_dead_letter(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, _, letter) = find(&host, &id).await?;
    let message = letter.message().ok_or_else(Problem::not_found)?;
    let story = recorded(&host, message.correlation).await?;
    answer(&story.of_dead_letter(message.id))
}

async fn recorded(host: &Host, id: CorrelationId) -> Result<Story, Problem> {
    let mut story = Story::new(id);
    for running in host.running() {
        story.merge(running.recorded(id).await?);
    }
    Ok(story)
}

fn answer(story: &Story) -> Result<Response, Problem> {
    if story.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(ok(story).into_response())
}
