//! `POST /orders`: the lines of the order, its price, and the final reply.

mod claim;
mod request;
mod waiting;

use serde::Serialize;
use shop_contracts::orders::OrderPlaced;
use shop_contracts::{Line, Lines, Money, OrderId, OrderStatus, Sku, UserId};
use wingbeat::http::session::Session;
use wingbeat::http::{Caller, Problem, Reply, accepted};
use wingbeat::{
    Effects, Extract, JsonSchema, Reads, Repo, Result, Scope, Subjects, Table, schemars,
};

use crate::Config;
use crate::checkout::PAID;
use crate::copies::{CartCopy, ClaimCopy, ProductCopy, PromoCopy};
use crate::domain::{Order, OrderCommand, Placed};
use crate::feed::{Feed, FeedRow};
use crate::messages::StartCheckout;
use request::{Item, canonical, seen_version};

pub use request::{Address, PlaceOrder, Ready, StoredAddress};

/// The answer to an accepted order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Placed")]
pub(crate) struct PlacedReply {
    order_id: OrderId,
    status: OrderStatus,
    subtotal: Money,
    discount: Money,
    total: Money,
}

/// The state that placing an order reads and changes.
pub struct Records {
    orders: Repo<Order>,
    products: Table<ProductCopy>,
    carts: Table<CartCopy>,
    promos: Table<PromoCopy>,
    claims: Table<ClaimCopy>,
    addresses: Table<StoredAddress>,
    subjects: Subjects,
    feeds: Table<Feed>,
}

impl<S> Extract<Scope, S> for Records {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            orders: Extract::extract(scope, state)?,
            products: Table::of(scope),
            carts: Table::of(scope),
            promos: Table::of(scope),
            claims: Table::of(scope),
            addresses: Table::of(scope),
            subjects: Subjects::of(scope),
            feeds: Table::of(scope),
        })
    }
}

/// The price of an order.
#[derive(Clone, Copy)]
struct Price {
    subtotal: Money,
    discount: Money,
    total: Money,
    /// `true` if the code gives no discount: it is not known here yet, has another owner or is
    /// expired.
    promo_unusable: bool,
}

