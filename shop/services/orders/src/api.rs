//! The customer's routes: place, list, show, cancel.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::orders::OrderPlaced;
use shop_contracts::{Line, Lines, Money, OrderId, OrderStatus, QUANTITY_MAX, Sku, UserId};
use wingbeat::http::{
    Caller, FieldError, IdempotencyKey, Json, Path, Problem, Query, Reply, accepted, ok,
};
use wingbeat::store::{Position, Select};
use wingbeat::{Effects, Name, Reads, Repo, Scope, Table};

use crate::checkout::{CancelCheckout, StartCheckout};
use crate::domain::{Order, OrderCommand, Placed};
use crate::feed::{Feed, FeedRow};
use crate::views::{BY_USER, CartCopy, OrderRow, ProductCopy, PromoCopy};

/// Distinct SKUs in an order.
const LINES_MAX: usize = 50;
/// The cards that the stand-in provider knows.
const TOKENS: [&str; 5] = [
    "tok_ok",
    "tok_declined",
    "tok_slow",
    "tok_flaky",
    "tok_lost_reply",
];

/// The body of `POST /orders`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    items: Option<Vec<Item>>,
    promo_code: Option<String>,
    flash_claim_id: Option<String>,
    expected_total: Option<Money>,
    payment_token: String,
    address: Address,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    sku: String,
    quantity: u32,
}

/// Where an order goes. Keyed state, never in an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    line1: String,
    city: String,
    postal_code: String,
    country: String,
}

impl wingbeat::Entity for Address {
    const NAME: &'static str = "address";
    type Id = OrderId;
}

#[derive(Serialize)]
struct PlacedReply {
    order_id: OrderId,
    status: OrderStatus,
    subtotal: Money,
    discount: Money,
    total: Money,
}

/// The tables that placing an order reads.
type Copies = (Table<ProductCopy>, Table<CartCopy>, Table<PromoCopy>);

/// `POST /orders`.
///
/// # Errors
///
/// Whatever is wrong with the order, as a problem.
#[allow(clippy::too_many_arguments, reason = "each is an extractor")]
pub async fn place(
    Json(request): Json<PlaceOrder>,
    Caller(session): Caller,
    _key: IdempotencyKey,
    scope: Scope,
    orders: Repo<Order>,
    products: Table<ProductCopy>,
    carts: Table<CartCopy>,
    promos: Table<PromoCopy>,
) -> Result<Reply, Problem> {
    check(&request)?;
    if request.flash_claim_id.is_some() {
        return Err(Problem::not_found());
    }
    let copies = (products, carts, promos);
    let user_id = UserId(session.user_id);
    let (wanted, from_cart) = wanted(&request, user_id, session.cart_version, &copies).await?;
    let lines = priced(wanted, &copies.0).await?;
    let now = scope.now();
    let subtotal = sum(&lines)?;
    let promo_code = request
        .promo_code
        .map(|code| code.trim().to_ascii_uppercase());
    let percent = match &promo_code {
        Some(code) => copies
            .2
            .get(code)
            .await?
            .filter(|promo| promo.user_id == user_id && promo.expires_at > now)
            .map(|promo| promo.percent),
        None => None,
    };
    let discount = subtotal.percent(percent.unwrap_or(0));
    let total = subtotal.minus(discount).ok_or_else(too_much)?;
    if request
        .expected_total
        .is_some_and(|expected| expected != total)
    {
        return Err(Problem::new(
            409,
            "price_changed",
            format!("the total is now {} cents", total.amount_minor),
        ));
    }
    let order_id = OrderId(scope.new_id());
    scope.correlate(order_id.0)?;
    let placed = Placed {
        user_id,
        lines: lines.clone(),
        subtotal,
        discount,
        total,
        at: now,
    };
    let done = orders
        .execute(&order_id, OrderCommand::Place(placed))
        .await?;
    done.map_err(|_| Problem::new(409, "already_placed", "this order exists already"))?;
    let (feed, addresses) = (Table::<Feed>::of(&scope), Table::<Address>::of(&scope));
    let row = FeedRow {
        version: 0,
        order_id,
        status: OrderStatus::Placed,
        reason: None,
        payment_delayed: false,
        updated_at: now,
    };
    feed.update(&user_id, |feed| Feed::with(feed, row)).await?;
    addresses.put(&order_id, request.address)?;
    let to_hold: Lines = lines
        .iter()
        .map(|line| (line.sku.clone(), line.quantity))
        .collect();
    let mut effects = Effects::new();
    effects.publish(&OrderPlaced {
        order_id,
        user_id,
        lines,
        subtotal,
        discount,
        total,
        promo_code: promo_code.clone(),
        from_cart,
    });
    effects.send(&StartCheckout {
        order_id,
        user_id,
        lines: to_hold,
        total,
        promo_code,
        token: request.payment_token,
    });
    scope.emit(effects)?;
    let reply = PlacedReply {
        order_id,
        status: OrderStatus::Placed,
        subtotal,
        discount,
        total,
    };
    Ok(accepted(&reply).location(format!("/api/v1/orders/{order_id}")))
}

