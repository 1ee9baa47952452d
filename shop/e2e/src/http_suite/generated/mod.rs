//! Requests that are made from the OpenAPI document: valid ones, and ones that violate it in one or
//! several places. A seed makes the same requests each time.
//!
//! - [`cases`]: the requests. `body` makes bodies from schemas, `text` is hostile text.
//! - [`Session`]: sends them to one shop on kept connections and checks each response.

mod body;
mod text;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::documented;
use super::kept::Kept;
use super::raw::Reply;
use super::{Api, Subject};
use crate::wait::until;
use body::Bodies;

/// Requests of one run, and the seed.
pub const CASES: usize = 800;
/// The seed of the suite.
pub const SEED: u64 = 15;
/// Operations that a run leaves out: they change what all users share, run for seconds, or end the
/// session of the run.
const LEFT_OUT: [(&str, &str); 3] = [
    ("put", "/dev/provider/faults"),
    ("delete", "/api/v1/sessions/current"),
    ("get", "/api/v1/admin/audit"),
];
/// Operations that compare passwords, and the number of comparisons in a run: more are refused.
const GUESSES: [(&str, &str); 2] = [("post", "/api/v1/sessions"), ("put", "/api/v1/me/password")];
const GUESSES_MAX: usize = 2;
/// Prefixes of paths for programs, whose errors are problems.
const PROGRAMS: [&str; 3] = ["/api/", "/dev/", "/openapi.json"];
/// The product of requests that change products or stock.
const SKU: &str = "GEN-1";

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    Shopper,
    Admin,
    /// A token that no session has.
    Stranger,
}

/// A generated request.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its place in the run.
    pub number: usize,
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    caller: Caller,
    body: Vec<u8>,
}

impl Case {
    fn bytes(&self, session: &Session<'_>) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend(&self.target);
        bytes.extend(format!(" HTTP/1.1\r\nhost: {}\r\n", session.api.address).bytes());
        let token = match self.caller {
            Caller::Nobody => None,
            Caller::Shopper => Some(session.shopper.as_str()),
            Caller::Admin => Some(session.admin.as_str()),
            Caller::Stranger => Some("0123456789abcdef"),
        };
        if let Some(token) = token {
            bytes.extend(format!("authorization: Bearer {token}\r\n").bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend(format!("{name}: ").bytes());
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", self.body.len()).bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// The path, if it is text.
    fn path(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }
}

/// Makes the requests of a run from the OpenAPI document.
#[must_use]
pub fn cases(document: &Value, seed: u64, count: usize) -> Vec<Case> {
    let mut maker = Maker {
        random: fastrand::Rng::with_seed(seed),
        bodies: Bodies { document },
        guesses: 0,
    };
    let operations = operations(document);
    let made = (0..count).map(|number| {
        // Each operation in turn, so that none is left out by chance.
        let (path, method, operation) = operations[number % operations.len()];
        maker.case(number, path, method, operation)
    });
    made.collect()
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    all.filter(|(path, method, _)| !LEFT_OUT.contains(&(*method, *path)))
        .collect()
}

struct Maker<'a> {
    random: fastrand::Rng,
    bodies: Bodies<'a>,
    guesses: usize,
}

impl Maker<'_> {
    fn case(&mut self, number: usize, path: &str, method: &str, operation: &Value) -> Case {
        let parameters = operation["parameters"].as_array();
        let parameters: Vec<&Value> = parameters.into_iter().flatten().collect();
        // One request in four is meant to be valid; the others violate one part, or each in turn.
        let violated = self.random.usize(..8);
        let mut target = self.path(path, violated == 0).into_bytes();
        target.extend(self.query(&parameters, violated == 1));
        let mut headers = self.headers(number, &parameters, violated == 2);
        let mut body = Vec::new();
        if operation["requestBody"].is_object() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            body = self.body(schema, (method, path), violated);
            headers.extend(self.content_type(violated == 5));
        } else if self.random.usize(..10) == 0 {
            body = vec![b'x'; self.random.usize(..2_000)]; // A body that nobody reads.
        }
        let caller = self.caller(path, violated == 6);
        Case {
            number,
            method: self.method(method, violated == 7),
            target,
            headers,
            caller,
            body,
        }
    }

