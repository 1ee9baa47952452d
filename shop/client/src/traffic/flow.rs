//! The load: the shoppers, their orders, and the live streams that report the orders' changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::report::{Percentiles, Report};
use crate::answers::{Product, Status};
use crate::{Error, Order, Shop, Shopper};

/// The load to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Orders per second.
    pub rate: u32,
    /// The duration.
    pub duration: Duration,
    /// The number of shoppers, who take turns.
    pub shoppers: usize,
    /// The longest wait for the reply to an order, and after the last order for the payments.
    pub grace: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rate: 50,
            duration: Duration::from_secs(30),
            shoppers: 100,
            grace: Duration::from_secs(60),
        }
    }
}

/// The number of shoppers if they have to sign up with a password, which costs the shop a hash
/// each.
const SIGN_UPS_MAX: usize = 10;
/// The pause between two checks whether all orders have ended.
const POLL: Duration = Duration::from_millis(20);
/// The pause before a broken stream is reopened.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

impl Plan {
    /// Returns the number of orders.
    #[must_use]
    pub fn orders(&self) -> u64 {
        (self.duration.as_secs_f64() * f64::from(self.rate)) as u64
    }
}

/// An accepted order that is not paid yet.
struct Open {
    due: Instant,
}

/// The known state of the orders, shared by all tasks.
#[derive(Default)]
struct Known {
    report: Report,
    open: HashMap<String, Open>,
    /// The states that a stream reported before the reply arrived.
    early: HashMap<String, (Status, Instant)>,
    accepted: HashSet<String>,
    accept: Times,
    paid: Times,
}

/// A histogram of latencies in microseconds, up to ten minutes.
struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(histogram.expect("the bounds are valid"))
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }
}

type Shared = Arc<Mutex<Known>>;

fn lock(known: &Shared) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends the load, waits for the orders to end, and returns the report.
///
/// # Errors
///
/// The [`Error`] of a request outside of the load: the products, the shoppers, or the final list of
/// orders.
pub async fn drive(shop: &Shop, plan: &Plan, bar: &ProgressBar) -> Result<Report, Error> {
    let products = on_sale(shop).await?;
    let shoppers = shoppers(shop, plan).await?;
    let known = Shared::default();
    let mut streams = JoinSet::new();
    for shopper in &shoppers {
        streams.spawn(follow(shopper.clone(), Arc::clone(&known)));
    }
    send(plan, &shoppers, &products, &known, bar).await;
    let until = Instant::now() + plan.grace;
    while Instant::now() < until && !lock(&known).open.is_empty() {
        tokio::time::sleep(POLL).await;
    }
    streams.abort_all();
    count(&shoppers, &known).await?;
    let mut known = lock(&known);
    known.report.accept_ms = Percentiles::of(&known.accept.0);
    known.report.paid_ms = Percentiles::of(&known.paid.0);
    Ok(known.report.clone())
}

/// Returns the products with plenty of stock.
async fn on_sale(shop: &Shop) -> Result<Vec<Product>, Error> {
    let products = shop.products().await?;
    let most = products.iter().map(|product| product.available).max();
    let enough = most.unwrap_or_default() / 10;
    let plenty = products.into_iter().filter(|it| it.available > enough);
    Ok(plenty.collect())
}

async fn shoppers(shop: &Shop, plan: &Plan) -> Result<Vec<Shopper>, Error> {
    match shop.shoppers(plan.shoppers).await {
        Err(Error::Refused { .. }) => {}
        made => return made,
    }
    let mut shoppers = Vec::new();
    for _ in 0..plan.shoppers.min(SIGN_UPS_MAX) {
        shoppers.push(shop.newcomer().await?);
    }
    Ok(shoppers)
}

