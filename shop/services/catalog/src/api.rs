//! The public routes.

use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shop_contracts::Sku;
use wingbeat::http::{Cursor, Path, Problem, Query, Routes, get, ok};
use wingbeat::state::CacheOf;
use wingbeat::store::{Position, Select};
use wingbeat::{JsonSchema, Name, Reads, Result, schemars};

use crate::views::{NAME, ProductRow};
use crate::{ReadCache, State};

/// The longest search, in characters.
const SEARCH_MAX: usize = 100;
/// The default number of products on a page.
const LIMIT: usize = 20;
/// The name of the list in its cursors.
const LIST: &str = "products";

/// Builds the public routes.
pub fn routes() -> Routes<State> {
    Routes::new()
        .route(
            "/api/v1/products",
            get(list)
                .summary("Lists the products by SKU")
                .answers::<Page>(200)
                .problem(400, "bad_cursor", "The cursor is from another list."),
        )
        .route(
            "/api/v1/products/{sku}",
            get(show)
                .summary("Returns a product, with an ETag")
                .reads_header("If-None-Match", "ETags of versions that the caller has.")
                .answers::<ProductRow>(200)
                .answers::<()>(304),
        )
}

impl ReadCache {
    /// Invalidates a product, and all pages because it can be on any of them.
    pub async fn invalidate(&self, service: &impl CacheOf, sku: &Sku) {
        self.products.invalidate(service, sku.as_str()).await;
        self.pages.invalidate_all(service).await;
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Listing {
    /// A part of the name, case-insensitive.
    #[serde(default)]
    #[schemars(length(max = SEARCH_MAX))]
    search: String,
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of products on the page.
    #[schemars(range(min = 1, max = 100), extend("default" = LIMIT))]
    limit: Option<usize>,
}

/// A page of products.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Products")]
struct Page {
    items: Vec<ProductRow>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

async fn list(
    extract::State(State { cache }): extract::State<State>,
    reads: Reads,
    Query(query): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid("/limit", "1 to 100"));
    }
    let search = query.search.trim().to_lowercase();
    if search.chars().count() > SEARCH_MAX {
        return Err(Problem::invalid("/search", "at most 100 characters"));
    }
    let after = query.cursor.map(|cursor| cursor.position(LIST));
    let after = after.transpose()?;
    let from = after.as_ref().map_or("", |position| &position.key);
    let key = hex::encode(Sha256::digest(format!("{limit}\n{from}\n{search}")));
    let load = || async { page(&reads, search, after, limit).await.map(Some) };
    let page = cache.pages.get(&reads, &key, load).await?;
    Ok(ok(&page).into_response())
}

async fn page(
    reads: &Reads,
    search: String,
    after: Option<Position>,
    limit: usize,
) -> Result<Page> {
    let select = if search.is_empty() {
        Select::All
    } else {
        Select::Contains {
            column: Name::new(NAME),
            part: search,
        }
    };
    let listed = reads.rows::<ProductRow>(select, after, limit).await?;
    Ok(Page {
        items: listed.rows.into_iter().map(|(_, row)| row).collect(),
        next_cursor: listed.next.map(|position| Cursor::new(LIST, &position)),
    })
}

async fn show(
    extract::State(State { cache }): extract::State<State>,
    reads: Reads,
    Path(sku): Path<Sku>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let load = || reads.row::<ProductRow>(sku.as_str());
    let row = cache.products.get(&reads, sku.as_str(), load);
    let reply = ok(&row.await?.ok_or_else(Problem::not_found)?);
    let tag = format!("\"{}\"", &hex::encode(Sha256::digest(&reply.body))[..32]);
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(reply.header("etag", tag).into_response())
}

/// Returns whether the caller has this version (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}