fn too_much() -> Problem {
    Problem::invalid("/items", "the total does not fit")
}

fn check(request: &PlaceOrder) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError {
            pointer,
            message: message.into(),
        })
    };
    if !TOKENS.contains(&request.payment_token.as_str()) {
        wrong("/payment_token".into(), "unknown token");
    }
    let address = &request.address;
    for (name, value) in [
        ("line1", &address.line1),
        ("city", &address.city),
        ("postal_code", &address.postal_code),
        ("country", &address.country),
    ] {
        if value.trim().is_empty() || value.chars().count() > 200 {
            wrong(format!("/address/{name}"), "1 to 200 characters");
        }
    }
    let items = request.items.as_deref().unwrap_or_default();
    if request.items.is_some() && (items.is_empty() || items.len() > LINES_MAX) {
        wrong("/items".into(), "1 to 50 distinct SKUs");
    }
    for (at, item) in items.iter().enumerate() {
        if !(1..=QUANTITY_MAX).contains(&item.quantity) {
            wrong(format!("/items/{at}/quantity"), "1 to 99");
        }
        if items[..at].iter().any(|earlier| earlier.sku == item.sku) {
            wrong(format!("/items/{at}/sku"), "this SKU is there twice");
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::fields(errors))
    }
}

/// What is bought: the items of the request, or the caller's cart as far as they have seen it.
async fn wanted(
    request: &PlaceOrder,
    user: UserId,
    seen: u64,
    copies: &Copies,
) -> Result<(Lines, bool), Problem> {
    if let Some(items) = &request.items {
        let parse = |(at, item): (usize, &Item)| match item.sku.parse::<Sku>() {
            Ok(sku) => Ok((sku, item.quantity)),
            Err(_) => Err(Problem::invalid(&format!("/items/{at}/sku"), "unknown SKU")),
        };
        return Ok((
            items
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<_, _>>()?,
            false,
        ));
    }
    let cart = copies.1.get(&user).await?.unwrap_or_default();
    if cart.version < seen {
        return Err(Problem::new(
            503,
            "cart_not_ready",
            "your cart is still on its way here; try again",
        ));
    }
    if cart.lines.is_empty() {
        return Err(Problem::new(422, "cart_empty", "the cart is empty"));
    }
    Ok((cart.lines, true))
}

async fn priced(wanted: Lines, products: &Table<ProductCopy>) -> Result<Vec<Line>, Problem> {
    let mut lines = Vec::with_capacity(wanted.len());
    for (at, (sku, quantity)) in wanted.into_iter().enumerate() {
        let product = products.get(&sku).await?.filter(|product| !product.retired);
        let product =
            product.ok_or_else(|| Problem::invalid(&format!("/items/{at}/sku"), "unknown SKU"))?;
        lines.push(Line {
            sku,
            name: product.name,
            quantity,
            price: product.price,
        });
    }
    Ok(lines)
}

