//! The pages of the storefront, with the fake API.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use serde_json::json;
use shop_gateway::storefront;
use tower::ServiceExt as _;

use crate::fake::{Fake, eur, now};

const ORDER: &str = "0198f2c4-7b1e-7000-8000-0000000a1b2c";

fn site(fake: &Fake) -> Router {
    storefront::routes(fake.router(), true).fallback(storefront::not_found)
}

/// A page that looks for `/dev` in production logs an error in every visitor's browser.
#[tokio::test]
async fn pages_have_no_tools_for_developers_without_dev() {
    for (has_dev, count) in [(true, 1), (false, 0)] {
        let pages = storefront::routes(Fake::new().router(), has_dev);
        let request = Request::get("/account").body(Body::empty()).unwrap();
        let page = pages.oneshot(request).await.unwrap().into_body();
        let page = page.collect().await.unwrap().to_bytes();
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert_eq!(page.matches("data-backstage").count(), count, "{has_dev}");
    }
}

async fn get(fake: &Fake, path: &str, token: Option<&str>) -> Response {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::COOKIE, format!("theme=x; wingbeat_session={token}"));
    }
    let request = request.body(Body::empty()).expect("a request");
    site(fake)
        .oneshot(request)
        .await
        .expect("a router never fails")
}

async fn text(response: Response) -> String {
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

async fn page(fake: &Fake, path: &str, token: Option<&str>) -> String {
    let response = get(fake, path, token).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    text(response).await
}

/// Creates a fake shop with one user, and one order in `status`.
fn with_order(status: &str, reason: Option<&str>, delayed: bool) -> (Fake, String) {
    let fake = Fake::new();
    let token = fake.user("ada@shop.example", "Ada");
    fake.shop().orders.push(json!({
        "order_id": ORDER, "status": status, "reason": reason, "payment_delayed": delayed,
        "lines": [{"sku": "WB-1", "name": "Kettle", "quantity": 2, "price": eur(1050)}],
        "subtotal": eur(2100), "discount": eur(210), "total": eur(1890),
        "placed_at": "2026-03-05T14:03:00Z", "updated_at": now(),
    }));
    (fake, token)
}

#[tokio::test]
async fn the_products_can_be_read_without_scripts() {
    let html = page(&Fake::new(), "/", None).await;
    for part in [
        "Kingfisher Kettle",
        "€84.50",
        "1,250 in stock",
        "Only 8 left",
        "Sold out",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains(r#"data-session="out""#));
}

#[tokio::test]
async fn a_search_shows_only_matching_products() {
    let html = page(&Fake::new(), "/?search=KETTLE", None).await;
    assert!(html.contains("Kingfisher Kettle") && !html.contains("Kestrel Kite"));
    let html = page(&Fake::new(), "/?search=%3Cb%3E%26", None).await;
    assert!(html.contains("No product has this name") && !html.contains("<b>&"));
}

#[tokio::test]
async fn a_long_list_is_paged() {
    let fake = Fake::new();
    let more = (0..30).map(|n| json!({"sku": format!("X{n}"), "name": "More", "price": eur(1)}));
    fake.shop().products.extend(more);
    assert!(
        page(&fake, "/", None)
            .await
            .contains(r#"href="/?search=&#38;cursor=24""#)
    );
    assert!(
        !page(&fake, "/?cursor=24", None)
            .await
            .contains("More products")
    );
    assert_eq!(
        get(&fake, "/?cursor=bad", None).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn hostile_names_are_escaped() {
    let fake = Fake::new();
    let hostile = r#""><script>alert(1)</script><img src=x onerror=alert(1)>"#;
    fake.shop().products[0] = json!({
        "sku": hostile, "name": hostile, "description": hostile, "price": eur(1), "available": 1,
    });
    let token = fake.user(hostile, hostile);
    let html = page(&fake, "/", Some(&token)).await;
    assert!(
        !html.contains("<script>") && !html.contains("<img src=x"),
        "{html}"
    );
}

#[tokio::test]
async fn no_page_has_inline_script_or_style() {
    let (fake, token) = with_order("placed", None, false);
    let order = format!("/orders/{ORDER}");
    for path in ["/", "/cart", "/orders", &order, "/account", "/nowhere"] {
        let html = text(get(&fake, path, Some(&token)).await).await;
        assert!(
            !html.contains("<style") && !html.contains(" style="),
            "{path}"
        );
        assert!(
            !html.contains(" onclick=") && !html.contains("javascript:"),
            "{path}"
        );
        assert!(
            !html.contains("http://") && !html.contains("https://"),
            "{path}"
        );
        for script in html.split("<script").skip(1) {
            assert!(
                script.starts_with(r#" type="module" src="/assets/"#),
                "{path}: {script}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_with_a_session_is_not_cached() {
    let fake = Fake::new();
    let token = fake.user("ada@shop.example", "Ada");
    let answer = get(&fake, "/", Some(&token)).await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let html = text(answer).await;
    assert!(html.contains(r#"data-session="in""#) && html.contains("ada@shop.example"));
    assert_ne!(
        get(&fake, "/", None).await.headers()[header::CACHE_CONTROL],
        "no-store"
    );
}

#[tokio::test]
async fn orders_require_a_session_and_the_sign_in_leads_back() {
    let answer = get(&Fake::new(), "/orders?cursor=a", None).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        answer.headers()[header::LOCATION],
        "/account?next=%2Forders%3Fcursor%3Da"
    );
}

#[tokio::test]
async fn an_order_shows_its_progress() {
    let (fake, token) = with_order("stock_reserved", None, true);
    let html = page(&fake, &format!("/orders/{ORDER}"), Some(&token)).await;
    assert!(html.contains(r#"data-step="stock_reserved" data-state="done""#));
    assert!(html.contains(r#"data-step="payment_authorized" data-state="waiting""#));
    assert!(html.contains(r#"data-step="paid" data-state="todo""#));
    assert!(html.contains("The bank is not answering; your order is safe."));
    assert!(html.contains("2 × €10.50") && html.contains("€21.00") && html.contains("€18.90"));
}

#[tokio::test]
async fn a_rejected_order_shows_the_reason() {
    let (fake, token) = with_order("rejected", Some("out_of_stock"), false);
    let html = page(&fake, &format!("/orders/{ORDER}"), Some(&token)).await;
    assert!(html.contains("An item is sold out."));
    assert!(
        page(&fake, "/orders", Some(&token))
            .await
            .contains("Rejected")
    );
}

#[tokio::test]
async fn unknown_pages_and_orders_show_the_404_page() {
    let (fake, token) = with_order("placed", None, false);
    for path in [
        "/nowhere",
        "/orders/not-an-id",
        "/orders/%ff",
        "/assets/none.css",
    ] {
        let answer = get(&fake, path, Some(&token)).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(answer).await.contains("This page has flown"), "{path}");
    }
}

#[tokio::test]
async fn a_page_of_an_unavailable_service_says_so_and_reloads() {
    let fake = Fake::new();
    fake.shop().unavailable = true;
    let answer = get(&fake, "/", None).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert!(text(answer).await.contains(r#"http-equiv="refresh""#));
}

#[tokio::test]
async fn assets_are_revalidated_by_their_content() {
    let fake = Fake::new();
    for (path, media_type) in [
        ("/assets/base.css", "text/css; charset=utf-8"),
        ("/assets/api.js", "text/javascript; charset=utf-8"),
        ("/assets/mark.svg", "image/svg+xml"),
        ("/assets/artwork/WB-1", "image/svg+xml"),
    ] {
        let answer = get(&fake, path, None).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], media_type);
        assert_eq!(
            answer.headers()[header::CACHE_CONTROL],
            "public, max-age=3600"
        );
        let etag = answer.headers()[header::ETAG].clone();
        assert!(etag.as_bytes().starts_with(b"\""), "strong");
        let again = Request::get(path)
            .header(header::IF_NONE_MATCH, etag)
            .body(Body::empty());
        let again = site(&fake)
            .oneshot(again.expect("a request"))
            .await
            .expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn every_asset_that_a_page_or_module_uses_exists() {
    let (fake, token) = with_order("placed", None, false);
    let mut wanted = vec!["/assets/mark.svg".to_owned()];
    for path in [
        "/",
        "/cart",
        "/orders",
        &format!("/orders/{ORDER}"),
        "/account",
    ] {
        let html = page(&fake, path, Some(&token)).await;
        wanted.extend(quoted(&html, "\"/assets/").map(|name| format!("/assets/{name}")));
    }
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = wanted.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let body = page(&fake, &path, None).await;
        if path.ends_with(".js") {
            wanted.extend(quoted(&body, " \"./").map(|name| format!("/assets/{name}")));
        }
    }
    assert!(seen.len() > 30, "followed only {}", seen.len());
}

#[tokio::test]
async fn only_a_signed_in_visitor_sees_the_form_that_closes_the_account() {
    let (fake, token) = with_order("placed", None, false);
    let section = |html: &str| {
        let start = html
            .find("data-when=\"in\"")
            .expect("a section for members");
        let end = html[start..].find("</section>").expect("its end");
        html[start..start + end].to_owned()
    };
    let member = section(&page(&fake, "/account", Some(&token)).await);
    assert!(member.contains("data-close-account"), "{member}");
    assert!(!member.starts_with("data-when=\"in\" hidden"), "{member}");
    let visitor = section(&page(&fake, "/account", None).await);
    assert!(visitor.starts_with("data-when=\"in\" hidden"), "{visitor}");
}

#[tokio::test]
async fn the_timeline_knows_every_service_of_the_registry() {
    let fake = Fake::new();
    let legend = page(&fake, "/assets/timeline.js", None).await;
    let colours = page(&fake, "/assets/order.css", None).await;
    for name in shop_registry::NAMES {
        assert!(legend.contains(&format!("\"{name}\"")), "{name}");
        assert!(
            colours.contains(&format!("[data-service=\"{name}\"]")),
            "{name}"
        );
    }
}

/// Returns the texts between each `start` and the next quotation mark.
fn quoted<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}
