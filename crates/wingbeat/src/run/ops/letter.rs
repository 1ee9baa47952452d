//! One dead letter in the operator's API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::guard::Operator;
use super::incidents::{Why, decision, refusal};
use super::letters::Letter;
use crate::failed::DeadLetter;
use crate::http::{Json as Body, Path, Problem, Query};
use crate::run::host::Host;
use crate::{Name, Result, Running};

/// A dead letter with its message.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterWhole")]
pub(super) struct Whole {
    #[serde(flatten)]
    letter: Letter,
    first_error: Option<String>,
    /// The headers of the message; `null` if it was no message.
    headers: serde_json::Value,
    /// The body of the message: JSON, or a string if it is not JSON.
    #[schemars(with = "serde_json::Value")]
    body: Box<RawValue>,
}

/// Reads the letter of each service by id: dead letters can be large, so listing them all is slow.
pub(super) async fn find(
    host: &Host,
    id: &str,
) -> Result<(Arc<Running>, Name, DeadLetter), Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    for running in host.running() {
        for service in running.services().collect::<Vec<_>>() {
            if let Some(letter) = running.dead_letter(service, id).await? {
                return Ok((Arc::clone(&running), service, letter));
            }
        }
    }
    Err(Problem::not_found())
}

pub(super) async fn letter(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, _, letter) = find(&host, &id).await?;
    let message = letter.message();
    let told = letter
        .broken
        .as_ref()
        .map(|it| serde_json::json!(it.headers));
    let headers = message.as_ref().map(|message| {
        told.unwrap_or_else(|| {
            serde_json::json!({
                "id": message.id.0,
                "source": &*message.source,
                "type": &*message.kind,
                "subject": message.key,
                "time": message.time,
                "correlationid": message.correlation.0,
                "causationid": message.causation.map(|id| id.0),
                "traceparent": message.traceparent,
            })
        })
    });
    let bytes = message.map(|message| message.body).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = RawValue::from_string(text.clone())
        .or_else(|_| serde_json::value::to_raw_value(&text)) // Not JSON: shown as text.
        .map_err(|_| Problem::not_found())?;
    let whole = Whole {
        letter: Letter::from(&letter),
        first_error: letter.failures.first_error.clone(),
        headers: headers.unwrap_or_default(),
        body,
    };
    Ok(Json(whole).into_response())
}

pub(super) async fn retry(
    Extension(operator): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
    Query(why): Query<Why>,
) -> Result<Response, Problem> {
    let (running, service, letter) = find(&host, &id).await?;
    tracing::info!(target: "audit", by = operator.0, letter = %letter.id, "dead letter retried");
    let by = decision(&operator, why.why.as_deref());
    let retried = running.retry_dead_letter_as(service, letter.id, &by);
    done(retried.await, &letter)
}

pub(super) async fn discard(
    Extension(operator): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
    Query(why): Query<Why>,
) -> Result<Response, Problem> {
    let (running, service, letter) = find(&host, &id).await?;
    tracing::info!(target: "audit", by = operator.0, letter = %letter.id, "dead letter discarded");
    let by = decision(&operator, why.why.as_deref());
    let discarded = running.discard_dead_letter_as(service, letter.id, &by);
    done(discarded.await, &letter)
}

/// The new body of a dead letter's message.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadLetterEdit")]
pub(super) struct Edit {
    /// The body. It must fit the schema of the message type.
    body: serde_json::Value,
    /// The reason, for the log of actions.
    why: Option<String>,
}

pub(super) async fn edit(
    Extension(operator): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
    Body(edit): Body<Edit>,
) -> Result<Response, Problem> {
    let (running, service, letter) = find(&host, &id).await?;
    tracing::info!(target: "audit", by = operator.0, letter = %letter.id, "dead letter edited");
    let by = decision(&operator, edit.why.as_deref());
    let edited = running.edit_dead_letter(service, letter.id, &edit.body, &by);
    done(edited.await, &letter)
}

/// The dead letter that was retried, edited or discarded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterSettled")]
pub(super) struct Settled {
    id: Uuid,
}

fn done(found: Result<bool>, letter: &DeadLetter) -> Result<Response, Problem> {
    match found {
        Ok(true) => {
            let body = Settled { id: letter.id };
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Ok(false) => Err(Problem::not_found()),
        Err(why) => Err(refusal(why)),
    }
}
