//! The customer's routes.

use std::sync::Arc;

use axum::Extension;
use axum::extract;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::carts::{CartChanged, CartOpened};
use shop_contracts::{Line, Money, QUANTITY_MAX, Sku, UserId};
use wingbeat::ServiceContext;
use wingbeat::http::session::{Session, Sessions};
use wingbeat::http::{Caller, Json, Path, Problem, Routes, get, ok, plain};
use wingbeat::{Effects, JsonSchema, Reads, Scope, Table, run_unit, schemars};

use crate::domain::Cart;
use crate::products::Product;

/// The service's routes.
pub fn routes() -> Routes<crate::State> {
    let item = "/api/v1/cart/items/{sku}";
    Routes::new()
        .route(
            "/api/v1/cart",
            get(show)
                .summary("The caller's cart at current prices")
                .answers::<Shown>(200)
                .problem(422, "total_too_large", TOO_LARGE),
        )
        .route(
            item,
            plain::put(set)
                .summary("Sets the quantity of a product in the cart")
                .answers::<Shown>(200),
        )
        .route(
            item,
            plain::delete(remove)
                .summary("Removes a product from the cart")
                .answers::<Shown>(200)
                .problem(422, "total_too_large", TOO_LARGE),
        )
}

/// The problem of an amount beyond 64 bits.
const TOO_LARGE: &str = "The total of the cart is too large.";

/// A cart at current prices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cart")]
struct Shown {
    lines: Vec<Line>,
    total: Money,
    version: u64,
}

/// The cart with current prices. Products that are not sold any more are left out: they cannot be
/// bought, and an order of the cart passes over them too.
async fn shown(reads: &Reads, cart: Cart) -> Result<Shown, Problem> {
    let mut lines = Vec::with_capacity(cart.lines.len());
    let mut total = Money::default();
    for (sku, quantity) in cart.lines {
        let product = reads.entity::<Product>(&sku).await?;
        let Some(product) = product.filter(|product| !product.retired) else {
            continue;
        };
        let price = product.price.times(quantity);
        total = price.and_then(|price| total.plus(price)).ok_or_else(|| {
            Problem::new(
                422,
                "total_too_large",
                "the total of this cart does not fit",
            )
        })?;
        lines.push(Line {
            sku,
            name: product.name,
            quantity,
            price: product.price,
        });
    }
    Ok(Shown {
        lines,
        total,
        version: cart.version,
    })
}

async fn show(
    Caller(session): Caller,
    Extension(reads): Extension<Reads>,
) -> Result<Response, Problem> {
    let user = UserId(session.user_id);
    let cart = reads.entity::<Cart>(&user).await?.unwrap_or_default();
    Ok(ok(&shown(&reads, cart).await?).into_response())
}

/// A new quantity.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quantity {
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    quantity: u32,
}

/// What a change of a cart needs.
type Tools = (
    extract::State<crate::State>,
    Extension<Arc<ServiceContext>>,
    Extension<Reads>,
);

async fn set(
    tools: Tools,
    Caller(session): Caller,
    Path(sku): Path<Sku>,
    Json(Quantity { quantity }): Json<Quantity>,
) -> Result<Response, Problem> {
    let sku = &sku;
    change(tools, &session, |scope, cart| async move {
        let product = Table::<Product>::of(&scope).get(sku).await?;
        if product.is_none_or(|product| product.retired) {
            return Err(Problem::not_found());
        }
        let changed = cart.with(sku, quantity);
        changed.map_err(|refusal| Problem::invalid("/quantity", refusal.to_string()))
    })
    .await
}

async fn remove(
    tools: Tools,
    Caller(session): Caller,
    Path(sku): Path<Sku>,
) -> Result<Response, Problem> {
    let sku = &sku;
    change(
        tools,
        &session,
        |_, cart| async move { Ok(cart.without(sku)) },
    )
    .await
}

/// Changes the caller's cart. Once that is durable the session is told the cart's version, so that
/// an order placed next knows what its caller has seen.
async fn change<F>(
    (extract::State(state), Extension(context), Extension(reads)): Tools,
    session: &Session,
    decide: impl Fn(Scope, Cart) -> F + Send + Sync,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Cart, Problem>> + Send,
{
    let user_id = UserId(session.user_id);
    let decide = &decide;
    let cart = run_unit::<_, Problem, _>(&context, |scope| async move {
        let carts = Table::<Cart>::of(&scope);
        let known = carts.get(&user_id).await?;
        let before = known.clone().unwrap_or_default();
        let after = decide(scope.clone(), before.clone()).await?;
        let mut effects = Effects::new();
        if known.is_none() {
            effects.publish(&CartOpened { user_id });
        }
        if after != before {
            effects.publish(&CartChanged {
                user_id,
                version: after.version,
                lines: after.lines.clone(),
                order_id: None,
            });
        }
        if known.as_ref() != Some(&after) {
            carts.put(&user_id, after.clone())?;
        }
        scope.emit(effects)?;
        Ok(after)
    })
    .await?;
    tell(&state.sessions, session, cart.version).await?;
    Ok(ok(&shown(&reads, cart).await?).into_response())
}

async fn tell(sessions: &Sessions, session: &Session, version: u64) -> Result<(), Problem> {
    Ok(sessions.saw_cart(session, version).await?)
}
