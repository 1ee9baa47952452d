//! The payment company. It does what it is asked, and tests change its ledger.

use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};
use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::HttpClient;
use wingbeat::{BoxFuture, Result};

/// The ledger: an entry for each effect.
#[derive(Default)]
pub(crate) struct Company(Mutex<Vec<Value>>);

impl Company {
    fn ledger(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap()
    }

    /// Captures the amount of an order a second time.
    pub(crate) fn capture_again(&self, order: &str) {
        let mut ledger = self.ledger();
        let entry = ledger[capture(&ledger, order)].clone();
        ledger.push(entry);
    }

    /// Removes the capture of an order.
    pub(crate) fn forget_capture(&self, order: &str) {
        let mut ledger = self.ledger();
        let at = capture(&ledger, order);
        ledger.remove(at);
    }

    fn answer(&self, request: &Request) -> Value {
        let mut ledger = self.ledger();
        if request.method == "GET" {
            return json!({ "items": *ledger, "next": null });
        }
        let (kind, status) = match request.url.rsplit('/').next() {
            Some("authorizations") => ("authorize", "authorized"),
            Some("captures") => ("capture", "captured"),
            Some("voids") => ("void", "voided"),
            _ => ("refund", "refunded"),
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let (order, amount) = (&body["order_id"], &body["amount_minor"]);
        let amount = amount.as_i64().unwrap_or(0);
        ledger.push(json!({ "order_id": order, "kind": kind, "amount_minor": amount }));
        json!({ "status": status, "order_id": order })
    }
}

/// Returns the place of the capture of an order.
fn capture(ledger: &[Value], order: &str) -> usize {
    let is_capture = |it: &Value| it["order_id"] == order && it["kind"] == "capture";
    ledger.iter().position(is_capture).unwrap()
}

impl HttpClient for Company {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        let body = self.answer(&request).to_string().into_bytes().into();
        Box::pin(async {
            Ok(Response {
                status: 200,
                body,
                ..Response::default()
            })
        })
    }
}
