//! Promises about orders that have ended: what was reserved for them, what they cost, and which
//! mails their owners got.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shop_contracts::{Money, OrderId, OrderStatus, UserId};
use shop_inventory::domain::{ClaimStatus, FlashClaim, FlashSale, HeldClaimRow, Reservation};
use shop_inventory::views::HeldRow;
use shop_orders::domain::{Order, Placed};
use shop_orders::feed::Feed;
use shop_orders::placing::StoredAddress;
use shop_payments::domain::{Payment, State};
use shop_promotions::domain::{Booking, Promo, Use};
use wingbeat::Result;
use wingbeat::run::RunningSystem;
use wingbeat::store::Select;
use wingbeat::test::{Violation, World};

/// More rows than a lifetime stores.
const ALL: usize = 1_000;

type Orders = BTreeMap<OrderId, Order>;

/// Returns the promises that are broken.
pub(super) async fn check(
    world: &World,
    system: &RunningSystem,
    orders: &Orders,
) -> Result<Vec<Violation>> {
    let users = shop_identity::audit::registered(&system.reads("identity")?).await?;
    let mut broken = promos(world, orders);
    broken.extend(sums(orders));
    broken.extend(payments(world, orders));
    broken.extend(keys(world));
    broken.extend(rows(world, system).await?);
    broken.extend(feeds(world, orders));
    broken.extend(addresses(world, orders, &users.erased));
    broken.extend(mails(system, orders, &users.active).await?);
    Ok(broken)
}

/// Returns the sagas that have not ended and wait without a timer, at any moment.
pub(super) fn untimed(world: &World) -> Vec<Violation> {
    let tables = [("orders", "saga.checkout"), ("shipping", "saga.shipment")];
    let sagas = tables.map(|(service, table)| world.records::<SagaHead>(service, table));
    let open = sagas.into_iter().flatten();
    let untimed = open.filter(|(_, saga)| !saga.ended && saga.timers.is_empty());
    untimed
        .map(|(id, _)| Violation::new("every saga has a timer", id, "it waits without one"))
        .collect()
}

/// The part of a saga's record that every saga has.
#[derive(Deserialize)]
struct SagaHead {
    ended: bool,
    timers: Vec<String>,
}

/// Checks that the promo of a completed order is redeemed, and that of another one is free again.
fn promos(world: &World, orders: &Orders) -> Vec<Violation> {
    const NAME: &str = "a promo ends with its order";
    let status = |id: &OrderId| orders.get(id).map(Order::status);
    let is_completed = |id: &OrderId| status(id) == Some(OrderStatus::Completed);
    let mut broken = Vec::new();
    let mut redeemed = BTreeSet::new();
    for (code, promo) in world.entities::<Promo>("promotions") {
        match promo.used {
            Use::Reserved { order_id } if status(&order_id).is_none_or(is_end) => {
                broken.push(Violation::new(
                    NAME,
                    order_id,
                    format!("{code} is reserved"),
                ));
            }
            Use::Redeemed { order_id } => {
                redeemed.insert(order_id);
                if !is_completed(&order_id) {
                    let detail = format!("{code} is redeemed, and the order is not completed");
                    broken.push(Violation::new(NAME, order_id, detail));
                }
            }
            Use::Issued | Use::Reserved { .. } => {}
        }
    }
    for (id, booking) in world.entities::<Booking>("promotions") {
        let Ok(order_id) = id.parse::<OrderId>() else {
            continue;
        };
        let is_redeemed = matches!(booking, Booking::Redeemed { .. });
        let is_open = matches!(booking, Booking::Reserved { .. });
        if is_open || is_redeemed != redeemed.contains(&order_id) {
            broken.push(Violation::new(
                NAME,
                id,
                format!("its booking is {booking:?}"),
            ));
        }
    }
    let discounted = orders.iter().filter(|(id, order)| {
        let placed = order.placed.as_ref();
        is_completed(id) && placed.is_some_and(|it| it.discount.amount_minor > 0)
    });
    let unpaid = discounted.filter(|(id, _)| !redeemed.contains(id));
    broken.extend(unpaid.map(|(id, _)| Violation::new(NAME, id, "it had a discount without one")));
    broken
}

