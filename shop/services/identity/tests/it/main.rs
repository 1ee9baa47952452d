//! Identity on the complete runtime, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod addresses;
mod erasure;
mod refusals;
mod sessions;

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use shop_identity::config::Hashing;
use shop_identity::{Config, service};
use wingbeat::App;
use wingbeat::test::TestApp;

const EMAIL: &str = "ada@shop.example";
const PASSWORD: &str = "correct horse";

/// Settings with cheap password hashes.
fn config() -> Config {
    let hashing = Hashing {
        memory_kib: 8,
        passes: 1,
        ..Hashing::default()
    };
    Config {
        hashing,
        ..Config::default()
    }
}

/// Starts identity and signs Ada up.
fn world(config: &Config) -> World {
    let app = TestApp::with(1, |sessions| {
        App::new().service(service(config, sessions.clone()))
    });
    let world = World { app };
    let form = json!({"email": EMAIL, "password": PASSWORD, "name": "Ada"});
    assert_eq!(world.send("POST", "/api/v1/users", &[], &form).status, 201);
    world
}

struct World {
    app: TestApp,
}

/// A reply, as far as the tests read it.
struct Reply {
    status: u16,
    cookie: Option<String>,
    json: Value,
}

impl World {
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send_from("127.0.0.1", method, path, headers, body)
    }

    fn sign_in_from(&self, peer: &str, forwarded: Option<&str>, password: &str) -> u16 {
        let form = json!({"email": EMAIL, "password": password});
        let headers = forwarded.map(|address| ("x-forwarded-for", address));
        let headers: Vec<_> = headers.into_iter().collect();
        self.send_from(peer, "POST", "/api/v1/sessions", &headers, &form)
            .status
    }

    fn send_from(
        &self,
        peer: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        Reply::of(&self.app.send(request(peer, method, path, headers, body)))
    }

    /// Sends a request several times at once and returns the statuses.
    fn send_at_once(
        &self,
        count: usize,
        peer: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Vec<u16> {
        let requests = (0..count).map(|_| request(peer, method, path, &[], body));
        let answers = self.app.send_at_once(requests.collect());
        answers.iter().map(|it| it.status().as_u16()).collect()
    }
}

fn request(
    peer: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Request<Body> {
    let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .header("content-type", "application/json")
        .extension(ConnectInfo(peer));
    request.body(Body::from(body.to_string())).unwrap()
}

impl Reply {
    fn of(answer: &Response<bytes::Bytes>) -> Self {
        let cookie = answer.headers().get("set-cookie");
        Self {
            status: answer.status().as_u16(),
            cookie: cookie.map(|cookie| cookie.to_str().unwrap().to_owned()),
            json: serde_json::from_slice(answer.body()).unwrap_or_default(),
        }
    }
}