    fn path(&mut self, template: &str, violate: bool) -> String {
        let segments = template.split('/').map(|segment| {
            let Some(name) = segment.strip_prefix('{') else {
                return segment.to_owned();
            };
            if violate {
                return text::segment(&mut self.random);
            }
            match name.trim_end_matches('}') {
                "sku" if template.contains("/admin/") => SKU.to_owned(),
                "sku" => "WB-BELL-01".to_owned(),
                "id" => uuid(&mut self.random),
                _ => "nobody".to_owned(),
            }
        });
        segments.collect::<Vec<_>>().join("/")
    }

    fn query(&mut self, parameters: &[&Value], violate: bool) -> Vec<u8> {
        let mut pairs = Vec::new();
        for parameter in parameters.iter().filter(|it| it["in"] == "query") {
            let name = parameter["name"].as_str().unwrap_or_default();
            if violate {
                pairs.push(format!("{name}={}", text::segment(&mut self.random)));
            } else if self.random.bool() && name == "limit" {
                pairs.push(format!("limit={}", self.random.usize(1..=100)));
            } else if self.random.bool() && name == "search" {
                pairs.push("search=KETTLE".to_owned());
            }
        }
        if violate {
            let others = [
                "unknown=1",
                "limit",
                "=",
                "&&",
                "a=%00",
                "cursor=0&cursor=0",
                "%ff=%fe",
            ];
            let other = others[self.random.usize(..others.len())];
            if self.random.bool() {
                pairs.push(other.to_owned());
            }
        }
        if pairs.is_empty() {
            return Vec::new();
        }
        format!("?{}", pairs.join("&")).into_bytes()
    }

    fn headers(
        &mut self,
        number: usize,
        parameters: &[&Value],
        violate: bool,
    ) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        for parameter in parameters.iter().filter(|it| it["in"] == "header") {
            let name = parameter["name"]
                .as_str()
                .unwrap_or_default()
                .to_lowercase();
            if violate {
                let count = self.random.usize(..3);
                let values = (0..count).map(|_| text::header(&mut self.random));
                headers.extend(values.map(|value| (name.clone(), value)));
            } else if parameter["required"] == json!(true) || self.random.bool() {
                headers.push((name, format!("{number}").into_bytes()));
            }
        }
        if violate {
            headers.push(("x-other".into(), text::header(&mut self.random)));
        }
        headers
    }

    fn content_type(&mut self, violate: bool) -> Option<(String, Vec<u8>)> {
        let kinds: &[&[u8]] = if violate {
            &[
                b"text/plain",
                b"",
                b"application/jsonx",
                b"\xff",
                b"multipart/form-data",
            ]
        } else {
            &[
                b"application/json",
                b"Application/JSON; charset=utf-8",
                b"application/x+json",
            ]
        };
        let kind = kinds[self.random.usize(..kinds.len())];
        (!violate || self.random.bool()).then(|| ("content-type".into(), kind.to_vec()))
    }

    fn body(&mut self, schema: &Value, operation: (&str, &str), violated: usize) -> Vec<u8> {
        let mut valid = self.bodies.valid(schema, &mut self.random);
        match violated {
            3 => self.bodies.violated(schema, valid, &mut self.random),
            4 => text::json(&valid.to_string(), &mut self.random),
            _ => {
                if GUESSES.contains(&operation) {
                    self.guesses += 1;
                    if self.guesses > GUESSES_MAX {
                        valid["unknown"] = json!(1);
                    }
                }
                valid.to_string().into_bytes()
            }
        }
    }

    fn caller(&mut self, path: &str, violate: bool) -> Caller {
        if path == "/api/v1/stream" {
            return Caller::Stranger; // Otherwise the response has no end.
        }
        let usual = if path.contains("/admin/") {
            Caller::Admin
        } else {
            Caller::Shopper
        };
        let others = [Caller::Nobody, Caller::Shopper, Caller::Stranger];
        if violate {
            others[self.random.usize(..others.len())]
        } else {
            usual
        }
    }

    fn method(&mut self, usual: &str, violate: bool) -> String {
        let others = ["PATCH", "OPTIONS", "HEAD", "TRACE", "DELETE", "BREW"];
        let method = others[self.random.usize(..others.len())];
        // A change by another method may be one that the run leaves out.
        if violate && method != "DELETE" {
            return method.to_owned();
        }
        usual.to_uppercase()
    }
}

