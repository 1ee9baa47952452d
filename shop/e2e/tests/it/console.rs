//! The operations console in a real browser.

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_e2e::process::{Place, Running};
use shop_e2e::wait::{check, until};
use wingbeat_core::transport::Binding;
use wingbeat_core::{Envelope, Kind, MessageId, Name, Timestamp, Topology, Transport as _};
use wingbeat_embedded::{Config, Embedded};

use crate::browser::Browser;

/// The pages, and an element that each shows.
const PAGES: [(&str, &str); 6] = [
    ("/console", ".state"),
    (
        "/console/subscriptions",
        "tr[data-key='inventory.reserve_stock']",
    ),
    ("/console/dead-letters", ".letter"),
    ("/console/outside", ".card"),
    ("/console/schedules", ".after"),
    ("/console/stories", "#id"),
];

/// The type and queue of the message that becomes a dead letter.
const LOST: (&str, &str) = ("inventory.adjust_stock.v1", "inventory.adjust_stock");

/// A shop in which one message will be refused: it removes units that are not there.
async fn shop_with_a_dead_letter(place: &Place) -> Running {
    let running = place.start().await;
    place.site().stocked().await;
    assert!(running.terminate().success());
    publish(place).await;
    let running = place.start().await;
    let admin = place.site().admin().await;
    until("there is a dead letter", async || {
        let found = admin.ask(Call::get("/api/v1/admin/dead-letters")).await;
        let found: Value = serde_json::from_slice(&found.unwrap().body).unwrap();
        check(found["items"] != json!([]), &found)
    })
    .await;
    running
}

/// Publishes the message as a program that is not part of the shop, while the shop does not run.
async fn publish(place: &Place) {
    let store = Embedded::open(&Config::new(&place.data)).unwrap();
    let (kind, queue) = LOST;
    let bound = Binding {
        message: kind,
        kind: Kind::Command,
    };
    let queues = [(Name::new(queue), vec![bound].into())].into();
    store.declare(&Topology { queues }).await.unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    // The time of a message is the first part of its id (UUID version 7).
    let id = (u128::try_from(now).unwrap() << 80) | (7 << 76) | (2 << 62);
    let id = uuid::Uuid::from_u128(id | u128::from(fastrand::u32(..)));
    let body = json!({
        "sku": "WB-BELL-01", "delta": -1_000_000, "reason": "<b>lost</b>", "adjustment_id": id,
    });
    let envelope = Envelope {
        id: MessageId(id),
        source: "elsewhere".into(),
        kind: kind.into(),
        role: Kind::Command,
        key: "WB-BELL-01".into(),
        time: Timestamp::from_millis(now),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        dialog: None,
        signature: None,
        body: body.to_string().into(),
    };
    let published = store.publish(vec![envelope]).await;
    assert!(published[0].is_ok(), "{published:?}");
}

/// Signs the admin in with the form to which the console sends a visitor.
async fn sign_in(browser: &Browser, place: &Place) {
    browser.go(&format!("{}/console", place.url())).await;
    browser.see("[data-for-console]").await;
    browser.fill("#in-email", "admin@shop.example").await;
    browser.fill("#in-password", &place.password()).await;
    browser.click("[data-sign-in] [type=submit]").await;
    browser.see(".state").await;
}

async fn chip(browser: &Browser, key: &str, state: &str) {
    let css = format!("tr[data-key='{key}'] .chip[data-state={state}]");
    browser.see(&css).await;
}

/// The columns of the page and of the window.
async fn fits(browser: &Browser, path: &str) {
    let wide = "return [document.documentElement.scrollWidth, window.innerWidth]";
    let sizes = browser.page.execute(wide, vec![]).await.unwrap();
    assert!(sizes[0].as_u64() <= sizes[1].as_u64(), "{path}: {sizes:?}");
}

#[tokio::test]
async fn the_admin_pauses_a_subscription_and_retries_a_dead_letter() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("200ms");
    let _running = shop_with_a_dead_letter(&place).await;
    let browser = Browser::open(1280, 1000).await;
    sign_in(&browser, &place).await;
    for (number, (path, shown)) in PAGES.iter().enumerate() {
        browser.go(&format!("{}{path}", place.url())).await;
        browser.see(shown).await;
        browser
            .see(&format!(".nav a[aria-current][href='{path}']"))
            .await;
        fits(&browser, path).await;
        browser.shot(&format!("console-{number}")).await;
    }

    let key = "inventory.reserve_stock";
    browser
        .go(&format!("{}/console/subscriptions", place.url()))
        .await;
    for state in ["paused", "running"] {
        browser.click(&format!("tr[data-key='{key}'] button")).await;
        chip(&browser, key, state).await;
        browser.see("[data-done]:not(:empty)").await;
    }

    browser
        .go(&format!("{}/console/dead-letters", place.url()))
        .await;
    let text = browser.text(".letter-error").await;
    assert!(!text.is_empty(), "the cause is shown");
    browser.click(".letter-name").await;
    browser.see("[data-retry]").await;
    browser.shot("console-letter").await;
    let body = browser.text(".body").await;
    assert!(body.contains("<b>lost</b>"), "markup is text: {body}");
    browser.click("[data-retry]").await;
    browser.see("[data-done]:not(:empty)").await;
    // The message is refused again, and its dead letter comes back.
    browser.see(".letter").await;
    browser.click(".letter-name").await;
    browser.click("a.danger").await;
    browser.see(".confirm [data-discard]").await;
    browser.shot("console-discard").await;
    browser
        .fill(".confirm [name=why]", "There are no such units.")
        .await;
    browser.click("[data-discard]").await;
    browser.see("#list .empty").await;
    assert_eq!(browser.errors().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_phone_shows_the_console_without_scrolling_sideways() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path());
    let _running = shop_with_a_dead_letter(&place).await;
    let browser = Browser::open(390, 844).await;
    sign_in(&browser, &place).await;
    for (number, (path, shown)) in PAGES.iter().enumerate() {
        browser.go(&format!("{}{path}", place.url())).await;
        browser.see(shown).await;
        fits(&browser, path).await;
        browser.shot(&format!("console-phone-{number}")).await;
    }
    assert_eq!(browser.errors().await, Vec::<String>::new());
}