fn sum(lines: &[Line]) -> Result<Money, Problem> {
    let total = lines.iter().try_fold(Money::default(), |sum, line| {
        sum.plus(line.price.times(line.quantity)?)
    });
    total.ok_or_else(too_much)
}

#[derive(Serialize)]
struct Cancelled {
    order_id: OrderId,
    status: OrderStatus,
}

/// `POST /orders/{id}/cancel`.
///
/// # Errors
///
/// 404 for somebody else's order, 409 once it cannot be called off.
pub async fn cancel(
    Path(order_id): Path<OrderId>,
    Caller(session): Caller,
    scope: Scope,
    orders: Repo<Order>,
) -> Result<Reply, Problem> {
    let order = orders
        .get(&order_id)
        .await?
        .ok_or_else(Problem::not_found)?;
    if order.placed.as_ref().map(|placed| placed.user_id.0) != Some(session.user_id) {
        return Err(Problem::not_found());
    }
    let status = match order.status() {
        status @ (OrderStatus::Cancelling | OrderStatus::Cancelled) => {
            return Ok(accepted(&Cancelled { order_id, status }));
        }
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Rejected => {
            return Err(Problem::new(
                409,
                "not_cancellable",
                "this order cannot be called off any more",
            ));
        }
        status => status,
    };
    scope.correlate(order_id.0)?;
    let mut effects = Effects::new();
    effects.send(&CancelCheckout { order_id });
    scope.emit(effects)?;
    Ok(accepted(&Cancelled { order_id, status }))
}

#[derive(Serialize)]
struct Shown {
    order_id: String,
    status: OrderStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<shop_contracts::RejectReason>,
    payment_delayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Vec<Line>>,
    subtotal: Money,
    discount: Money,
    total: Money,
    placed_at: wingbeat::Timestamp,
    updated_at: wingbeat::Timestamp,
}

fn shown(row: OrderRow, with_lines: bool) -> Shown {
    let OrderRow {
        order_id,
        status,
        reason,
        payment_delayed,
        lines,
        subtotal,
        discount,
        total,
        placed_at,
        updated_at,
        ..
    } = row;
    let lines = with_lines.then_some(lines);
    Shown {
        order_id,
        status,
        reason,
        payment_delayed,
        lines,
        subtotal,
        discount,
        total,
        placed_at,
        updated_at,
    }
}

/// `GET /orders/{id}`.
///
/// # Errors
///
/// 404 also for somebody else's order.
pub async fn show(
    Extension(reads): Extension<Reads>,
    Caller(session): Caller,
    Path(id): Path<OrderId>,
) -> Result<Response, Problem> {
    let row = reads
        .row::<OrderRow>(&id.to_string())
        .await?
        .filter(|row| row.user_id.0 == session.user_id);
    Ok(ok(&shown(row.ok_or_else(Problem::not_found)?, true)).into_response())
}

/// The query of `GET /orders`.
#[derive(Debug, Deserialize)]
pub struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Shown>,
    next_cursor: Option<String>,
}

/// `GET /orders`, newest first. The cursor is the id of the last order on the page before.
///
/// # Errors
///
/// 422 for a limit out of bounds, 400 for a bad cursor.
pub async fn list(
    Extension(reads): Extension<Reads>,
    Caller(session): Caller,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid("/limit", "1 to 100"));
    }
    let mine = format!("{}|", session.user_id);
    let after = match page.cursor {
        Some(cursor) => {
            let id: OrderId = cursor
                .parse()
                .map_err(|_| Problem::new(400, "bad_cursor", "this cursor is not one of ours"))?;
            Some(Position {
                value: format!("{mine}{id}"),
                key: id.to_string(),
            })
        }
        None => None,
    };
    let select = Select::Prefix {
        column: Name::new(BY_USER),
        prefix: mine,
        descending: true,
    };
    let listed = reads.rows::<OrderRow>(select, after, limit).await?;
    let next_cursor = listed.next.map(|position| position.key);
    let items = listed
        .rows
        .into_iter()
        .map(|(_, row)| shown(row, false))
        .collect();
    Ok(ok(&Listed { items, next_cursor }).into_response())
}