/// `POST /orders`.
///
/// # Errors
///
/// 404 if the caller has no such flash claim; 409 `price_changed`, `claim_pending`,
/// `claim_expired` or `claim_used`; 422 `cart_empty` or with the invalid fields; 503
/// `cart_not_ready` if the copy of the cart is older than the cart that the caller has seen.
pub async fn place(
    Ready(request): Ready,
    Caller(session): Caller,
    scope: Scope,
    reads: Reads,
    records: Records,
    wingbeat::State(config): wingbeat::State<Config>,
) -> Result<Reply, Problem> {
    let (user_id, order_id) = (UserId(session.user_id), OrderId(scope.new_id()));
    let flash_claim_id = request.flash_claim_id.as_deref().map(claim::parsed);
    let flash_claim_id = flash_claim_id.transpose()?;
    let lines = match flash_claim_id {
        Some(claim) => {
            let lines = records.claimed(&reads, claim, user_id, order_id, scope.now());
            lines.await?
        }
        None => records.lines(&request, &session, order_id).await?,
    };
    let promo_code = request.promo_code.as_deref().map(canonical);
    let price = records.price(&scope, user_id, &lines, promo_code.as_deref());
    let price = price.await?;
    if request.expected_total.is_some_and(|it| it != price.total) {
        let detail = format!("the total is now {} cents", price.total.amount_minor);
        return Err(Problem::new(409, "price_changed", detail));
    }
    scope.correlate(order_id.0)?;
    records
        .record(&scope, order_id, user_id, &lines, price)
        .await?;
    let stored = records.deliver_to(order_id, user_id, &request.address);
    stored.await?;
    let mut effects = Effects::new();
    effects.send(&StartCheckout {
        order_id,
        user_id,
        lines: quantities(&lines),
        total: price.total,
        promo_code: promo_code.clone(),
        promo_unusable: price.promo_unusable,
        flash_claim_id,
        accepted_at: Some(scope.now()),
        token: request.payment_token,
        deadlines: config.deadlines,
    });
    let Price {
        subtotal,
        discount,
        total,
        ..
    } = price;
    effects.publish(&OrderPlaced {
        order_id,
        user_id,
        lines,
        subtotal,
        discount,
        total,
        promo_code,
        from_cart: request.items.is_none() && flash_claim_id.is_none(),
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

impl Records {
    /// Returns the lines of the requested items, or of the caller's cart.
    async fn lines(
        &self,
        request: &PlaceOrder,
        session: &Session,
        order_id: OrderId,
    ) -> Result<Vec<Line>, Problem> {
        match &request.items {
            Some(items) => self.priced(&parsed(items)?).await,
            None => {
                let user_id = UserId(session.user_id);
                let seen = seen_version(session);
                self.cart(user_id, order_id, seen).await
            }
        }
    }

    /// Returns the lines of these quantities at the current prices.
    async fn priced(&self, wanted: &[(Sku, u32)]) -> Result<Vec<Line>, Problem> {
        let mut lines = Vec::with_capacity(wanted.len());
        for (at, (sku, quantity)) in wanted.iter().enumerate() {
            let line = self.line(sku, *quantity).await?;
            lines.push(line.ok_or_else(|| unknown_sku(at))?);
        }
        Ok(lines)
    }

    /// Returns a line at the current price; `None` if the product is not for sale.
    async fn line(&self, sku: &Sku, quantity: u32) -> Result<Option<Line>> {
        let product = self.products.get(sku).await?;
        let product = product.filter(|product| !product.retired);
        Ok(product.map(|product| Line {
            sku: sku.clone(),
            name: product.name,
            quantity,
            price: product.price,
        }))
    }

    /// Returns the lines of the caller's cart, without products that are no longer sold, and
    /// records the purchase in the copy of the cart.
    ///
    /// `seen` is the version of the cart that the caller has seen.
    async fn cart(&self, user: UserId, order: OrderId, seen: u64) -> Result<Vec<Line>, Problem> {
        let mut cart = self.carts.get(&user).await?.unwrap_or_default();
        if cart.version < seen {
            let detail = "the latest change of the cart has not arrived yet; try again";
            return Err(Problem::new(503, "cart_not_ready", detail));
        }
        let mut lines = Vec::with_capacity(cart.lines.len());
        for (sku, quantity) in cart.left() {
            lines.extend(self.line(&sku, quantity).await?);
        }
        if lines.is_empty() {
            return Err(Problem::new(422, "cart_empty", "the cart is empty"));
        }
        cart.bought.push((order, quantities(&lines)));
        self.carts.put(&user, cart)?;
        Ok(lines)
    }

    async fn price(
        &self,
        scope: &Scope,
        user: UserId,
        lines: &[Line],
        promo_code: Option<&str>,
    ) -> Result<Price, Problem> {
        let subtotal = sum(lines)?;
        let promo = match promo_code {
            Some(code) => self.promos.get(&code.to_owned()).await?,
            None => None,
        };
        let usable = promo.filter(|promo| promo.user_id == user && promo.expires_at > scope.now());
        let promo_unusable = promo_code.is_some() && usable.is_none();
        let discount = usable.map_or_else(Money::default, |promo| subtotal.percent(promo.percent));
        let total = subtotal.minus(discount).ok_or_else(too_much)?;
        Ok(Price {
            subtotal,
            discount,
            total,
            promo_unusable,
        })
    }

    /// Stores the address of an order, encrypted under the key of its owner.
    async fn deliver_to(&self, order: OrderId, owner: UserId, address: &Address) -> Result<()> {
        let address = self.subjects.encrypt(&owner, address).await?;
        self.addresses.put(&order, StoredAddress(address))
    }

    async fn record(
        &self,
        scope: &Scope,
        order_id: OrderId,
        user_id: UserId,
        lines: &[Line],
        price: Price,
    ) -> Result<(), Problem> {
        PAID.make(scope)?;
        let at = scope.now();
        let placed = Placed {
            user_id,
            lines: lines.to_vec(),
            subtotal: price.subtotal,
            discount: price.discount,
            total: price.total,
            at,
        };
        let placed = self.orders.execute(&order_id, OrderCommand::Place(placed));
        placed
            .await?
            .map_err(|_| Problem::new(409, "already_placed", "this order id is in use"))?;
        let row = FeedRow {
            version: 0,
            order_id,
            status: OrderStatus::Placed,
            reason: None,
            payment_delayed: false,
            updated_at: at,
        };
        let feed = |feed| Feed::with(feed, row);
        self.feeds.update(&user_id, feed).await?;
        Ok(())
    }
}

fn quantities(lines: &[Line]) -> Lines {
    let lines = lines.iter();
    lines
        .map(|line| (line.sku.clone(), line.quantity))
        .collect()
}

fn sum(lines: &[Line]) -> Result<Money, Problem> {
    let total = lines.iter().try_fold(Money::default(), |sum, line| {
        sum.plus(line.price.times(line.quantity)?)
    });
    total.ok_or_else(too_much)
}

fn too_much() -> Problem {
    Problem::invalid("/items", "the total is too large")
}

fn unknown_sku(at: usize) -> Problem {
    Problem::invalid(&format!("/items/{at}/sku"), "unknown SKU")
}

fn parsed(items: &[Item]) -> Result<Lines, Problem> {
    let parse = |(at, item): (usize, &Item)| match item.sku.parse::<Sku>() {
        Ok(sku) => Ok((sku, item.quantity)),
        Err(_) => Err(unknown_sku(at)),
    };
    items.iter().enumerate().map(parse).collect()
}
