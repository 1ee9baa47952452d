//! Shoppers who keep placing orders while the shop is being broken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shop_client::answers::Placed;
use shop_client::{Card, Error, Order};
use tokio::task::JoinSet;

use crate::customer::Customer;
use crate::site::Site;
use crate::verdict::{self, Accepted, Outcome};
use crate::wait::{check, until, within_bound};

/// The pause between two orders of one shopper.
const THINK: Duration = Duration::from_millis(200);

/// The cards that shoppers draw from: most pay, the others fail in each way that the provider
/// knows.
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

/// The shoppers' observations.
#[derive(Default)]
struct Notes {
    /// Orders that were accepted, by id.
    accepted: Mutex<HashMap<String, Accepted>>,
    /// Answers that break a promise.
    broken: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Notes {
    fn accepted(&self) -> MutexGuard<'_, HashMap<String, Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> MutexGuard<'_, Vec<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the answer to an order, and the answer to its repetition.
    fn take(
        &self,
        customer: usize,
        placed: Result<Placed, Error>,
        again: Option<Result<Placed, Error>>,
    ) {
        match (placed, again) {
            (Ok(first), Some(Ok(second))) if first != second => {
                let two = format!("one key, two orders: {first:?} and {second:?}");
                self.broken().push(two);
            }
            (Ok(_), Some(Err(why))) => self.broken().push(format!("a key was forgotten: {why}")),
            (Ok(placed), _) => {
                let total = placed.total.amount_minor;
                let accepted = Accepted { customer, total };
                self.accepted().insert(placed.order_id, accepted);
            }
            (Err(why), _) => self.broken().push(format!("never answered: {why}")),
        }
    }
}

/// Shoppers at work.
pub struct Shopping {
    site: Site,
    notes: Arc<Notes>,
    customers: Vec<Arc<Customer>>,
    tasks: JoinSet<()>,
}

impl Shopping {
    /// Starts so many shoppers with all kinds of cards.
    pub async fn begin(site: &Site, count: usize) -> Self {
        Self::with_cards(site, count, &CARDS).await
    }

    /// Starts so many shoppers who draw from these cards.
    pub async fn with_cards(site: &Site, count: usize, cards: &'static [Card]) -> Self {
        let customers = Customer::create(&site.shop, count).await.unwrap();
        Self::of(site, customers, cards).await
    }

    /// Starts customers who can sign in again.
    pub async fn signed_up(site: &Site, count: usize) -> Self {
        let customers = Customer::sign_up(&site.shop, count).await.unwrap();
        Self::of(site, customers, &CARDS).await
    }

    async fn of(site: &Site, customers: Vec<Customer>, cards: &'static [Card]) -> Self {
        let customers: Vec<_> = customers.into_iter().map(Arc::new).collect();
        let skus: Arc<[String]> = site.in_stock().await.into();
        let notes = Arc::<Notes>::default();
        let mut tasks = JoinSet::new();
        for (number, customer) in customers.iter().enumerate() {
            let (notes, customer) = (Arc::clone(&notes), Arc::clone(customer));
            tasks.spawn(go_shopping(
                number,
                customer,
                Arc::clone(&skus),
                cards,
                notes,
            ));
        }
        Self {
            site: site.clone(),
            notes,
            customers,
            tasks,
        }
    }

    /// Waits until so many more orders were accepted, and then for a random moment.
    ///
    /// # Errors
    ///
    /// Says how many were, if the shop accepts no orders any more.
    pub async fn accepts(&self, orders: usize) -> Result<(), String> {
        let before = self.accepted();
        within_bound(async || {
            let more = self.accepted() - before;
            check(
                more >= orders,
                format_args!("{more} of {orders} orders were accepted"),
            )
        })
        .await?;
        a_moment().await;
        Ok(())
    }

    /// Waits until so many orders are accepted and have not ended, and then for a random moment.
    pub async fn in_flight(&self, orders: u64) {
        until("orders are in flight", async || {
            let open = self.site.orders_in_flight().await?;
            check(open >= orders, format_args!("{open} of {orders}"))
        })
        .await;
        a_moment().await;
    }

    /// The number of orders accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.notes.accepted().len()
    }

    /// Lets every request be answered and every order end, and returns the verdict.
    pub async fn end(mut self) -> Outcome {
        self.notes.stop.store(true, Ordering::Release);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let accepted = std::mem::take(&mut *self.notes.accepted());
        let broken = std::mem::take(&mut *self.notes.broken());
        verdict::judge(&self.site, &self.customers, &accepted, broken).await
    }
}

/// Waits for a random time, so that what follows does not always meet the same step.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..500))).await;
}

async fn go_shopping(
    number: usize,
    customer: Arc<Customer>,
    skus: Arc<[String]>,
    cards: &[Card],
    notes: Arc<Notes>,
) {
    while !notes.stop.load(Ordering::Acquire) {
        let card = *fastrand::choice(cards).unwrap();
        let sku = fastrand::choice(&*skus).unwrap().clone();
        let order = Order::of([(sku, fastrand::u32(1..=3))]).paid_with(card);
        let key = shop_client::shop::key();
        let placed = customer.place_as(&key, &order).await;
        let again = match (&placed, fastrand::u8(..) < 32) {
            (Ok(_), true) => Some(customer.place_as(&key, &order).await),
            _ => None,
        };
        notes.take(number, placed, again);
        tokio::time::sleep(THINK).await;
    }
}
