//! The storefront in a real browser.

use std::time::Duration;

use serde_json::{Value, json};
use shop_client::http::Call;
use shop_e2e::process::{Place, Running};
use shop_e2e::site::Site;

use crate::browser::Browser;

/// A browser at a shop.
pub(crate) struct Scene {
    browser: Browser,
    url: String,
    /// The shop, if no other scene uses it.
    _own: Option<(Running, tempfile::TempDir)>,
}

/// A browser at a running shop.
pub(crate) async fn scene_at(url: &str, width: u32, height: u32) -> Scene {
    let browser = Browser::open(width, height).await;
    browser.go(url).await;
    Scene {
        browser,
        url: url.to_owned(),
        _own: None,
    }
}

async fn scene(width: u32, height: u32) -> Scene {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path())
        .ships_after("200ms")
        .with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "1s");
    let running = place.start().await;
    Scene {
        _own: Some((running, data)),
        ..scene_at(&place.url(), width, height).await
    }
}

impl Scene {
    /// Signs in as a guest, puts something into the cart and goes there.
    async fn shop(&self) {
        self.browser.click(".hero [data-guest], [data-guest]").await;
        self.browser.see("[data-me-name]:not(:empty)").await;
        self.take().await;
    }

    /// Puts something into the cart and goes there.
    async fn take(&self) {
        self.browser
            .click("[data-add='WB-BELL-01'] button:enabled")
            .await;
        self.browser
            .see("[data-cart-lines] [data-line='WB-BELL-01']")
            .await;
        self.browser.go(&format!("{}/cart", self.url)).await;
    }

    /// Fills in the form and buys.
    async fn buy(&self, card: &str) {
        self.browser.see("[data-cart-some]:not([hidden])").await;
        for (field, text) in [
            ("line1", "1 Nowhere Lane"),
            ("postal_code", "00000"),
            ("city", "Erewhon"),
        ] {
            self.browser.fill(&format!("#{field}"), text).await;
        }
        self.browser
            .click(&format!("label:has(input[value={card}])"))
            .await;
        self.browser.click("[data-buy]").await;
        self.browser.see("[data-order]").await;
    }

    /// Signs up with the form.
    async fn sign_up(&self, email: &str, password: &str) {
        self.browser.go(&format!("{}/account", self.url)).await;
        self.browser.see("[data-sign-up] button:enabled").await;
        for (field, text) in [("name", "Eve"), ("email", email), ("password", password)] {
            self.browser.fill(&format!("#up-{field}"), text).await;
        }
        self.browser.click("[data-sign-up] [type=submit]").await;
        self.browser.see("[data-me-name]:not(:empty)").await;
    }

    async fn bank_goes_down(&self) {
        self.browser.click("[data-fault=outage]").await;
        let shown = "document.querySelector('[data-fault-state]').textContent !== ''";
        self.browser.until(shown).await;
    }

    async fn step_is(&self, step: &str, state: &str) {
        let script =
            format!("document.querySelector('[data-step={step}]')?.dataset.state === '{state}'");
        self.browser.until(&script).await;
    }

