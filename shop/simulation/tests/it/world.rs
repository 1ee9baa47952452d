//! The shop's order services on the model, driven over their HTTP routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use shop_contracts::catalog::ProductListed;
use shop_contracts::inventory::AdjustStock;
use shop_contracts::{Money, Price, Sku};
use shop_simulation::Bank;
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat::Running;
use wingbeat::http::session::{Sessions, identify};
use wingbeat::test::{Model, Simulation};
use wingbeat::{App, Message, Runtime, RuntimeExt as _, TargetPolicy};

pub(crate) const STOCK: i64 = 1_000;

pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) model: Model,
    pub(crate) bank: Arc<Bank>,
    pub(crate) running: Running,
    sessions: Sessions,
    routes: Router,
}

/// The services of an order.
pub(crate) fn app(sessions: &Sessions) -> App {
    let shipping = shop_shipping::service(&shop_shipping::Config::default());
    without_shipping(sessions).service(shipping)
}

/// The services of an order, to which a test adds its own shipping.
pub(crate) fn without_shipping(sessions: &Sessions) -> App {
    let payments = shop_payments::Config {
        provider: shop_payments::config::ProviderUrl("http://bank".into()),
        target: TargetPolicy::default(),
    };
    App::new()
        .service(shop_orders::service(
            &shop_orders::Config::default(),
            sessions.clone(),
        ))
        .service(shop_inventory::service(&shop_inventory::Config::default()))
        .service(shop_promotions::service(&shop_promotions::Config::default()))
        .service(shop_payments::service(&payments))
}

impl World {
    pub(crate) async fn open(simulation: Simulation) -> Self {
        Self::of(simulation, app).await
    }

    /// Opens a shop with other services.
    pub(crate) async fn of(simulation: Simulation, app: impl FnOnce(&Sessions) -> App) -> Self {
        let model = Model::new(simulation.runtime());
        let bank = Bank::new(simulation.runtime());
        let ports = model.ports(&simulation.group(), bank.clone());
        let sessions = Sessions::new(model.cache.clone(), simulation.runtime());
        let running = app(&sessions)
            .allow_unknown_owners()
            .start(ports)
            .await
            .expect("starts");
        let routes = running.routes().layer(axum::middleware::from_fn_with_state(
            sessions.clone(),
            identify,
        ));
        let world = Self {
            simulation,
            model,
            bank,
            running,
            sessions,
            routes,
        };
        for sku in ["TEA-1", "CUP-1"] {
            world.stock(sku).await;
        }
        world.pass(Duration::from_secs(30)).await;
        world
    }

    pub(crate) async fn stock(&self, sku: &str) {
        let sku: Sku = sku.parse().expect("a SKU");
        let name = sku.to_string();
        self.publish(&ProductListed {
            sku: sku.clone(),
            name,
            price: Price::new(Money::eur(450)).expect("a price"),
            version: 1,
        })
        .await;
        let adjustment_id = self.simulation.id();
        self.publish(&AdjustStock {
            sku,
            delta: STOCK,
            reason: "opening".into(),
            adjustment_id,
        })
        .await;
    }

    /// Publishes a message as a program that is not part of the shop.
    pub(crate) async fn publish<M: Message>(&self, message: &M) {
        self.model
            .publish(self.simulation.id().into(), message)
            .await;
    }

    pub(crate) async fn pass(&self, time: Duration) {
        self.simulation.sleep(time).await;
    }

    pub(crate) async fn sign_in(&self) -> String {
        self.start_session(false).await
    }

    pub(crate) async fn sign_in_admin(&self) -> String {
        self.start_session(true).await
    }

    async fn start_session(&self, admin: bool) -> String {
        self.sessions
            .start(self.simulation.id(), admin)
            .await
            .expect("a session")
            .0
    }

    /// Sends a request and returns the status and the body of the response.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        key: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = request
            .header("content-type", "application/json")
            .body(body)
            .expect("a request");
        let response = self
            .routes
            .clone()
            .oneshot(request)
            .await
            .expect("routes answer");
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Places an order, and repeats the request under its key while the shop answers 503.
    pub(crate) async fn order(&self, token: &str, key: &str, body: &Value) -> Value {
        loop {
            let (status, answer) = self.ask("POST", "/orders", token, key, body).await;
            match status {
                202 => return answer,
                503 => self.pass(Duration::from_millis(100)).await,
                _ => panic!("{status} {answer}"),
            }
        }
    }

    pub(crate) async fn show(&self, token: &str, order: &str) -> Value {
        loop {
            let (status, answer) = self
                .ask("GET", &format!("/orders/{order}"), token, "", &Value::Null)
                .await;
            if status == 200 {
                return answer;
            }
            assert_eq!(status, 503, "{answer}");
        }
    }

    /// The violations in inventory's figures.
    pub(crate) async fn figures(&self) -> Vec<String> {
        let reads = self.running.reads("inventory").expect("runs");
        let figures = shop_inventory::audit::stock(&reads).await.expect("reads");
        figures
            .values()
            .filter_map(shop_inventory::audit::Figures::violation)
            .collect()
    }
}

/// The id of the order in a response.
pub(crate) fn id(answer: &Value) -> String {
    let id = answer["order_id"].as_str().expect("an order id");
    assert!(id.parse::<Uuid>().is_ok());
    id.to_owned()
}
