//! `kill -9` at random moments, again and again on the same data, with orders in flight: nothing that
//! was answered is forgotten, nothing is done twice.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use shop_client::answers::Placed;
use shop_client::http::Call;
use shop_client::{Card, Error, Order, Shopper};
use tokio::task::JoinSet;

use crate::process::Place;

/// Shoppers who order at the same time.
const SHOPPERS: usize = 60;
/// The pause between two orders of one shopper.
const THINK: Duration = Duration::from_millis(200);
/// How long dispatch and delivery take together: an order younger than that is in flight.
const SHIPPING: Duration = Duration::from_millis(800);
/// Orders in flight when the process is killed.
const IN_FLIGHT: usize = 50;
/// How long a request may be sent again until it is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// How long the last orders may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(90);

/// What the shoppers know.
#[derive(Default)]
struct Notes {
    /// Orders that were accepted, by id: whose, when, and whether they will be shipped.
    accepted: HashMap<String, (usize, Instant, bool)>,
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
                let shipped = card != Card::Declined;
                self.accepted
                    .insert(placed.order_id, (shopper, now, shipped));
            }
            (Err(why), _) => self.broken.push(format!("never answered: {why}")),
        }
    }
}

type Shared = Arc<Mutex<Notes>>;

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) accepted: usize,
    /// What is wrong; empty when every promise was kept.
    pub(crate) broken: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_killed_twenty_times_forgets_and_repeats_nothing() {
    let outcome = killed(crate::process::binary(), None, 20).await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(
        outcome.accepted > 20 * IN_FLIGHT,
        "{} orders",
        outcome.accepted
    );
}

/// Kills a shop so many times under traffic, and says what became of its promises.
pub(crate) async fn killed(binary: PathBuf, without: Option<&str>, times: usize) -> Outcome {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), binary)
        .without(without)
        .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "400ms")
        .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "400ms");
    let mut running = place.start().await;
    let shoppers = place.shop().shoppers(SHOPPERS).await.unwrap();
    let products = place.shop().products().await.unwrap();
    let skus: Vec<String> = products
        .into_iter()
        .filter(|it| it.available > 0)
        .map(|it| it.sku)
        .collect();
    let notes = Shared::default();
    let mut tasks = JoinSet::new();
    for (number, shopper) in shoppers.iter().enumerate() {
        tasks.spawn(go_shopping(
            number,
            shopper.clone(),
            skus.clone(),
            Arc::clone(&notes),
        ));
    }
    for _ in 0..times {
        wait_for_orders_in_flight(&notes).await;
        running.kill();
        running = place.start().await;
    }
    notes.lock().unwrap().stop.store(true, Ordering::Release);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let outcome = judge(&place, &shoppers, &notes).await;
    drop(running);
    outcome
}

async fn go_shopping(number: usize, shopper: Shopper, skus: Vec<String>, notes: Shared) {
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
async fn wait_for_orders_in_flight(notes: &Shared) {
    let until = Instant::now() + ANSWERED_WITHIN;
    tokio::time::sleep(Duration::from_millis(fastrand::u64(100..900))).await;
    loop {
        let since = Instant::now().checked_sub(SHIPPING).unwrap();
        let young = |(_, at, shipped): &&(usize, Instant, bool)| *shipped && *at > since;
        if notes
            .lock()
            .unwrap()
            .accepted
            .values()
            .filter(young)
            .count()
            >= IN_FLIGHT
        {
            return;
        }
        assert!(Instant::now() < until, "never {IN_FLIGHT} orders in flight");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn judge(place: &Place, shoppers: &[Shopper], notes: &Shared) -> Outcome {
    let (accepted, mut broken) = {
        let mut notes = notes.lock().unwrap();
        (
            std::mem::take(&mut notes.accepted),
            std::mem::take(&mut notes.broken),
        )
    };
    let until = Instant::now() + ENDED_WITHIN;
    for (id, (shopper, ..)) in &accepted {
        let left = until.saturating_duration_since(Instant::now());
        match shoppers[*shopper].wait_ended(id, left).await {
            Ok(_) => {}
            Err(why) => broken.push(format!("{id} never ended: {why}")),
        }
        if broken.len() > 20 {
            break; // More of the same tells nothing.
        }
    }
    for shopper in shoppers {
        let listed = shopper.orders().await.unwrap();
        let strangers = listed
            .iter()
            .filter(|order| !accepted.contains_key(&order.order_id));
        broken.extend(strangers.map(|order| format!("{} was invented", order.order_id)));
    }
    broken.extend(captured_twice(place).await);
    let admin = place.shop().admin(&place.password()).await.unwrap();
    let (report, text) = admin.audit().await.unwrap();
    if !report.ok {
        broken.push(text);
    }
    Outcome {
        accepted: accepted.len(),
        broken,
    }
}

#[derive(Deserialize)]
struct Ledger {
    items: Vec<Entry>,
    next: Option<i64>,
}

#[derive(Deserialize)]
struct Entry {
    order_id: String,
    kind: String,
}

/// What the provider's own ledger says.
async fn captured_twice(place: &Place) -> Vec<String> {
    let (mut captures, mut after) = (BTreeMap::<String, u32>::new(), 0);
    loop {
        let path = format!("/dev/provider/ledger?after={after}");
        let answer = place.shop().ask(&Call::get(&path)).await.unwrap();
        let page: Ledger = serde_json::from_slice(&answer.body).unwrap();
        for entry in page
            .items
            .into_iter()
            .filter(|entry| entry.kind == "capture")
        {
            *captures.entry(entry.order_id).or_default() += 1;
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let twice = captures.into_iter().filter(|(_, times)| *times > 1);
    twice
        .map(|(order, times)| format!("{order} was captured {times} times"))
        .collect()
}
