//! The HTTP API of the provider.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::faults::{Chance, Faults};
use crate::ledger::{self, Booked, Booking, Ledger, Range};

const TOKENS: [&str; 5] = [
    "tok_ok",
    "tok_declined",
    "tok_slow",
    "tok_flaky",
    "tok_lost_reply",
];
const ENTRIES_MAX: i64 = 10_000;

#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) ledger: Ledger,
    pub(crate) chance: Arc<Chance>,
}

/// The mark of a response that must not arrive: the server closes the connection instead.
#[derive(Clone, Copy)]
pub(crate) struct CutConnection;

pub(crate) fn routes(bank: Bank) -> Router {
    Router::new()
        .route(
            "/v1/authorizations",
            post(|bank, headers, body| operate("authorize", bank, headers, body)),
        )
        .route(
            "/v1/captures",
            post(|bank, headers, body| operate("capture", bank, headers, body)),
        )
        .route(
            "/v1/voids",
            post(|bank, headers, body| operate("void", bank, headers, body)),
        )
        .route(
            "/v1/refunds",
            post(|bank, headers, body| operate("refund", bank, headers, body)),
        )
        .route("/v1/operations/{key}", get(operation))
        .route("/v1/ledger", get(entries))
        .route("/v1/faults", get(faults).put(set_faults))
        .route("/healthz", get(|| async { "ok" }))
        .with_state(bank)
}

#[derive(Deserialize)]
struct Order {
    order_id: Uuid,
    #[serde(default)]
    amount_minor: i64,
    #[serde(default)]
    token: String,
}

/// Reads a JSON object. serde alone would read an array, too, field by field.
fn object<T: DeserializeOwned>(body: &str) -> serde_json::Result<T> {
    let object: Map<String, Value> = serde_json::from_str(body)?;
    serde_json::from_value(object.into())
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

async fn operate(
    kind: &'static str,
    State(bank): State<Bank>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let order: Order = match object(&body) {
        Ok(order) => order,
        Err(why) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
    };
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if key.is_empty() {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the header Idempotency-Key is missing",
        );
    }
    let token = if kind == "authorize" {
        if !TOKENS.contains(&order.token.as_str()) || order.amount_minor < 0 {
            return refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown token or negative amount",
            );
        }
        order.token
    } else {
        let id = order.order_id;
        bank.ledger
            .read(move |connection| ledger::token(connection, id))
            .await
            .flatten()
            .unwrap_or_default()
    };
    let fate = bank.chance.fate(&order.order_id.to_string(), kind, &token);
    if fate.wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fate.wait_ms)).await;
    }
    if fate.unavailable {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the provider is unavailable",
        );
    }
    let booking = Booking {
        key,
        kind,
        order_id: order.order_id,
        amount: order.amount_minor,
        token,
        declined: fate.declined,
    };
    match bank.ledger.book(booking).await {
        Booked::Answer(_) if fate.lose_reply => {
            let mut cut = StatusCode::OK.into_response();
            cut.extensions_mut().insert(CutConnection);
            cut
        }
        Booked::Answer(answer) => ([("content-type", "application/json")], answer).into_response(),
        Booked::KeyReused => refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the key was used for a different request",
        ),
        Booked::Unavailable => refuse(StatusCode::SERVICE_UNAVAILABLE, "cannot write the ledger"),
    }
}

async fn operation(State(bank): State<Bank>, Path(key): Path<String>) -> Response {
    if bank.chance.faults().outage {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the provider is unavailable",
        );
    }
    match bank
        .ledger
        .read(move |connection| ledger::recorded(connection, &key))
        .await
        .flatten()
    {
        Some(answer) => ([("content-type", "application/json")], answer).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "no such operation"),
    }
}

#[derive(Deserialize)]
struct Which {
    order_id: Option<Uuid>,
    /// Orders after this one, in the order of their ids.
    beyond: Option<Uuid>,
    /// Orders up to this one.
    through: Option<Uuid>,
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
}

async fn entries(State(bank): State<Bank>, Query(which): Query<Which>) -> Response {
    let limit = which.limit.unwrap_or(ENTRIES_MAX).clamp(1, ENTRIES_MAX);
    let range = Range {
        order: which.order_id,
        beyond: which.beyond,
        through: which.through,
    };
    let read = move |connection: &rusqlite::Connection| {
        ledger::entries(connection, range, which.after, limit)
    };
    let Some(rows) = bank.ledger.read(read).await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "cannot read the ledger");
    };
    let next = (rows.len() as i64 == limit)
        .then(|| rows.last().map(|(id, _)| *id))
        .flatten();
    let items: Vec<_> = rows.into_iter().map(|(_, entry)| entry).collect();
    Json(json!({ "items": items, "next": next })).into_response()
}

async fn faults(State(bank): State<Bank>) -> Json<Faults> {
    Json(bank.chance.faults())
}

async fn set_faults(State(bank): State<Bank>, body: String) -> Response {
    match object::<Faults>(&body) {
        Ok(faults) if faults.is_valid() => {
            bank.chance.set(faults);
            Json(faults).into_response()
        }
        Ok(_) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "a value is out of bounds"),
        Err(why) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
    }
}
