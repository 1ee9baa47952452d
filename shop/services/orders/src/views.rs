//! The order list, and the stored form of an order.

use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderId, OrderStatus, RejectReason, UserId};
use wingbeat::store::Select;
use wingbeat::{
    Aggregate, JsonSchema, Name, Reads, Timestamp, View, ViewColumns, ViewRow, schemars,
};

use crate::domain::{AlreadyPlaced, Order, OrderCommand, OrderEvent};

/// A row of the order list. The key is the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRow {
    /// The order.
    pub order_id: String,
    /// Its owner.
    pub user_id: UserId,
    /// The status.
    pub status: OrderStatus,
    /// The reason of a rejection.
    pub reason: Option<RejectReason>,
    /// `true` if the authorization of the payment is delayed.
    pub payment_delayed: bool,
    /// The products, quantities and prices.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// The discount of the promo.
    pub discount: Money,
    /// The amount to be paid.
    pub total: Money,
    /// The time of the acceptance.
    pub placed_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// The index column of [`OrderRow`]: the owner, then the order. Order ids sort by time.
pub const BY_USER: &str = "by_user";

impl OrderRow {
    /// Returns the row of an order; `None` before the order is placed.
    #[must_use]
    pub fn of(id: &str, order: &Order) -> Option<Self> {
        let placed = order.placed.as_ref()?;
        let last = order.last.as_ref();
        Some(Self {
            order_id: id.into(),
            user_id: placed.user_id,
            status: order.status(),
            reason: last.and_then(|last| last.reason),
            payment_delayed: last.is_some_and(|last| last.payment_delayed),
            lines: placed.lines.clone(),
            subtotal: placed.subtotal,
            discount: placed.discount,
            total: placed.total,
            placed_at: placed.at,
            updated_at: last.map_or(placed.at, |last| last.at),
        })
    }
}

impl View for OrderRow {
    const NAME: &'static str = "orders";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(BY_USER, format!("{}|{}", self.user_id, self.order_id))]
    }
}

/// Returns at most `limit` orders of a user, oldest first, that follow the order `after`.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn orders_after(
    reads: &Reads,
    user: UserId,
    after: Option<OrderId>,
    limit: usize,
) -> wingbeat::Result<Vec<OrderId>> {
    let from = match after {
        Some(order) => format!("{user}|{order} "), // The value of the order itself is smaller.
        None => format!("{user}|"),
    };
    let theirs = Select::Range {
        column: Name::new(BY_USER),
        from,
        until: Some(format!("{user}}}")), // The character after `|`.
        descending: false,
    };
    let listed = reads.rows::<OrderRow>(theirs, None, limit).await?;
    let ids = listed.rows.iter().filter_map(|(id, _)| id.parse().ok());
    Ok(ids.collect())
}

/// An order is stored as its history. Each change of it rewrites its row of the order list.
impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Id = OrderId;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = AlreadyPlaced;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<OrderRow>(&[BY_USER])];

    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, AlreadyPlaced> {
        match command {
            OrderCommand::Place(placed) => Ok(vec![self.place(placed)?]),
            OrderCommand::Change(change) => Ok(self.change(change).into_iter().collect()),
        }
    }

    fn apply(&mut self, event: &OrderEvent) {
        self.evolve(event);
    }

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let row = OrderRow::of(id, self);
        row.iter().map(|row| ViewRow::of(id, row)).collect()
    }
}
