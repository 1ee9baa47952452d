//! The whole system on the model, with changes of stored data that no handler has made.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use serde_json::{Value, json};
use shop_audit::{Report, report};
use shop_notifications::Delivery;
use shop_system::roles::whole;
use shop_system::{Settings, services};
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat::http::session::{Sessions, identify};
use wingbeat::ports::{Key, Unit};
use wingbeat::run::RunningSystem;
use wingbeat::test::{Model, Simulation};
use wingbeat::{Name, Runtime as _, RuntimeExt as _, Timestamp};
use wingbeat_core::unit::{Outcome, RowWrite, Write};

use crate::company::Company;

/// The provider's base URL.
const PROVIDER: &str = "http://provider";

/// The system, and the payment company.
pub(crate) struct Shop {
    simulation: Simulation,
    system: RunningSystem,
    pub(crate) company: Arc<Company>,
    sessions: Sessions,
    routes: Router,
}

/// Orders of one user that have ended.
pub(crate) struct Orders {
    /// The user.
    pub(crate) user: String,
    /// Orders with items only.
    pub(crate) plain: Vec<String>,
    /// The code of the user's promo.
    pub(crate) promo: String,
    /// The order with that promo.
    pub(crate) with_promo: String,
    /// The flash sale of which the user has bought a unit.
    pub(crate) sale: String,
}

impl Shop {
    /// Opens a shop that sells tea, and runs the story in it.
    pub(crate) fn open(story: impl AsyncFnOnce(Self)) {
        let simulation = Simulation::new(1);
        let world = simulation.clone();
        simulation.run(async move {
            let shop = Self::start(world).await;
            let price = json!({ "amount_minor": 450, "currency": "EUR" });
            let tea = json!({ "name": "Tea", "description": "Green", "price": price });
            shop.done("PUT", "/admin/products/TEA-1", None, &tea).await;
            let delivered = json!({ "delta": 1_000, "reason": "delivered" });
            shop.done("POST", "/admin/stock/TEA-1", None, &delivered)
                .await;
            shop.pass(10_000).await;
            story(shop).await;
        });
    }

    async fn start(simulation: Simulation) -> Self {
        let model = Model::new(simulation.runtime());
        let company = Arc::new(Company::default());
        let ports = model.ports(&simulation.group(), company.clone());
        let sessions = Sessions::new(model.cache.clone(), simulation.runtime());
        let mut settings = Settings::default();
        settings.own.password_memory_kib = NonZeroU32::MIN.saturating_add(7);
        settings.own.password_passes = NonZeroU32::MIN;
        let mails = &Delivery::Mailbox;
        let app = services::system(&settings, &whole(), &sessions, PROVIDER, mails);
        let running = app.start(ports.clone()).await.unwrap();
        let routes = running.routes();
        Self {
            simulation,
            system: RunningSystem {
                ports,
                running: vec![Arc::new(running)],
            },
            company,
            routes: routes.layer(from_fn_with_state(sessions.clone(), identify)),
            sessions,
        }
    }

    /// Lets some milliseconds pass.
    pub(crate) async fn pass(&self, milliseconds: u64) {
        self.simulation
            .sleep(Duration::from_millis(milliseconds))
            .await;
    }

