//! The storefront with a fake API: `cargo run -p shop-gateway --example storefront`.
//!
//! For work on pages, styles and modules: it needs no services. Orders progress by the clock. The
//! test cards and the buttons of "Break it" work approximately.

#![allow(
    clippy::disallowed_methods,
    reason = "a server for browsers uses the real clock"
)]

#[path = "../tests/it/fake/mod.rs"]
mod fake;

use std::{collections::BTreeSet, time::Duration};

use axum::{http::HeaderValue, http::header, middleware, response::Response};
use fake::Fake;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let fake = Fake::new();
    tokio::spawn(move_orders(fake.clone()));
    let api = fake.router();
    let app = api
        .clone()
        .merge(shop_gateway::storefront::routes(api, true))
        .fallback(shop_gateway::storefront::not_found)
        .layer(middleware::map_response(secure));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{address}");
    Ok(axum::serve(listener, app).await?)
}

async fn secure(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(shop_gateway::storefront::CONTENT_SECURITY_POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// Starts the progress of each new order.
async fn move_orders(fake: Fake) {
    let mut seen = BTreeSet::new();
    loop {
        let orders = fake.shop().orders.clone();
        for order in orders {
            let id = order["order_id"].as_str().unwrap_or_default().to_owned();
            if seen.insert(id.clone()) {
                tokio::spawn(walk(fake.clone(), id, order));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Moves one order through its states.
async fn walk(fake: Fake, id: String, order: Value) {
    let step = |status: &'static str, millis: u64| {
        let (fake, id) = (fake.clone(), id.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            fake.advance(&id, status, None, false);
        }
    };
    step("stock_reserved", 300).await;
    if order["token"] == "tok_declined" {
        tokio::time::sleep(Duration::from_millis(300)).await;
        return fake.advance(&id, "rejected", Some("payment_declined"), false);
    }
    while fake.shop().faults["outage"] == true {
        tokio::time::sleep(Duration::from_millis(500)).await;
        fake.advance(&id, "stock_reserved", None, true);
    }
    step("payment_authorized", 200).await;
    step("paid", 200).await;
    step("shipped", 2_000).await;
    step("completed", 2_000).await;
}
