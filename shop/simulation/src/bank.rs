//! The payment company of the simulation: the stand-in's promises and cards, in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::SharedRuntime;
use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::HttpClient;
use wingbeat::{BoxFuture, Error, Result};

/// The delay of a slow card.
const SLOW: Duration = Duration::from_secs(2);

struct Card {
    token: String,
    amount: i64,
    state: &'static str,
}

#[derive(Default)]
struct Books {
    /// The request and the answer of each idempotency key.
    answers: BTreeMap<String, (String, Value)>,
    cards: BTreeMap<String, Card>,
    ledger: Vec<Value>,
    /// The number of failures of a card, by order and operation.
    misbehaved: BTreeMap<(String, &'static str), u32>,
}

/// A payment company in memory. It outlives every crash of the shop.
pub struct Bank {
    runtime: SharedRuntime,
    books: Mutex<Books>,
    is_closed: AtomicBool,
}

fn answer(status: u16, body: &Value) -> Result<Response> {
    let body = body.to_string().into_bytes().into();
    Ok(Response {
        status,
        body,
        ..Response::default()
    })
}

impl Bank {
    /// Creates a bank without bookings.
    #[must_use]
    pub fn new(runtime: SharedRuntime) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            books: Mutex::default(),
            is_closed: AtomicBool::new(false),
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the bank, which then answers no operation, or opens it again.
    pub fn set_closed(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    /// Returns the bookings of an order: `authorize`, `capture`, `void`, `refund`.
    #[must_use]
    pub fn effects(&self, order: &str) -> Vec<String> {
        let books = self.books();
        let own = books.ledger.iter().filter(|it| it["order_id"] == order);
        let kinds = own.filter_map(|it| it["kind"].as_str());
        kinds.map(str::to_owned).collect()
    }

    /// Returns the bookings of the orders that the query of `url` bounds.
    fn ledger(&self, url: &str) -> Result<Response> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let bound = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(of, _)| *of == name).map(|(_, value)| value)
        };
        let (beyond, through) = (bound("beyond"), bound("through"));
        let wanted = |entry: &&Value| {
            let order = entry["order_id"].as_str().unwrap_or_default();
            beyond.is_none_or(|it| order > it) && through.is_none_or(|it| order <= it)
        };
        let books = self.books();
        let items: Vec<&Value> = books.ledger.iter().filter(wanted).collect();
        answer(200, &json!({ "items": items, "next": null }))
    }

    async fn operate(&self, request: &Request) -> Result<Response> {
        if self.is_closed.load(Ordering::Relaxed) {
            return answer(503, &Value::Null);
        }
        let kind = match request.url.rsplit('/').next() {
            Some("authorizations") => "authorize",
            Some("captures") => "capture",
            Some("voids") => "void",
            Some("refunds") => "refund",
            _ => return answer(404, &Value::Null),
        };
        let mut headers = request.headers.iter();
        let key = headers.find(|(name, _)| name == "idempotency-key");
        let Some((_, key)) = key else {
            return answer(400, &Value::Null);
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let order = body["order_id"].as_str().unwrap_or_default().to_owned();
        let token = match kind {
            "authorize" => body["token"].as_str().unwrap_or_default().to_owned(),
            _ => {
                let books = self.books();
                let card = books.cards.get(&order);
                card.map_or_else(String::new, |card| card.token.clone())
            }
        };
        let times = {
            let mut books = self.books();
            let times = books.misbehaved.entry((order.clone(), kind)).or_default();
            *times += 1;
            *times
        };
        match token.as_str() {
            "tok_slow" if times == 1 => self.runtime.sleep(SLOW).await,
            "tok_flaky" if times <= 2 => return answer(503, &Value::Null),
            _ => {}
        }
        let (status, told) = self.books().book(kind, key, &order, &token, &body);
        if token == "tok_lost_reply" && times == 1 {
            return Err(Error::retry("no_answer", "the connection was cut"));
        }
        answer(status, &told)
    }
}

impl Books {
    fn book(
        &mut self,
        kind: &'static str,
        key: &str,
        order: &str,
        token: &str,
        body: &Value,
    ) -> (u16, Value) {
        let amount = body["amount_minor"].as_i64().unwrap_or(0);
        let request = format!("{kind} {order} {amount} {token}");
        if let Some((earlier, told)) = self.answers.get(key) {
            return match *earlier == request {
                true => (200, told.clone()),
                false => (422, Value::Null),
            };
        }
        let (held, state) = self
            .cards
            .get(order)
            .map_or((0, ""), |card| (card.amount, card.state));
        let (status, moved) = match kind {
            "authorize" if token == "tok_declined" => ("declined", 0),
            "authorize" => ("authorized", amount),
            "capture" if matches!(state, "authorized" | "captured") && amount <= held => {
                ("captured", amount)
            }
            "void" if state == "authorized" => ("voided", held),
            "refund" if state == "captured" && amount <= held => ("refunded", amount),
            _ => ("refused", 0),
        };
        if !matches!(status, "declined" | "refused") {
            let card = self.cards.entry(order.to_owned()).or_insert(Card {
                token: token.to_owned(),
                amount: moved,
                state: status,
            });
            card.state = status;
            let entry = json!({ "order_id": order, "kind": kind, "amount_minor": moved });
            self.ledger.push(entry);
        }
        let told = json!({ "status": status, "order_id": order });
        self.answers.insert(key.to_owned(), (request, told.clone()));
        (200, told)
    }
}

impl HttpClient for Bank {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            match request.method {
                "GET" => self.ledger(&request.url),
                _ => self.operate(&request).await,
            }
        })
    }
}
