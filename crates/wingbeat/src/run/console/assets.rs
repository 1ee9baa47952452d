//! The styles, modules and pictures. They are part of the binary and contain no data, so everybody
//! may read them.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// Browsers ask each time whether an asset has changed: the answer is a few bytes, and a console
/// never shows a new page with old styles.
const CACHING: HeaderValue = HeaderValue::from_static("no-cache");

struct Asset {
    name: &'static str,
    media_type: &'static str,
    etag: HeaderValue,
    body: &'static [u8],
}

macro_rules! embed {
    ($($name:literal $media_type:literal)*) => {
        [$((
            $name,
            $media_type,
            include_bytes!(concat!("../../../assets/console/", $name)).as_slice(),
        )),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = embed! {
        "tokens.css" "text/css; charset=utf-8"
        "base.css" "text/css; charset=utf-8"
        "console.css" "text/css; charset=utf-8"
        "console.js" "text/javascript; charset=utf-8"
        "live.js" "text/javascript; charset=utf-8"
        "map.js" "text/javascript; charset=utf-8"
        "mark.svg" "image/svg+xml"
    };
    let asset = |(name, media_type, body)| Asset {
        name,
        media_type,
        etag: etag(body),
        body,
    };
    files.map(asset).into()
});

/// `GET /console/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let known = [
        (header::ETAG, asset.etag.clone()),
        (header::CACHE_CONTROL, CACHING),
    ];
    if has(&headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, known).into_response();
    }
    let kind = [(header::CONTENT_TYPE, asset.media_type)];
    (known, kind, Bytes::from_static(asset.body)).into_response()
}

/// Returns whether `If-None-Match` contains this ETag (RFC 9110, section 13.1.2: weak comparison).
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = lines
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.into_iter()
        .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}

fn etag(body: &[u8]) -> HeaderValue {
    let digest = hex::encode(&Sha256::digest(body)[..16]);
    HeaderValue::try_from(format!("\"{digest}\"")).expect("hex digits make a header value")
}
