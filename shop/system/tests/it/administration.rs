//! The log target `audit` for what the administrator changes.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, registry};
use uuid::Uuid;
use wingbeat::App;
use wingbeat::test::TestApp;

const ADMIN: Uuid = Uuid::from_u128(7);
const CUSTOMER: Uuid = Uuid::from_u128(8);

/// The lines of this thread with the target `audit`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "audit" {
            return;
        }
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            let _ = write!(line, "{field}={value:?} ");
        });
        self.0.lock().expect("no test panics with it").push(line);
    }
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panics with it"))
    }
}

#[test]
fn each_change_of_products_stock_and_flash_sales_is_in_the_audit_log() {
    let log = Log::default();
    let _recording = tracing::subscriber::set_default(registry().with(log.clone()));
    let app = TestApp::start(
        1,
        App::new()
            .service(shop_catalog::service(&shop_catalog::Config::default()))
            .service(shop_inventory::service(&shop_inventory::Config::default())),
    );
    let (admin, customer) = (app.sign_in(ADMIN, true), app.sign_in(CUSTOMER, false));
    let price = json!({"amount_minor": 450, "currency": "EUR"});
    let now = app.reads("inventory").runtime().now();
    let product = json!({"name": "Tea", "description": "Green", "price": price});
    let sale = json!({
        "sku": "TEA-1", "price": price, "allocation": 1,
        "opens_at": now, "closes_at": now + std::time::Duration::from_secs(60),
    });
    let changes = [
        ("PUT", "/api/v1/admin/products/TEA-1", product),
        (
            "POST",
            "/api/v1/admin/stock/TEA-1",
            json!({"delta": 5, "reason": "delivered"}),
        ),
        ("POST", "/api/v1/admin/flash-sales", sale),
        ("DELETE", "/api/v1/admin/products/TEA-1", Value::Null),
    ];
    for (method, path, body) in &changes {
        assert_eq!(app.ask(method, path, &customer, body).0, 403, "{path}");
        assert_eq!(log.take(), Vec::<String>::new(), "{path}");
        let (status, answer) = app.ask(method, path, &admin, body);
        assert!((200..300).contains(&status), "{path}: {answer}");
        let lines = log.take();
        assert_eq!(lines.len(), 1, "{path}: {lines:?}");
        for part in [
            format!("by={ADMIN}"),
            format!("method={method}"),
            (*path).into(),
        ] {
            assert!(lines[0].contains(&part), "{path}: {lines:?}");
        }
    }
    let refused = json!({"delta": 0, "reason": "nothing"});
    assert_eq!(
        app.ask("POST", "/api/v1/admin/stock/TEA-1", &admin, &refused)
            .0,
        422
    );
    assert_eq!(
        app.ask("GET", "/api/v1/products", &admin, &Value::Null).0,
        200
    );
    assert_eq!(log.take(), Vec::<String>::new(), "nothing changed");
}