fn uuid(random: &mut fastrand::Rng) -> String {
    let hex = format!("{:032x}", random.u128(..));
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32],
    ];
    let [a, b, c, d, e] = parts;
    format!("{a}-{b}-7{c}-8{d}-{e}")
}

/// A run against one shop.
pub struct Session<'a> {
    api: &'a Api,
    client: Kept,
    shopper: String,
    admin: String,
    /// The products before the run.
    products: BTreeSet<String>,
}

/// Returns the SKUs of all listed products.
async fn products(api: &Api) -> BTreeSet<String> {
    let page = api.get("/api/v1/products?limit=100", "").await.json();
    let items = page["items"].as_array().into_iter().flatten();
    let skus = items.filter_map(|item| item["sku"].as_str());
    skus.map(str::to_owned).collect()
}

impl<'a> Session<'a> {
    /// Signs the callers of the run in.
    pub async fn open(api: &'a Api) -> Self {
        Self {
            shopper: api.shopper().await,
            admin: api.admin().await,
            products: products(api).await,
            client: Kept::new(api.address),
            api,
        }
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// If the response blames the server, is no problem although it refuses, is not documented, or
    /// leaves the connection unusable without saying so.
    pub async fn ask(&mut self, case: &Case) -> Reply {
        let bytes = case.bytes(self);
        let reply = self.client.ask(&bytes).await;
        assert!((200..500).contains(&reply.status), "{case:?}: {reply:?}");
        let path = case.path();
        let of_program = PROGRAMS.iter().any(|prefix| path.starts_with(prefix));
        if of_program && case.method != "HEAD" {
            if reply.status >= 400 {
                assert_is_problem(case, &reply);
            }
            documented::check(self.api.address, &case.method, &path, &reply).await;
        }
        reply
    }

    /// Ends the run: products that it has listed are retired.
    ///
    /// # Panics
    ///
    /// If one cannot be retired: other tests of this shop count its products.
    pub async fn close(self) {
        // A request of the run may have ended the session of the administrator.
        let admin = self.api.admin().await;
        for sku in products(self.api).await.difference(&self.products) {
            let path = format!("/api/v1/admin/products/{sku}");
            let reply = self.api.call("DELETE", &path, &admin, &Value::Null).await;
            assert_eq!(reply.status, 204, "{sku}: {reply:?}");
        }
        until("the products are those before the run", async || {
            let now = products(self.api).await;
            let is_as_before = now == self.products;
            is_as_before.then_some(()).ok_or_else(|| format!("{now:?}"))
        })
        .await;
    }
}

fn assert_is_problem(case: &Case, reply: &Reply) {
    let problem = reply.json();
    let kind = reply.header("content-type");
    assert_eq!(
        kind,
        Some("application/problem+json"),
        "{case:?}: {reply:?}"
    );
    for field in ["type", "title", "detail", "code"] {
        let text = problem[field].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "no {field}: {case:?}: {reply:?}");
    }
    assert_eq!(problem["status"], json!(reply.status), "{case:?}");
    if reply.status == 405 {
        assert!(reply.header("allow").is_some(), "{case:?}: {reply:?}");
    }
}

/// The part of a response that does not depend on the shop that sent it.
#[must_use]
pub fn answer(reply: &Reply) -> (u16, String, String, Option<String>) {
    let kind = reply.header("content-type").map(str::to_owned);
    (reply.status, reply.code(), reply.pointer(), kind)
}

/// Sends the generated requests to the shop.
pub async fn every_generated_request_is_answered_as_documented(shop: Subject) {
    let document = shop.get("/openapi.json", "").await.json();
    let mut session = Session::open(&shop).await;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for case in cases(&document, SEED, CASES) {
        let reply = session.ask(&case).await;
        *statuses.entry(reply.status).or_default() += 1;
    }
    session.close().await;
    // The run is worth something only if it reaches all kinds of answers.
    for status in [200, 202, 400, 401, 403, 404, 405, 415, 422] {
        assert!(statuses.contains_key(&status), "no {status}: {statuses:?}");
    }
}
