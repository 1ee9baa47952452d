//! Every process of a fleet is replaced, wave by wave, while people shop.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;
use shop_client::http::{Call, Event};
use shop_client::{Order, Shop, Shopper};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::balancer::Balancer;
use crate::fleet::{Fleet, Plan};
use crate::shopping::Shopping;
use crate::site::Site;
use crate::verdict::Outcome;
use crate::wait::{BOUND, PAUSE};

/// The time for which a process that ends still answers: many times what the balancer needs to
/// notice.
const DRAIN_DELAY: &str = "4s";
/// Rounds of requests after each wave.
const ROUNDS: usize = 5;
/// Customers beside the watcher.
const CUSTOMERS: usize = 10;
/// A product that nobody else orders.
const QUIET: &str = "WB-BELL-01";
/// The id of an order that does not exist.
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";
/// The statuses of an order that is completed.
const STATUSES: [&str; 6] = [
    "placed",
    "stock_reserved",
    "payment_authorized",
    "paid",
    "shipped",
    "completed",
];

/// Two replicas of every service and of the gateway, which a balancer stands in front of.
pub struct Rolling {
    fleet: Fleet,
    balancer: Balancer,
    shopping: Shopping,
    watcher: Watcher,
}

impl Rolling {
    /// Returns the fleet for [`Self::start`].
    #[must_use]
    pub fn plan() -> Plan {
        Plan::twofold()
            .signed()
            .cheap_passwords()
            .ships_after("400ms")
            .with("WINGBEAT_DRAIN_DELAY", DRAIN_DELAY)
            // A payment that is slow because the machine is slow is no event.
            .with("WINGBEAT_CHECKOUT_DELAYED_AFTER", "10m")
    }

    /// Starts the fleet, and people who shop.
    ///
    /// # Panics
    ///
    /// Panics if it does not start, as all methods do when something fails.
    pub async fn start(plan: Plan) -> Self {
        let mut fleet = plan.start().await;
        assert_eq!(fleet.members.len(), 21, "20 replicas and the provider");
        let gateways: Vec<u16> = fleet.of("gateway").iter().map(|it| it.port).collect();
        let balancer = Balancer::to(&gateways).await;
        for port in gateways {
            balancer.sends_to(port, true).await;
        }
        let site = Site {
            shop: balancer.shop(),
            ..fleet.site()
        };
        let shopping = Shopping::begin(&site, CUSTOMERS).await;
        let mut watcher = Watcher::start(balancer.shop());
        watcher.makes_rounds().await;
        Self {
            fleet,
            balancer,
            shopping,
            watcher,
        }
    }

    /// Replaces every process, by one of another binary if one is given.
    pub async fn replace_all(&mut self, binary: Option<&Path>) {
        for wave in waves(&self.fleet) {
            replace(&mut self.fleet, &wave, &self.balancer, binary).await;
            self.watcher.makes_rounds().await;
        }
    }

    /// Waits until all orders have ended, and returns the verdict.
    pub async fn end(self) -> Outcome {
        self.watcher.end().await;
        let mut outcome = self.shopping.end().await;
        outcome.broken.extend(self.fleet.crashed.iter().cloned());
        outcome
    }
}

/// The members that are replaced together: the first replicas of all services, the second ones,
/// each gateway.
fn waves(fleet: &Fleet) -> Vec<Vec<usize>> {
    let mut replicas = BTreeMap::<_, Vec<usize>>::new();
    for (index, member) in fleet.members.iter().enumerate() {
        if !member.runs("provider") {
            replicas
                .entry(member.roles.clone())
                .or_default()
                .push(index);
        }
    }
    let gateways = replicas.remove(&vec!["gateway"]).unwrap();
    let services = (0..2).map(|nth| replicas.values().map(|all| all[nth]).collect());
    services
        .chain(gateways.into_iter().map(|it| vec![it]))
        .collect()
}

/// Terminates members, and starts them again once they have ended.
async fn replace(fleet: &mut Fleet, wave: &[usize], balancer: &Balancer, binary: Option<&Path>) {
    for index in wave {
        fleet.members[*index].signal("-TERM");
    }
    for index in wave {
        let member = &mut fleet.members[*index];
        if member.runs("gateway") {
            balancer.sends_to(member.port, false).await;
        }
        let status = member.exit().await;
        assert!(status.success(), "{member} ended with {status}");
        if let Some(binary) = binary {
            member.binary = binary.to_owned();
        }
        member.start();
    }
    fleet.ready().await;
    for index in wave {
        let member = &fleet.members[*index];
        if member.runs("gateway") {
            balancer.sends_to(member.port, true).await;
        }
    }
}