fn is_end(status: OrderStatus) -> bool {
    matches!(
        status,
        OrderStatus::Completed | OrderStatus::Rejected | OrderStatus::Cancelled
    )
}

/// Checks that the amounts of an order are the sums of its lines.
fn sums(orders: &Orders) -> Vec<Violation> {
    let is_right = |placed: &Placed| {
        let line = |line: &shop_contracts::Line| line.price.amount_minor * i64::from(line.quantity);
        let sum: i64 = placed.lines.iter().map(line).sum();
        let discount = placed.discount.amount_minor;
        // All promos of the simulation are welcome promos: ten percent, half a cent rounded up.
        let tenth = (sum * 10 + 50).div_euclid(100);
        let are_counted = placed
            .lines
            .iter()
            .all(|it| (1..=99).contains(&it.quantity));
        !placed.lines.is_empty()
            && are_counted
            && placed.subtotal.amount_minor == sum
            && (discount == 0 || discount == tenth)
            && placed.total.amount_minor == sum - discount
    };
    let wrong = orders.iter().filter_map(|(id, order)| {
        let placed = order.placed.as_ref()?;
        let detail = || format!("{placed:?}");
        (!is_right(placed)).then(|| Violation::new("an order costs what it contains", id, detail()))
    });
    wrong.collect()
}

/// Checks that the payment of an ended order is over, and says how much money has moved.
fn payments(world: &World, orders: &Orders) -> Vec<Violation> {
    const NAME: &str = "a payment ends with its order";
    let all = world.entities::<Payment>("payments").into_iter();
    let wrong = all.filter(|(id, payment)| {
        let (captured, refunded) = (payment.captured, payment.refunded);
        let order = id.parse().ok().and_then(|id: OrderId| orders.get(&id));
        let is_completed = order.map(Order::status) == Some(OrderStatus::Completed);
        let (none, is_paid) = (Money::default(), captured == payment.amount);
        let is_right = match payment.state {
            State::Captured => is_completed && is_paid && refunded == none,
            State::Refunded => !is_completed && is_paid && refunded == captured,
            State::Declined | State::Voided => !is_completed && captured == none,
            _ => false,
        };
        !is_right || !payment.token.is_empty()
    });
    wrong
        .map(|(id, payment)| Violation::new(NAME, id, format!("{payment:?}")))
        .collect()
}

/// Checks that each flash sale signs its claims with a key of its own.
fn keys(world: &World) -> Vec<Violation> {
    let mut keys = BTreeSet::new();
    let sales = world.entities::<FlashSale>("inventory").into_iter();
    let again = sales.filter(|(_, sale)| !keys.insert(String::from(sale.terms.key.clone())));
    again
        .map(|(id, _)| Violation::new("no two sales have one key", id, "its key is known"))
        .collect()
}

/// Checks that the rows by expiry are those of the reservations and claims that can expire.
async fn rows(world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
    const NAME: &str = "what can expire is found by its expiry";
    let inventory = system.reads("inventory")?;
    let held = inventory.rows::<HeldRow>(Select::All, None, ALL).await?;
    let held: BTreeSet<String> = held.rows.into_iter().map(|(id, _)| id).collect();
    let reservations = world.entities::<Reservation>("inventory").into_iter();
    let reservations = reservations.filter(|it| matches!(it.1, Reservation::Held { .. }));
    let reserved: BTreeSet<String> = reservations.map(|(id, _)| id).collect();
    let claimed = inventory
        .rows::<HeldClaimRow>(Select::All, None, ALL)
        .await?;
    let claimed: BTreeSet<String> = claimed.rows.into_iter().map(|(id, _)| id).collect();
    let claims = world.entities::<FlashClaim>("inventory").into_iter();
    let claims = claims.filter(|it| it.1.status == ClaimStatus::Confirmed);
    let confirmed: BTreeSet<String> = claims.map(|(id, _)| id).collect();
    let wrong = held.symmetric_difference(&reserved);
    let wrong = wrong.chain(claimed.symmetric_difference(&confirmed));
    let detail = "it has a row and no reservation, or a reservation and no row";
    Ok(wrong.map(|id| Violation::new(NAME, id, detail)).collect())
}

