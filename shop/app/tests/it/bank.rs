//! The payment provider as a test wants it: in memory, with the same promises and the same misbehaviour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use wingbeat::outgoing::{Request, Response};
use wingbeat::runtime::SharedRuntime;
use wingbeat::{BoxFuture, Error, HttpClient, Result};

#[derive(Default)]
struct Books {
    answers: BTreeMap<String, Value>,
    /// Order and kind, as booked.
    ledger: Vec<(String, String)>,
    declined: BTreeMap<String, bool>,
    /// Calls that came while it was out of order.
    refused: u64,
}

/// A bank whose replies get lost with this share of 1,000.
pub(crate) struct Bank {
    runtime: SharedRuntime,
    lost: u64,
    out_of_order: Mutex<bool>,
    books: Mutex<Books>,
}

impl Bank {
    pub(crate) fn new(runtime: SharedRuntime, lost: u64) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            lost,
            out_of_order: Mutex::new(false),
            books: Mutex::default(),
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn break_down(&self, broken: bool) {
        *self
            .out_of_order
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = broken;
    }

    pub(crate) fn refused(&self) -> u64 {
        self.books().refused
    }

    pub(crate) fn effects(&self, order: &str) -> Vec<String> {
        self.books()
            .ledger
            .iter()
            .filter(|(of, _)| of == order)
            .map(|(_, kind)| kind.clone())
            .collect()
    }

    fn book(&self, key: &str, path: &str, body: &Value) -> Value {
        let mut books = self.books();
        if let Some(answer) = books.answers.get(key) {
            return answer.clone();
        }
        let order = body["order_id"].as_str().unwrap_or_default().to_owned();
        let (kind, done) = match path {
            "authorizations" => ("authorize", "authorized"),
            "captures" => ("capture", "captured"),
            "voids" => ("void", "voided"),
            _ => ("refund", "refunded"),
        };
        if body["token"] == "tok_declined" {
            books.declined.insert(order.clone(), true);
        }
        let status = if books.declined.contains_key(&order) {
            "declined"
        } else {
            done
        };
        if status == done {
            books.ledger.push((order, kind.to_owned()));
        }
        let answer = json!({ "status": status });
        books.answers.insert(key.to_owned(), answer.clone());
        answer
    }
}

impl HttpClient for Bank {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            if *self
                .out_of_order
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
            {
                self.books().refused += 1;
                return Ok(Response {
                    status: 503,
                    body: bytes::Bytes::new(),
                });
            }
            let key = request
                .headers
                .iter()
                .find(|(name, _)| name == "idempotency-key")
                .map(|(_, key)| key.clone());
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let path = request
                .url
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            let answer = self.book(&key.unwrap_or_default(), &path, &body);
            if self.runtime.random() % 1_000 < self.lost {
                return Err(Error::retry("no_answer", "the reply was lost"));
            }
            Ok(Response {
                status: 200,
                body: answer.to_string().into_bytes().into(),
            })
        })
    }
}