/// A shopper who sends every kind of request, each once, and none of them may fail; and who follows
/// the stream of their orders.
struct Watcher {
    rounds: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watcher {
    fn start(shop: Shop) -> Self {
        let (progress, rounds) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(no_request_fails(shop, progress, stopped));
        Self { rounds, stop, task }
    }

    /// Waits until it has made some more rounds.
    async fn makes_rounds(&mut self) {
        let before = *self.rounds.borrow();
        let made = self.rounds.wait_for(|rounds| *rounds >= before + ROUNDS);
        let made = tokio::time::timeout(BOUND, made).await;
        if !made.is_ok_and(|made| made.is_ok()) {
            // The reason is the panic of the task, if it has ended.
            let ended = self.task.is_finished();
            panic!("the watcher makes no more rounds; it has ended: {ended}");
        }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

async fn no_request_fails(shop: Shop, rounds: watch::Sender<usize>, stop: watch::Receiver<bool>) {
    let shopper: Shopper = shop.shoppers(1).await.unwrap().remove(0);
    let (statuses, mut received) = watch::channel(None);
    let listening = tokio::spawn(listen(shopper.clone(), statuses));
    let _ = received.wait_for(Option::is_some).await.unwrap();
    let mut placed = Vec::new();
    while !*stop.borrow() {
        let answer = shop.ask(&Call::get("/api/v1/products")).await.unwrap();
        assert_eq!(answer.status, 200);
        for path in ["/api/v1/me", "/api/v1/cart", "/api/v1/promotions"] {
            let answer = shopper.ask(Call::get(path)).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
        }
        shopper.orders().await.unwrap();
        let order = Order::of([(QUIET.into(), 1)]);
        let key = shop_client::shop::key();
        // Without time to repeat the request, its first answer counts.
        let order = shopper.place_as(&key, &order, Duration::ZERO).await;
        placed.push(order.unwrap().order_id);
        without_key(&shop, &shopper).await;
        rounds.send_modify(|rounds| *rounds += 1);
        tokio::time::sleep(PAUSE).await;
    }
    for id in &placed {
        shopper.wait_ended(id, BOUND).await.unwrap();
    }
    let all = |received: &Statuses| placed.iter().all(|id| ended(received, id));
    let sent = received.wait_for(|received| received.as_ref().is_some_and(all));
    let _ = tokio::time::timeout(BOUND, sent).await; // What is missing is seen below.
    let statuses = received.borrow().clone().unwrap();
    drop(received);
    listening.await.unwrap();
    for id in placed {
        assert_eq!(statuses[&id], STATUSES, "{id}");
    }
}

/// Requests without a key are never repeated by anybody, so they must not fail the first time.
async fn without_key(shop: &Shop, shopper: &Shopper) {
    let email = format!("{:032x}@rolling.example", fastrand::u128(..));
    shop.sign_up(&email, "a password of theirs").await.unwrap();
    let path = format!("/api/v1/orders/{UNKNOWN}/cancel");
    let answer = shopper.ask(Call::post(&path)).await.unwrap();
    assert_eq!(answer.status, 404, "{path}");
}

/// The statuses of each order in the order in which the stream sent them.
type Statuses = BTreeMap<String, Vec<String>>;

fn ended(received: &Statuses, id: &str) -> bool {
    let last = received.get(id).and_then(|statuses| statuses.last());
    last.map(String::as_str) == STATUSES.last().copied()
}

/// Follows the stream, over as many connections as it takes, until the receiver is dropped. It
/// sends nothing before the first connection is open.
async fn listen(shopper: Shopper, statuses: watch::Sender<Option<Statuses>>) {
    let mut last: Option<HeaderValue> = None;
    while !statuses.is_closed() {
        let Ok(mut stream) = shopper.stream(last.as_ref()).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        statuses.send_modify(|statuses| _ = statuses.get_or_insert_default());
        loop {
            let next = tokio::select! {
                biased;
                () = statuses.closed() => return,
                next = stream.next() => next,
            };
            match next {
                Ok(Some(event)) => last = note(&event, &statuses).or(last),
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Notes the status of an order that an event contains, and returns the event's id.
fn note(event: &Event, statuses: &watch::Sender<Option<Statuses>>) -> Option<HeaderValue> {
    let data: Value = serde_json::from_slice(&event.data).ok()?;
    let [id, status] = ["order_id", "status"].map(|it| data[it].as_str().map(str::to_owned));
    let (id, status) = (id?, status?);
    statuses.send_modify(|statuses| {
        let statuses = statuses.get_or_insert_default();
        statuses.entry(id).or_default().push(status);
    });
    HeaderValue::from_bytes(&event.id).ok()
}
