//! Many flash sales at once.

use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::test::{Faults, TestApp};

use crate::flash::{MINUTE, SECOND, Sale, body, create};
use crate::warehouse::{stock, stocked};

/// The most sales that are scheduled or open.
const OPEN_MAX: usize = 100;

fn list(world: &TestApp, query: &str) -> (u16, Value) {
    let path = format!("/api/v1/flash-sales{query}");
    world.ask("GET", &path, "", &Value::Null)
}

fn states(listed: &Value) -> Vec<&str> {
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|it| it["state"].as_str().unwrap()).collect()
}

fn open(world: &TestApp, sales: usize) {
    for _ in 0..sales {
        Sale::open(world, 1);
    }
}

#[test]
fn a_hundred_sales_are_open_at_most() {
    let world = stocked(1);
    stock(&world, 3, "TEA", 300);
    open(&world, OPEN_MAX);
    let (status, refused) = create(&world, &body(&world, 1));
    assert_eq!((status, &refused["code"]), (409, &json!("too_many_sales")));
    let (_, listed) = list(&world, "");
    assert_eq!(states(&listed), ["open"; OPEN_MAX]);
    assert_eq!(listed["next_cursor"], Value::Null);
    world.pass(MINUTE * 2);
    assert_eq!(create(&world, &body(&world, 1)).0, 201);
}

/// Sales that have ended neither hide an open one nor its claims.
#[test]
fn an_open_sale_is_listed_and_its_claims_are_recognized_beside_many_that_have_ended() {
    let world = stocked(1);
    stock(&world, 3, "TEA", 300);
    open(&world, OPEN_MAX);
    world.pass(MINUTE * 2);
    let sale = Sale::open(&world, 2);
    let claim = sale.claim(1).unwrap();
    assert_eq!(sale.status(1, &claim), "pending");
    assert_eq!(sale.status(2, &claim), "not_found");

    let (_, first) = list(&world, "");
    assert_eq!(states(&first)[0], "open");
    assert_eq!(first["items"].as_array().unwrap().len(), OPEN_MAX);
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, last) = list(&world, &format!("?cursor={cursor}"));
    assert_eq!(states(&last), ["closed"]);
    assert_eq!(last["next_cursor"], Value::Null);

    assert_eq!(states(&list(&world, "?limit=1").1), ["open"]);
    for limit in ["0", "101"] {
        assert_eq!(list(&world, &format!("?limit={limit}")).0, 422);
    }
    assert_eq!(list(&world, "?cursor=none").0, 400);
    world.pass(SECOND);
    assert_eq!(sale.status(1, &claim), "confirmed");
}

/// The page of sales is public and polled: it waits for the cache once, not once for each sale.
#[test]
fn the_units_left_of_all_sales_are_read_at_once() {
    const DELAY: Duration = Duration::from_millis(200);
    let world = stocked(1);
    stock(&world, 3, "TEA", 300);
    open(&world, 40);
    world.set_faults(Faults {
        delay: DELAY,
        ..Faults::default()
    });
    let before = crate::flash::now(&world);
    let (_, listed) = list(&world, "");
    let took = crate::flash::now(&world).since(before);
    assert_eq!(states(&listed), ["open"; 40]);
    // The store of the test reads one record after the other, and the cache answers at once.
    // One question to the cache after the other takes as long again.
    assert!(took <= DELAY * 25, "{took:?}");
}
