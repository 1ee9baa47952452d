//! Overload: the shop refuses claims on flash sales first, then orders, browsing last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::App;
use wingbeat::overload::{Overload, Probe, Watermarks};
use wingbeat::test::TestApp;

/// The memory in use, in percent.
#[derive(Clone, Default)]
struct Memory(Arc<AtomicU64>);

impl Probe for Memory {
    fn memory_percent(&self) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst))
    }
}

const ID: &str = "00000000-0000-0000-0000-000000000007";

/// Routes, and the level at which they are refused; 4 for those that never are.
const ROUTES: [(&str, &str, u8); 15] = [
    ("POST", "/flash-sales/{id}/claims", 1),
    ("POST", "/orders", 2),
    ("PUT", "/cart/items/TEA-1", 2),
    ("POST", "/users", 2),
    ("GET", "/products", 3),
    ("GET", "/products/TEA-1", 3),
    ("GET", "/cart", 3),
    ("GET", "/flash-sales", 3),
    ("GET", "/orders", 3),
    ("GET", "/orders/{id}", 3),
    ("GET", "/me", 3),
    ("POST", "/sessions", 3),
    ("PUT", "/me/password", 3),
    ("POST", "/orders/{id}/cancel", 4),
    ("DELETE", "/sessions/current", 4),
];

fn shop(overload: Option<Overload>) -> TestApp {
    TestApp::with(1, |sessions| {
        let app = App::new()
            .service(shop_catalog::service(&shop_catalog::Config::default()))
            .service(shop_carts::service(sessions.clone()))
            .service(shop_inventory::service(&shop_inventory::Config::default()))
            .service(shop_identity::service(
                &shop_identity::Config::default(),
                sessions.clone(),
            ))
            .service(shop_orders::service(
                &shop_orders::Config::default(),
                sessions.clone(),
            ));
        match overload {
            Some(overload) => app.shedding(overload),
            None => app,
        }
    })
}

/// Returns the routes that are refused at this use of the memory.
fn refused(shop: &TestApp, memory: &Memory, percent: u64) -> Vec<&'static str> {
    memory.0.store(percent, Ordering::SeqCst);
    shop.pass(Duration::from_secs(1));
    let refused = ROUTES.iter().filter_map(|(method, path, _)| {
        let asked = format!("/api/v1{}", path.replace("{id}", ID));
        let (status, problem) = shop.ask(method, &asked, "nobody", &json!({}));
        let is_refused = (status, &problem["code"]) == (503, &Value::from("overloaded"));
        is_refused.then_some(*path)
    });
    refused.collect()
}

#[test]
fn flash_claims_are_refused_first_then_orders_and_browsing_last() {
    let memory = Memory::default();
    let overload = Overload::new(Watermarks::default(), Arc::new(memory.clone()));
    let app = shop(Some(overload));
    let without = shop(None);
    for (percent, level) in [(80, 0), (85, 1), (90, 2), (95, 3), (75, 0)] {
        let expected = ROUTES.iter().filter(|(.., from)| *from <= level);
        let expected: Vec<&str> = expected.map(|(_, path, _)| *path).collect();
        assert_eq!(refused(&app, &memory, percent), expected, "{percent} %");
        // The control: a shop that never refuses.
        assert_eq!(refused(&without, &memory, percent), [""; 0]);
    }
}
