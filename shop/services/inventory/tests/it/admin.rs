//! The admin's changes of the stock.

use serde_json::{Value, json};
use wingbeat::test::TestApp;

use crate::warehouse::{figures, order, reserve, stocked};

fn change(world: &TestApp, token: &str, sku: &str, body: &Value) -> (u16, String) {
    let path = format!("/api/v1/admin/stock/{sku}");
    let (status, answer) = world.ask("POST", &path, token, body);
    let code = answer["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

fn admin(world: &TestApp) -> String {
    world.sign_in(order(1).0, true)
}

#[test]
fn only_the_admin_can_change_stock() {
    let world = stocked(1);
    let customer = world.sign_in(order(2).0, false);
    let body = json!({"delta": 5, "reason": "found some"});
    let (anonymous, customer) = (
        change(&world, "", "TEA", &body),
        change(&world, &customer, "TEA", &body),
    );
    assert_eq!(anonymous, (401, "unauthenticated".into()));
    assert_eq!(customer, (403, "forbidden".into()));
    assert_eq!(figures(&world, "TEA"), (10, 0));
}

#[test]
fn the_admin_adds_and_removes_units() {
    let world = stocked(1);
    let admin = admin(&world);
    let more = json!({"delta": 5, "reason": "found some"});
    assert_eq!(change(&world, &admin, "TEA", &more).0, 202);
    let fewer = json!({"delta": -15, "reason": "lost all"});
    assert_eq!(change(&world, &admin, "TEA", &fewer).0, 202);
    assert_eq!(figures(&world, "TEA"), (0, 0));
}

#[test]
fn the_admin_cannot_remove_reserved_units() {
    let world = stocked(1);
    reserve(&world, order(10), &[("TEA", 8)]);
    let body = json!({"delta": -3, "reason": "broken"});
    let answer = change(&world, &admin(&world), "TEA", &body);
    assert_eq!(answer, (409, "below_reserved".into()));
    assert_eq!(figures(&world, "TEA"), (10, 8));
}

#[test]
fn a_change_without_a_delta_or_reason_is_invalid() {
    let world = stocked(1);
    let admin = admin(&world);
    for body in [
        json!({"delta": 0, "reason": "none"}),
        json!({"delta": 1, "reason": " "}),
        json!({"delta": 1}),
        json!({"delta": 1, "reason": "x", "more": 1}),
        json!({"delta": i64::MIN, "reason": "overflow"}),
    ] {
        assert_eq!(change(&world, &admin, "TEA", &body).0, 422, "{body}");
    }
    let body = json!({"delta": 1, "reason": "x"});
    assert_eq!(change(&world, &admin, "no-sku", &body).0, 404);
}

/// A key stands for one request to one object, not to all objects of a route.
#[test]
fn a_key_that_was_used_for_one_product_does_not_stand_for_another() {
    let world = stocked(1);
    let admin = admin(&world);
    let body = json!({"delta": 5, "reason": "found some"});
    let change = |sku: &str, body: &Value| {
        let path = format!("/api/v1/admin/stock/{sku}");
        let (status, answer) = world.post(&path, &admin, "one", body);
        (status, answer["sku"].clone())
    };
    assert_eq!(change("TEA", &body), (202, json!("TEA")));
    assert_eq!(change("CUP", &body), (202, json!("CUP")));
    for sku in ["TEA", "CUP"] {
        assert_eq!(
            change(sku, &body),
            (202, json!(sku)),
            "it is answered again"
        );
    }
    assert_eq!(figures(&world, "TEA"), (15, 0));
    assert_eq!(figures(&world, "CUP"), (6, 0));
    let other = json!({"delta": 6, "reason": "found some"});
    assert_eq!(change("CUP", &other).0, 422);
}

/// Another spelling of the path is no other request.
#[test]
fn a_key_stands_for_all_spellings_of_a_path() {
    let world = stocked(1);
    let admin = admin(&world);
    let body = json!({"delta": 5, "reason": "found some"});
    for path in ["TEA", "TEA?", "TEA?a=1", "T%45A", "%54%45%41?a=2"] {
        let path = format!("/api/v1/admin/stock/{path}");
        assert_eq!(world.post(&path, &admin, "one", &body).0, 202, "{path}");
    }
    assert_eq!(figures(&world, "TEA"), (15, 0));
}
