//! Shoppers who order and order again while a shop is being broken, and the verdict afterwards: nothing that was
//! answered is forgotten, nothing is done twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shop_client::answers::Placed;
use shop_client::{Card, Error, Order, Shop, Shopper};
use tokio::task::JoinSet;

use crate::customer::Customer;
use crate::ledger::Ledger;
use crate::stock::in_stock;

/// Shoppers who order at the same time.
pub const SHOPPERS: usize = 60;
/// The pause between two orders of one shopper.
const THINK: Duration = Duration::from_millis(200);
/// How long dispatch and delivery take together: an order younger than that is in flight.
const SHIPPING: Duration = Duration::from_millis(800);
/// Orders in flight when a process is killed.
pub const IN_FLIGHT: usize = 50;
/// How long a request may be sent again until it is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
/// Longer than what a dead process had claimed is kept for it (30 s).
const CLAIMED: Duration = Duration::from_secs(40);
/// How long the last orders may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(180);

/// An order that was accepted.
struct Accepted {
    /// Whose.
    shopper: usize,
    at: Instant,
    /// Whether it will be.
    shipped: bool,
    /// What it costs, in cents.
    total: i64,
}

/// What the shoppers know.
#[derive(Default)]
pub struct Notes {
    /// Orders that were accepted, by id.
    accepted: HashMap<String, Accepted>,
    /// What the shop must not have done.
    broken: Vec<String>,
    stop: AtomicBool,
}

impl Notes {
    /// An order was answered, and maybe once more.
    fn take(
        &mut self,
        shopper: usize,
        now: Instant,
        card: Card,
        placed: Result<Placed, Error>,
        again: Option<Result<Placed, Error>>,
    ) {
        match (placed, again) {
            (Ok(first), Some(Ok(second))) if first != second => {
                let two = format!("one key, two orders: {first:?} and {second:?}");
                self.broken.push(two);
            }
            (Ok(_), Some(Err(why))) => self.broken.push(format!("a key was forgotten: {why}")),
            (Ok(placed), _) => {
                let accepted = Accepted {
                    shopper,
                    at: now,
                    shipped: card != Card::Declined,
                    total: placed.total.amount_minor,
                };
                self.accepted.insert(placed.order_id, accepted);
            }
            (Err(why), _) => self.broken.push(format!("never answered: {why}")),
        }
    }
}

/// Notes that all shoppers write.
pub type Shared = Arc<Mutex<Notes>>;

/// What a run came to.
pub struct Outcome {
    pub accepted: usize,
    /// What is wrong; empty when every promise was kept.
    pub broken: Vec<String>,
}

/// Shoppers at work.
pub struct Shopping {
    notes: Shared,
    customers: Vec<Arc<Customer>>,
    tasks: JoinSet<()>,
}

impl Shopping {
    /// Has so many shoppers order.
    pub async fn begin(shop: &Shop, count: usize) -> Self {
        Self::of(shop, Customer::made(shop, count).await.unwrap()).await
    }

    /// Has these order.
    pub async fn of(shop: &Shop, customers: Vec<Customer>) -> Self {
        let customers: Vec<_> = customers.into_iter().map(Arc::new).collect();
        let skus = in_stock(shop).await;
        let notes = Shared::default();
        let mut tasks = JoinSet::new();
        for (number, customer) in customers.iter().enumerate() {
            let notes = Arc::clone(&notes);
            let customer = Arc::clone(customer);
            tasks.spawn(go_shopping(number, customer, skus.clone(), notes));
        }
        Self {
            notes,
            customers,
            tasks,
        }
    }

    /// At a random moment, but not before enough orders are in flight.
    ///
    /// `false` when the shop takes no orders any more.
    pub async fn in_flight(&self, orders: usize) -> bool {
        wait_for_orders_in_flight(&self.notes, orders).await
    }

    /// How many orders were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.notes.lock().unwrap().accepted.len()
    }

    /// Lets every request be answered, every order end, and says what is wrong.
    pub async fn end(self, shop: &Shop, password: &str) -> Outcome {
        self.end_within(ENDED_WITHIN, shop, password).await
    }

    /// The same, with another limit for the last orders to end.
    pub async fn end_within(mut self, limit: Duration, shop: &Shop, password: &str) -> Outcome {
        self.notes
            .lock()
            .unwrap()
            .stop
            .store(true, Ordering::Release);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        judge(shop, password, &self.customers, &self.notes, limit).await
    }
}

