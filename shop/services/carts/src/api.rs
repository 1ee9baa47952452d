//! The customer's routes.

use axum::extract;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::carts::{CartChanged, CartOpened, SEEN_VERSION};
use shop_contracts::{Line, Money, QUANTITY_MAX, Sku, UserId};
use wingbeat::http::session::{Session, Sessions};
use wingbeat::http::{Caller, Context, Json, Path, Problem, Routes, get, ok, plain};
use wingbeat::{Effects, JsonSchema, Reads, Scope, Table, run_unit, schemars};

use crate::domain::Cart;
use crate::products::Product;

/// Builds the routes of the service.
pub fn routes() -> Routes<crate::State> {
    let item = "/api/v1/cart/items/{sku}";
    Routes::new()
        .route(
            "/api/v1/cart",
            get(show)
                .summary("Returns the caller's cart at current prices")
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

/// The description of the problem of an amount beyond 64 bits.
const TOO_LARGE: &str = "The total of the cart is too large.";

/// A cart at current prices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cart")]
struct Shown {
    lines: Vec<Line>,
    total: Money,
    version: u64,
}

/// Returns the cart at current prices, without products that are no longer sold. An order of the
/// cart leaves them out too.
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
            Problem::new(422, "total_too_large", "the total of the cart is too large")
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

async fn show(Caller(session): Caller, reads: Reads) -> Result<Response, Problem> {
    let user = UserId(session.user_id);
    let cart = reads.entity::<Cart>(&user).await?.unwrap_or_default();
    Ok(ok(&shown(&reads, cart).await?).into_response())
}

/// A new quantity.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CartQuantity")]
struct Quantity {
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    quantity: u32,
}

/// The extractors that a change of the cart needs.
type Tools = (extract::State<crate::State>, Context, Reads);

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

/// Changes the caller's cart. After the commit, the session records the cart's version, so that the
/// next order waits for the cart that its caller has seen.
async fn change<F>(
    (extract::State(state), Context(context), reads): Tools,
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
    note_seen(&state.sessions, session, cart.version).await?;
    Ok(ok(&shown(&reads, cart).await?).into_response())
}

/// Raises the cart version in the claims of the session, so that the next request of this user does
/// not meet an older copy of the cart.
async fn note_seen(sessions: &Sessions, session: &Session, version: u64) -> Result<(), Problem> {
    let raise = |session: &mut Session| {
        if session
            .claim(SEEN_VERSION)
            .is_none_or(|seen: u64| seen < version)
        {
            session.set_claim(SEEN_VERSION, version);
        }
    };
    Ok(sessions.update(session, raise).await?)
}