async fn send(
    plan: &Plan,
    shoppers: &[Shopper],
    products: &[Product],
    known: &Shared,
    bar: &ProgressBar,
) {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..plan.orders() {
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(plan.rate));
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let at = usize::try_from(number).unwrap_or_default() % shoppers.len();
        let order = order(products);
        let one = place(
            shoppers[at].clone(),
            order,
            due,
            plan.grace,
            Arc::clone(known),
        );
        tasks.spawn(one);
        while tasks.try_join_next().is_some() {
            bar.inc(1);
        }
        if number % 64 == 0 {
            bar.set_message(format!("{} paid", lock(known).report.paid));
        }
    }
    while tasks.join_next().await.is_some() {
        bar.inc(1);
    }
}

/// Draws an order: one to three products, one or two units of each.
fn order(products: &[Product]) -> Order {
    let count = fastrand::usize(1..=3).min(products.len());
    let chosen = fastrand::choose_multiple(products, count);
    Order::of(
        chosen
            .into_iter()
            .map(|it| (it.sku.clone(), fastrand::u32(1..=2))),
    )
}

async fn place(shopper: Shopper, order: Order, due: Instant, grace: Duration, known: Shared) {
    lock(&known).report.sent += 1;
    let placed = shopper.place(&order, grace).await;
    let now = Instant::now();
    let mut known = lock(&known);
    match placed {
        Ok(placed) => known.accepted(placed.order_id, due, now),
        Err(Error::Refused { status, .. }) if status < 500 => known.report.refused += 1,
        Err(Error::Refused { .. }) => known.report.failed += 1,
        Err(_) => known.report.unknown += 1,
    }
}

impl Known {
    fn accepted(&mut self, id: String, due: Instant, now: Instant) {
        self.report.accepted += 1;
        self.accept.add(now - due);
        let early = self.early.remove(&id);
        if !self.accepted.insert(id.clone()) {
            self.report.duplicated += 1; // Two idempotency keys, one order.
            return;
        }
        self.open.insert(id, Open { due });
        if let Some((status, at)) = early {
            self.observe(status, at);
        }
    }

    fn observe(&mut self, status: Status, at: Instant) {
        if !status.is_paid() && !status.is_ended() {
            return;
        }
        if let Some(open) = self.open.remove(&status.order_id) {
            if status.is_paid() {
                self.report.paid += 1;
                self.paid.add(at - open.due);
            }
        } else if !self.accepted.contains(&status.order_id) {
            self.early
                .entry(status.order_id.clone())
                .or_insert((status, at));
        }
    }
}

/// Follows a shopper's stream until the task is aborted.
async fn follow(shopper: Shopper, known: Shared) {
    let mut last = None;
    loop {
        if let Ok(mut stream) = shopper.stream(last.as_ref()).await {
            while let Ok(Some(event)) = stream.next().await {
                last = ::http::HeaderValue::from_bytes(&event.id).ok();
                if let Ok(status) = serde_json::from_slice::<Status>(&event.data) {
                    lock(&known).observe(status, Instant::now());
                }
            }
        }
        tokio::time::sleep(REOPEN_AFTER).await;
        last.get_or_insert(::http::HeaderValue::from_static("0"));
    }
}

/// Compares the accepted orders with those of the shop.
async fn count(shoppers: &[Shopper], known: &Shared) -> Result<(), Error> {
    let mut there = HashMap::new();
    for shopper in shoppers {
        for order in shopper.orders().await? {
            there.insert(order.order_id.clone(), order);
        }
    }
    let now = Instant::now();
    let mut known = lock(known);
    let open: Vec<String> = known.open.keys().cloned().collect();
    for id in open {
        match there.get(&id) {
            Some(order) if order.is_paid() || order.is_ended() => known.observe(order.clone(), now),
            _ => known.report.lost += 1, // It disappeared, or never ended.
        }
    }
    let gone = known.accepted.iter().filter(|id| !there.contains_key(*id));
    let gone = gone.filter(|id| !known.open.contains_key(*id)).count() as u64;
    known.report.lost += gone;
    let invented = there
        .keys()
        .filter(|id| !known.accepted.contains(*id))
        .count() as u64;
    let unknown = known.report.unknown;
    // The shop may have accepted an order without a reply, which is no duplicate.
    known.report.duplicated += invented.saturating_sub(unknown);
    Ok(())
}