    /// Sends a request of a user, or of the administrator, and returns the answer of a success.
    async fn done(&self, method: &str, path: &str, user: Option<&str>, body: &Value) -> Value {
        let id = user.map_or(Uuid::nil(), |user| user.parse().unwrap());
        let (token, _) = self.sessions.start(id, user.is_none()).await.unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", self.simulation.id().to_string())
            .header("content-type", "application/json");
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let response = self.routes.clone().oneshot(request.body(body).unwrap());
        let response = response.await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    /// Signs a user up, and waits for everything that follows. Returns the user's id.
    pub(crate) async fn sign_up(&self) -> String {
        let form = json!({
            "email": "ada@shop.example", "password": "correct horse battery", "name": "Ada",
        });
        let user = self.done("POST", "/users", None, &form).await;
        self.pass(10_000).await;
        user["user_id"].as_str().unwrap().to_owned()
    }

    /// Places an order with these fields, and returns its id.
    pub(crate) async fn order(&self, user: &str, fields: &Value) -> String {
        let mut order = fields.clone();
        order["payment_token"] = json!("tok_ok");
        order["address"] = json!({
            "line1": "1 Way", "city": "Bern", "postal_code": "3000", "country": "CH",
        });
        let placed = self.done("POST", "/orders", Some(user), &order).await;
        placed["order_id"].as_str().unwrap().to_owned()
    }

    /// Places orders of all kinds, and waits until they have ended.
    pub(crate) async fn orders(&self) -> Orders {
        let user = self.sign_up().await;
        let items = json!([{ "sku": "TEA-1", "quantity": 1 }]);
        let mut plain = Vec::new();
        for _ in 0..5 {
            plain.push(self.order(&user, &json!({ "items": items })).await);
        }
        let promos = self
            .done("GET", "/promotions", Some(&user), &Value::Null)
            .await;
        let promo = promos["items"][0]["code"].as_str().unwrap().to_owned();
        let fields = json!({ "items": items, "promo_code": promo });
        let with_promo = self.order(&user, &fields).await;
        let sale = self.buy_in_sale(&user).await;
        self.pass(30_000).await;
        Orders {
            user,
            plain,
            promo,
            with_promo,
            sale,
        }
    }

    /// Opens a flash sale, and buys a unit of it. Returns the id of the sale.
    async fn buy_in_sale(&self, user: &str) -> String {
        let now = self.simulation.now();
        let sale = json!({
            "sku": "TEA-1", "price": { "amount_minor": 100, "currency": "EUR" }, "allocation": 3,
            "opens_at": now, "closes_at": now + Duration::from_secs(3_600),
        });
        let sale = self.done("POST", "/admin/flash-sales", None, &sale).await;
        let sale = sale["id"].as_str().unwrap().to_owned();
        self.pass(5_000).await;
        let claims = format!("/flash-sales/{sale}/claims");
        let claim = self.done("POST", &claims, Some(user), &Value::Null).await;
        self.pass(5_000).await;
        self.order(user, &json!({ "flash_claim_id": claim["claim_id"] }))
            .await;
        sale
    }

    pub(crate) async fn report(&self) -> Report {
        report(&self.system, PROVIDER).await.unwrap()
    }

    /// Checks that the audit reports this invariant as broken for this subject.
    pub(crate) async fn breaks(&self, id: u8, subject: &str) -> Report {
        let report = self.report().await;
        let mut invariants = report.invariants.iter();
        let invariant = invariants.find(|it| it.id == id).unwrap();
        let is_reported = invariant.violations.iter().any(|it| it.subject == subject);
        assert!(
            !report.ok && !invariant.ok && is_reported,
            "{id} of {subject}: {report:#?}"
        );
        report
    }

    async fn commit(&self, service: &'static str, fill: impl FnOnce(&mut Unit)) {
        let id = self.simulation.id().into();
        let mut unit = Unit::new(id, Name::new(service), Timestamp::default());
        fill(&mut unit);
        let committed = self.system.ports.store.commit(Arc::new(vec![unit])).await;
        assert_eq!(committed.unwrap(), [Outcome::Committed]);
    }

    async fn write(&self, service: &'static str, key: Key, body: Option<Value>) {
        let write = Write {
            key,
            body: body.map(|value| value.to_string().into()),
            due_at: None,
            expires_at: None,
        };
        self.commit(service, |unit| unit.writes.push(write)).await;
    }

    /// Changes a record.
    pub(crate) async fn change(
        &self,
        service: &'static str,
        table: &'static str,
        id: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let key = Key::new(Name::new(table), id);
        let found = self.system.ports.store.load(Name::new(service), &key).await;
        let record = found.unwrap().expect("the record exists");
        let mut body = serde_json::from_slice(&record.body).unwrap();
        change(&mut body);
        self.write(service, key, Some(body)).await;
    }

    /// Removes a record.
    pub(crate) async fn remove(&self, service: &'static str, table: &'static str, id: &str) {
        self.write(service, Key::new(Name::new(table), id), None)
            .await;
    }

    /// Changes a row of a view.
    pub(crate) async fn change_row(
        &self,
        service: &'static str,
        view: &'static str,
        key: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let (service_name, view) = (Name::new(service), Name::new(view));
        let found = self.system.ports.store.row(service_name, view, key).await;
        let mut row = found.unwrap().expect("the row exists");
        let mut body = serde_json::from_slice(&row.body).unwrap();
        change(&mut body);
        row.body = body.to_string().into();
        let write = RowWrite {
            view,
            key: key.into(),
            row: Some(row),
        };
        self.commit(service, |unit| unit.rows.push(write)).await;
    }

    /// Increments a counter.
    pub(crate) async fn count(&self, service: &'static str, counter: &'static str) {
        let counted = (Name::new(counter), 1);
        self.commit(service, |unit| unit.counts.push(counted)).await;
    }
}