/// Checks that the newest change of each feed is the status of its order.
fn feeds(world: &World, orders: &Orders) -> Vec<Violation> {
    const NAME: &str = "a feed ends with the last change";
    let feeds = world.entities::<Feed>("orders").into_iter();
    let newest = feeds.filter_map(|(_, feed)| feed.newest);
    let wrong = newest.filter(|row| {
        let order = orders.get(&row.order_id);
        order.map(Order::status) != Some(row.status)
    });
    wrong
        .map(|row| Violation::new(NAME, row.order_id, format!("{:?}", row.status)))
        .collect()
}

/// Checks that the address of each order is stored, unless its owner was erased.
fn addresses(world: &World, orders: &Orders, erased: &BTreeSet<UserId>) -> Vec<Violation> {
    const NAME: &str = "an order has an address until its owner is erased";
    let stored = world.entities::<StoredAddress>("orders").into_iter();
    let stored: BTreeSet<String> = stored.map(|(id, _)| id).collect();
    let wrong = orders.iter().filter_map(|(id, order)| {
        let owner = order.placed.as_ref()?.user_id;
        let is_erased = erased.contains(&owner);
        let has_address = stored.contains(&id.to_string());
        let detail = format!("erased: {is_erased}, with an address: {has_address}");
        (is_erased == has_address).then(|| Violation::new(NAME, id, detail))
    });
    wrong.collect()
}

/// Checks that each user got the mails about the ends of the orders, each once.
async fn mails(
    system: &RunningSystem,
    orders: &Orders,
    active: &BTreeSet<UserId>,
) -> Result<Vec<Violation>> {
    const NAME: &str = "each mail is sent once";
    let mut due = BTreeMap::<UserId, Vec<&str>>::new();
    for order in orders.values() {
        let Some(placed) = &order.placed else {
            continue;
        };
        let mails = due.entry(placed.user_id).or_default();
        match order.status() {
            OrderStatus::Completed => mails.extend(["order_paid", "order_shipped"]),
            OrderStatus::Rejected => mails.push("order_rejected"),
            OrderStatus::Cancelled => mails.push("order_cancelled"),
            _ => {}
        }
    }
    let (promotions, notifications) = (system.reads("promotions")?, system.reads("notifications")?);
    let mut broken = Vec::new();
    for user in active {
        let Some(person) = shop_notifications::audit::person(&notifications, *user).await? else {
            continue; // The copies of addresses are checked elsewhere.
        };
        let mut right = due.remove(user).unwrap_or_default();
        right.push("welcome");
        let promos = shop_promotions::audit::welcome_promos_of(&promotions, *user).await?;
        right.extend(vec![
            "promo";
            if person.marketing_opt_in { promos } else { 0 }
        ]);
        let mailbox = shop_notifications::mailbox::mailbox(&notifications, Some(&person.email));
        let mut sent = mailbox.await?.items;
        // An order can be paid and cancelled afterwards.
        let paid = sent.iter().filter(|it| it.template == "order_paid").count();
        let refunded = paid.saturating_sub(count(&right, "order_paid"));
        right.extend(vec![
            "order_paid";
            refunded.min(count(&right, "order_cancelled"))
        ]);
        sent.sort_by(|one, other| one.template.cmp(&other.template));
        right.sort_unstable();
        let sent: Vec<_> = sent.iter().map(|it| it.template.as_str()).collect();
        if sent != right {
            broken.push(Violation::new(
                NAME,
                user,
                format!("{right:?} are due, {sent:?} were sent"),
            ));
        }
    }
    Ok(broken)
}

fn count(all: &[&str], one: &str) -> usize {
    all.iter().filter(|it| **it == one).count()
}