async fn go_shopping(number: usize, shopper: Arc<Customer>, skus: Vec<String>, notes: Shared) {
    const CARDS: [Card; 8] = [
        Card::Ok,
        Card::Ok,
        Card::Ok,
        Card::Ok,
        Card::Flaky,
        Card::LostReply,
        Card::Slow,
        Card::Declined,
    ];
    while !notes.lock().unwrap().stop.load(Ordering::Acquire) {
        let card = fastrand::choice(CARDS).unwrap();
        let sku = fastrand::choice(&skus).unwrap().clone();
        let order = Order::of([(sku, fastrand::u32(1..=3))]).paid_with(card);
        let key = shop_client::shop::key();
        let placed = shopper.place_as(&key, &order, ANSWERED_WITHIN).await;
        let now = Instant::now();
        let again = match (&placed, fastrand::u8(..) < 32) {
            (Ok(_), true) => Some(shopper.place_as(&key, &order, ANSWERED_WITHIN).await),
            _ => None,
        };
        notes.lock().unwrap().take(number, now, card, placed, again);
        tokio::time::sleep(THINK).await;
    }
}

/// At a random moment, but not before enough is in flight.
async fn wait_for_orders_in_flight(notes: &Shared, orders: usize) -> bool {
    let until = Instant::now() + ANSWERED_WITHIN;
    tokio::time::sleep(Duration::from_millis(fastrand::u64(100..900))).await;
    loop {
        let since = Instant::now().checked_sub(SHIPPING).unwrap();
        let young = |it: &&Accepted| it.shipped && it.at > since;
        if notes
            .lock()
            .unwrap()
            .accepted
            .values()
            .filter(young)
            .count()
            >= orders
        {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn judge(
    shop: &Shop,
    password: &str,
    customers: &[Arc<Customer>],
    notes: &Shared,
    limit: Duration,
) -> Outcome {
    let (accepted, mut broken) = {
        let mut notes = notes.lock().unwrap();
        (
            std::mem::take(&mut notes.accepted),
            std::mem::take(&mut notes.broken),
        )
    };
    let until = Instant::now() + limit;
    for customer in customers {
        if let Err(why) = customer.sign_in(until).await {
            broken.push(format!("a customer cannot sign in: {why}"));
        }
    }
    let shoppers: Vec<Shopper> = customers.iter().map(|it| it.shopper()).collect();
    let mut owed = HashMap::with_capacity(accepted.len());
    for (id, order) in &accepted {
        let left = until.saturating_duration_since(Instant::now());
        match shoppers[order.shopper].wait_ended(id, left).await {
            Ok(ended) => {
                let total = if ended.is_paid() { order.total } else { 0 };
                owed.insert(id.as_str(), total);
            }
            Err(why) => broken.push(format!("{id} never ended: {why}")),
        }
        if broken.len() > 20 {
            break; // More of the same tells nothing.
        }
    }
    for shopper in &shoppers {
        let listed = match asked(until, async || shopper.orders().await).await {
            Ok(listed) => listed,
            Err(why) => {
                broken.push(format!("a shopper's orders cannot be listed: {why}"));
                continue;
            }
        };
        let strangers = listed
            .iter()
            .filter(|order| !accepted.contains_key(&order.order_id));
        broken.extend(strangers.map(|order| format!("{} was invented", order.order_id)));
    }
    broken.extend(booked(&Ledger::read(shop).await, &owed));
    // What is broken for sure need not be waited for.
    let patience = if broken.is_empty() {
        until.min(Instant::now() + CLAIMED)
    } else {
        Instant::now()
    };
    match audited(shop, password, until, patience).await {
        Ok((true, _)) => {}
        Ok((false, text)) => broken.push(text),
        Err(why) => broken.push(format!("no audit: {why}")),
    }
    Outcome {
        accepted: accepted.len(),
        broken,
    }
}

/// What the provider has booked otherwise than once and as it is owed.
fn booked(ledger: &Ledger, owed: &HashMap<&str, i64>) -> Vec<String> {
    let mut broken = ledger.twice();
    for (order, owed) in owed {
        let net = ledger.net(order);
        if net != *owed {
            broken.push(format!("{order} cost {net} cents, and {owed} are owed"));
        }
    }
    broken
}

/// Whether the shop's own audit holds, and what it says. What a process that died had claimed, or another holds in its
/// hands, is not seen by it: for a while that looks like a loss.
async fn audited(
    shop: &Shop,
    password: &str,
    until: Instant,
    patience: Instant,
) -> Result<(bool, String), Error> {
    let admin = asked(until, async || shop.admin(password).await).await?;
    loop {
        let (report, text) = asked(until, async || admin.audit().await).await?;
        if report.ok || Instant::now() > patience {
            return Ok((report.ok, text));
        }
        tokio::time::sleep(THINK).await;
    }
}

/// Asks again, until then, what may be answered later.
async fn asked<T>(
    until: Instant,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(why) if why.is_retryable() && Instant::now() < until => {}
            answer => return answer,
        }
        tokio::time::sleep(THINK).await;
    }
}
