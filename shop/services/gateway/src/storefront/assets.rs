//! The styles, modules and pictures. They are embedded in the binary and served with strong ETags.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};

use super::{artwork, response};

/// Caches keep an asset for an hour and then revalidate it by its ETag.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The longest SKU with a picture. Real SKUs are much shorter.
const SKU_BYTES_MAX: usize = 128;

struct Asset {
    name: &'static str,
    etag: HeaderValue,
    body: &'static [u8],
}

macro_rules! embed {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../assets/", $name)).as_slice())),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = embed! {
        "tokens.css" "base.css" "shell.css" "shop.css" "flash.css" "cart.css" "order.css" "backstage.css"
        "mark.svg"
        "account.js" "api.js" "attempt.js" "backstage.js" "cart.js" "cart-lines.js" "cart-page.js"
        "checkout.js" "dom.js" "flash.js" "mail.js" "money.js" "order-page.js" "orders-page.js" "page.js"
        "products-page.js" "promo.js" "say.js" "session.js" "steps.js" "stock.js" "stream.js"
        "timeline.js" "when.js" "words.js"
    };
    files
        .map(|(name, body)| Asset {
            name,
            etag: etag(body),
            body,
        })
        .into()
});

/// The routes `/assets/{name}` and `/assets/artwork/{sku}`.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/assets/{name}", get(asset))
        .route("/assets/artwork/{sku}", get(picture))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => cached(&headers, &asset.etag, media_type(asset.name), || {
            Bytes::from_static(asset.body)
        }),
        None => response::not_found(headers).await,
    }
}

async fn picture(Path(sku): Path<String>, headers: HeaderMap) -> Response {
    if sku.len() > SKU_BYTES_MAX {
        return response::not_found(headers).await;
    }
    let svg = artwork::svg(&sku);
    let etag = etag(svg.as_bytes());
    cached(&headers, &etag, "image/svg+xml", || Bytes::from(svg))
}

/// Returns the body, or 304 if the caller has it already.
fn cached(
    headers: &HeaderMap,
    etag: &HeaderValue,
    media_type: &'static str,
    body: impl FnOnce() -> Bytes,
) -> Response {
    let known = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, CACHING),
    ];
    if has(headers, etag) {
        return (StatusCode::NOT_MODIFIED, known).into_response();
    }
    (known, [(header::CONTENT_TYPE, media_type)], body()).into_response()
}

/// Returns whether `If-None-Match` contains this ETag (RFC 9110, section 13.1.2: weak comparison).
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}

/// Returns the ETag of a body: half of its SHA-256, which is long enough to be unique.
fn etag(body: &[u8]) -> HeaderValue {
    let digest = hex::encode(&Sha256::digest(body)[..16]);
    HeaderValue::try_from(format!("\"{digest}\"")).expect("hex digits make a header value")
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