    async fn logs_no_errors(&self) {
        assert_eq!(self.browser.errors().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_guest_buys_with_one_click_and_sees_why() {
    guest_buys_and_sees_why(scene(1280, 1000).await).await;
}

/// The order up to its delivery, and the messages that led there.
pub(crate) async fn guest_buys_and_sees_why(scene: Scene) {
    scene.browser.see("[data-add]").await;
    scene.browser.shot("1-home").await;
    scene.shop().await;
    scene.browser.see("[data-buy]").await;
    scene.browser.shot("2-cart").await;
    scene.buy("tok_ok").await;
    scene.step_is("paid", "done").await;
    scene.browser.shot("3-order").await;
    scene.step_is("completed", "done").await;
    scene.browser.click("[data-why]").await;
    for service in ["orders", "inventory", "payments", "shipping"] {
        scene
            .browser
            .see(&format!(".cause[data-service={service}]"))
            .await;
    }
    scene.browser.shot("4-why").await;
    scene.logs_no_errors().await;
}

/// A customer of a shop in production, where there are no tools for developers.
pub(crate) async fn customer_signs_up_and_buys(scene: Scene, email: &str, password: &str) {
    scene.sign_up(email, password).await;
    scene.browser.go(&scene.url).await;
    scene.take().await;
    scene.buy("tok_ok").await;
    scene.step_is("completed", "done").await;
    let cookie = "document.cookie === '' && location.protocol === 'https:'";
    scene.browser.until(cookie).await;
    scene.logs_no_errors().await;
}

#[tokio::test]
async fn a_guest_claims_and_buys_in_a_flash_sale_with_one_click() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("200ms");
    let running = place.start().await;
    let site = place.site();
    site.stocked().await;
    open_sale(&site, Duration::from_secs(3_600)).await;
    let scene = Scene {
        _own: Some((running, data)),
        ..scene_at(&place.url(), 1280, 1000).await
    };
    scene.browser.see("[data-sale] [data-claim]:enabled").await;
    let clock = "document.querySelector('[data-clock]').textContent.startsWith('Closes in ')";
    scene.browser.until(clock).await;
    let left = "document.querySelector('[data-left]').textContent === '3 of 3 left'";
    scene.browser.until(left).await;
    scene.browser.shot("9-flash").await;
    scene.browser.click(".hero [data-guest]").await;
    scene.browser.see("[data-me-name]:not(:empty)").await;
    scene.browser.click("[data-sale] [data-claim]").await;
    scene.browser.see("[data-order]").await;
    scene.step_is("completed", "done").await;
    scene.logs_no_errors().await;
    scene.browser.go(&scene.url).await;
    let left = "document.querySelector('[data-left]')?.textContent === '2 of 3 left'";
    scene.browser.until(left).await;
}

/// Creates a flash sale of three units, which is open for a time. Returns its id.
pub(crate) async fn open_sale(site: &Site, open_for: Duration) -> String {
    let now = jiff::Timestamp::now();
    let sale = json!({
        "sku": "WB-BELL-01", "price": {"amount_minor": 99, "currency": "EUR"}, "allocation": 3,
        "opens_at": now.to_string(), "closes_at": (now + open_for).to_string(),
    });
    let call = Call::post("/api/v1/admin/flash-sales").json(&sale);
    let created = site.admin().await.ask(call).await.unwrap();
    assert_eq!(created.status, 201);
    let created: Value = serde_json::from_slice(&created.body).unwrap();
    created["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_outage_of_the_bank_delays_the_payment_until_it_is_over() {
    bank_is_down_and_back(scene(1280, 1000).await).await;
}

/// A payment during an outage.
pub(crate) async fn bank_is_down_and_back(scene: Scene) {
    scene.shop().await;
    scene.bank_goes_down().await;
    scene.buy("tok_ok").await;
    scene.step_is("payment_authorized", "waiting").await;
    scene.browser.shot("5-stalled").await;
    scene.browser.click("[data-fault=heal]").await;
    scene.step_is("completed", "done").await;
    scene.logs_no_errors().await;
}

#[tokio::test]
async fn a_declined_card_and_a_cancelled_order_are_shown() {
    declined_and_cancelled(scene(1280, 1000).await).await;
}

/// A declined card, and a cancel during an outage of the bank, when no order gets as far as its
/// dispatch.
pub(crate) async fn declined_and_cancelled(scene: Scene) {
    scene.shop().await;
    scene.buy("tok_declined").await;
    scene
        .browser
        .see("[data-order][data-status=rejected][data-reason=payment_declined]")
        .await;
    scene.browser.shot("6-declined").await;
    scene.browser.go(&scene.url).await;
    scene.take().await;
    scene.browser.see("[data-buy]").await;
    scene.bank_goes_down().await;
    scene.buy("tok_ok").await;
    scene.browser.click("[data-cancel]").await;
    scene.browser.click("[data-fault=heal]").await;
    scene
        .browser
        .see("[data-order][data-status=cancelled]")
        .await;
    scene.logs_no_errors().await;
}

#[tokio::test]
async fn a_phone_shows_all_pages_without_scrolling_sideways() {
    fits_a_phone(scene(390, 844).await).await;
}

/// The widths of all pages.
pub(crate) async fn fits_a_phone(scene: Scene) {
    scene.browser.see("[data-add]").await;
    scene.browser.shot("7-phone").await;
    scene.shop().await;
    for path in ["/", "/cart", "/orders", "/account"] {
        scene.browser.go(&format!("{}{path}", scene.url)).await;
        let wide = "return [document.documentElement.scrollWidth, window.innerWidth]";
        let Value::Array(sizes) = scene.browser.page.execute(wide, vec![]).await.unwrap() else {
            panic!("two sizes");
        };
        assert!(sizes[0].as_u64() <= sizes[1].as_u64(), "{path}: {sizes:?}");
    }
    scene.browser.shot("8-phone-account").await;
}
