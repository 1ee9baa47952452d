//! The shop as a system under simulation: its processes, clients and invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shop_carts::domain::Cart;
use shop_contracts::{OrderId, OrderStatus, UserId};
use shop_inventory::domain::{ClaimStatus, FlashClaim, FlashSale, Reservation, Stock};
use shop_notifications::Delivery;
use shop_orders::copies::{CartCopy, ProductCopy};
use shop_orders::domain::Order;
use shop_orders::messages::CancelRefused;
use wingbeat::http::session::Sessions;
use wingbeat::ports::HttpClient;
use wingbeat::test::simulator::Process;
use wingbeat::test::{Client, System, Violation, World};
use wingbeat::{CorrelationId, Message as _, Result, Runtime as _};

use super::bank::Bank;
use super::goods::GOODS;
use super::shopper::{ADMIN_PASSWORD, Visitor, go_shopping, keep_shop, offer, restock, sale};
use super::{copies, history, inspector, kept, refusals, statuses};
use shop_system::Settings;
use shop_system::roles::{SERVICES, whole};
use shop_system::services::{hashing, system as services};
use wingbeat::run::RunningSystem;

/// How many shoppers come.
const SHOPPERS: usize = 6;
/// The number of orders of each shopper.
const ORDERS: usize = 4;
/// The product of the flash sales.
const SALE_SKU: &str = "CUP-1";
/// The flash sales: the units, those of one user at most, and the duration in seconds.
const SALES: [(u32, u32, u64); 2] = [(2, 1, 20), (3, 2, 35)];
/// The provider's base URL.
const PROVIDER: &str = "http://provider";

/// See the module.
pub struct Shop {
    seed: u64,
    bank: Arc<Bank>,
}

/// The settings, with deadlines for a lifetime of a minute. Some seeds have shorter ones.
fn settings(seed: u64) -> Settings {
    let seconds = Duration::from_secs;
    let once = NonZeroU32::MIN;
    let hold_for = if seed.is_multiple_of(4) { 5 } else { 900 };
    let timeout = if seed.is_multiple_of(3) { 8 } else { 60 };
    let mut settings = Settings::default();
    let own = &mut settings.own;
    own.rate_limits = false;
    own.password_memory_kib = once.saturating_add(7);
    own.password_passes = once;
    own.checkout_resend_after = seconds(3);
    own.checkout_delayed_after = seconds(2);
    own.checkout_payment_timeout = seconds(timeout);
    own.inventory_hold_for = seconds(hold_for);
    own.inventory_extend_for = seconds(900);
    own.inventory_claims_drain = Duration::from_millis(250);
    settings
}

/// Returns the number of replicas of a service.
fn replicas(seed: u64, service: &str) -> usize {
    match service {
        "orders" | "inventory" if !seed.is_multiple_of(3) => 2,
        "payments" | "notifications" | "shipping" if seed.is_multiple_of(5) => 2,
        _ => 1,
    }
}

impl Shop {
    /// Checks that the bank holds no money for an ended order.
    fn given_back(&self, orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
        let ended = orders.iter().filter(|(_, order)| order.is_ended());
        let held = ended.filter(|(id, _)| {
            let effects = self.bank.effects(&id.to_string());
            let has = |kind: &str| effects.iter().any(|it| it == kind);
            has("authorize") && !has("capture") && !has("void")
        });
        let broken = |(id, order): (&OrderId, &Order)| {
            let detail = format!("{:?}, and the bank still holds the amount", order.status());
            Violation::new("an ended order holds nothing", id, detail)
        };
        held.map(broken).collect()
    }

    async fn orders(system: &RunningSystem) -> Result<BTreeMap<OrderId, Order>> {
        let all = system.reads("orders")?;
        let all = all.aggregates::<Order>(None, 10_000).await?;
        let parsed = |(id, order): (String, Order)| Some((id.parse().ok()?, order));
        Ok(all.into_iter().filter_map(parsed).collect())
    }

    async fn broken(&self, world: &World, system: &RunningSystem) -> Result<Vec<Violation>> {
        let orders = Self::orders(system).await?;
        let told = world.history();
        let mut broken = history::check(&told, &orders);
        broken.extend(unheeded(system, history::called_off(&told), &orders).await?);
        broken.extend(history::refused(&told));
        broken.extend(prices(system, &history::offered(&told)).await?);
        broken.extend(history::stays_erased(&told));
        broken.extend(erased(system, &history::erased(&told)).await?);
        broken.extend(self.stored(world, system, &orders).await?);
        Ok(broken)
    }

    /// Checks what the services have stored, whatever the clients were told.
    async fn stored(
        &self,
        world: &World,
        system: &RunningSystem,
        orders: &BTreeMap<OrderId, Order>,
    ) -> Result<Vec<Violation>> {
        let mut broken = history::ended(orders);
        broken.extend(nothing_held(world, orders));
        broken.extend(self.given_back(orders));
        broken.extend(copies_behind(system).await?);
        broken.extend(copies::check(world, system).await?);
        broken.extend(goods_add_up(world, orders));
        broken.extend(claims_end_with_their_orders(world, orders));
        broken.extend(kept::check(world, system, orders).await?);
        let hold_for = settings(self.seed).own.inventory_hold_for;
        broken.extend(refusals::check(world, orders, hold_for));
        broken.extend(statuses::check(system, orders).await?);
        broken.extend(letters(system).await?);
        let report = shop_audit::report(system, PROVIDER).await?;
        for invariant in report.invariants {
            let name = format!("{}: {}", invariant.id, invariant.name);
            let violations = invariant.violations.into_iter();
            broken.extend(violations.map(|it| Violation::new(&name, it.subject, it.detail)));
        }
        Ok(broken)
    }
}

/// Checks that carts and orders have the newest version of each product, and orders of each cart.
/// Audits compare the contents of equal versions; once the shop is idle, the versions are equal.
async fn copies_behind(system: &RunningSystem) -> Result<Vec<Violation>> {
    const NAME: &str = "every copy becomes equal to its owner's data";
    let (orders, carts) = (system.reads("orders")?, system.reads("carts")?);
    let of_carts = shop_carts::audit::products(&carts).await?;
    let mut broken = Vec::new();
    for (id, product) in shop_catalog::audit::products(&system.reads("catalog")?).await? {
        let (Ok(sku), Some(listing)) = (id.parse(), product.listing) else {
            continue;
        };
        let of_orders = orders.entity::<ProductCopy>(&sku).await?;
        let copies = [
            ("orders", of_orders.map(|it| it.version)),
            ("carts", of_carts.get(&id).map(|it| it.version)),
        ];
        for (who, version) in copies {
            if version != Some(listing.version) {
                let newest = listing.version;
                let detail = format!("{who} has version {version:?}, the newest is {newest}");
                broken.push(Violation::new(NAME, &id, detail));
            }
        }
    }
    for (id, cart) in carts.entities::<Cart>(None, 10_000).await? {
        let Ok(user) = id.parse() else { continue };
        let copy = orders.entity::<CartCopy>(&user).await?;
        // A cart that was never changed has no copy.
        if copy.is_some_and(|copy| copy.version != cart.version) {
            let detail = format!("orders has an older cart than version {}", cart.version);
            broken.push(Violation::new(NAME, id, detail));
        }
    }
    Ok(broken)
}

/// Checks that the catalogue has the accepted price of each product.
async fn prices(system: &RunningSystem, offered: &BTreeMap<String, i64>) -> Result<Vec<Violation>> {
    let mut broken = Vec::new();
    for (id, product) in shop_catalog::audit::products(&system.reads("catalog")?).await? {
        let price = product.listing.map(|listing| listing.price.amount_minor);
        match offered.get(&id) {
            Some(accepted) if price != Some(*accepted) => {
                let detail = format!("{accepted} was accepted, and the catalogue has {price:?}");
                broken.push(Violation::new("an accepted price is shown", id, detail));
            }
            _ => {}
        }
    }
    Ok(broken)
}

/// Checks that a cancelled order is not completed, unless its timeline says that the parcel was
/// sent first.
async fn unheeded(
    system: &RunningSystem,
    called_off: BTreeSet<OrderId>,
    orders: &BTreeMap<OrderId, Order>,
) -> Result<Vec<Violation>> {
    let reads = system.reads("orders")?;
    let mut broken = Vec::new();
    for id in called_off {
        let order = orders.get(&id);
        if order.is_none_or(|order| order.status() != OrderStatus::Completed) {
            continue;
        }
        let story = reads.timeline(CorrelationId(id.0)).await?;
        if !story.iter().any(|entry| entry.name == CancelRefused::NAME) {
            let detail = "it was cancelled, and completed without `CancelRefused`";
            broken.push(Violation::new("a cancel is heeded", id, detail));
        }
    }
    Ok(broken)
}

/// Checks that no ended order has reserved stock.
fn nothing_held(world: &World, orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let held = world.entities::<Reservation>("inventory").into_iter();
    let held = held.filter(|(id, reservation)| {
        let order = id.parse().ok().and_then(|id: OrderId| orders.get(&id));
        matches!(reservation, Reservation::Held { .. }) && order.is_none_or(Order::is_ended)
    });
    held.map(|(id, _)| Violation::new("an ended order holds nothing", id, "stock is held"))
        .collect()
}

/// Checks that the stock on hand and in flash sales is the added stock minus the sold one.
fn goods_add_up(world: &World, orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let stocked = history::stocked(&world.history());
    let sold = history::sold(orders);
    let mut allocated = BTreeMap::<String, i64>::new();
    for (_, sale) in world.entities::<FlashSale>("inventory") {
        let unsold = sale
            .terms
            .allocation
            .saturating_sub(sale.sold + sale.returned);
        *allocated.entry(sale.terms.sku.to_string()).or_default() += i64::from(unsold);
    }
    let mut broken = Vec::new();
    for (sku, stock) in world.entities::<Stock>("inventory") {
        let of = |all: &BTreeMap<String, i64>| all.get(&sku).copied().unwrap_or(0);
        let (stocked, sold) = (of(&stocked), of(&sold));
        let on_hand = stock.on_hand + of(&allocated);
        if on_hand != stocked - sold {
            let detail = format!("{on_hand} on hand, but {stocked} came and {sold} were sold");
            broken.push(Violation::new("goods add up", sku, detail));
        }
    }
    broken
}

/// Checks that the orders of all used claims have ended with them: completed if the unit left, and
/// otherwise without a unit.
fn claims_end_with_their_orders(
    world: &World,
    orders: &BTreeMap<OrderId, Order>,
) -> Vec<Violation> {
    let status = |order: OrderId| orders.get(&order).map(Order::status);
    let claims = world.entities::<FlashClaim>("inventory").into_iter();
    let wrong = claims.filter_map(|(id, claim)| match claim.status {
        ClaimStatus::Sold { order_id } if status(order_id) != Some(OrderStatus::Completed) => {
            Some((id, "its unit left, and its order is not completed"))
        }
        ClaimStatus::Returned { order_id } if status(order_id) == Some(OrderStatus::Completed) => {
            Some((id, "its unit came back, and its order is completed"))
        }
        ClaimStatus::Ordered { .. } => Some((id, "its order has ended, and has the unit")),
        _ => None,
    });
    wrong
        .map(|(id, detail)| Violation::new("claims end with their orders", id, detail))
        .collect()
}

/// Checks that no service can read personal data of an erased user, and that every user whose
/// erasure was accepted is erased.
async fn erased(
    system: &RunningSystem,
    accepted: &BTreeMap<UserId, usize>,
) -> Result<Vec<Violation>> {
    const NAME: &str = "an erased user is erased everywhere";
    let users = shop_identity::audit::registered(&system.reads("identity")?).await?;
    let mut broken = Vec::new();
    for user in accepted.keys().filter(|user| !users.erased.contains(user)) {
        broken.push(Violation::new(NAME, user, "identity still knows the user"));
    }
    for user in &users.erased {
        for service in ["identity", "notifications", "orders"] {
            if !system.reads(service)?.is_erased(user).await? {
                broken.push(Violation::new(NAME, user, format!("{service} has a key")));
            }
        }
        let notifications = system.reads("notifications")?;
        if shop_notifications::audit::knows(&notifications, *user).await? {
            broken.push(Violation::new(
                NAME,
                user,
                "notifications has the address or a mail",
            ));
        }
        if !shop_carts::audit::is_empty(&system.reads("carts")?, *user).await? {
            broken.push(Violation::new(NAME, user, "carts has a cart"));
        }
    }
    Ok(broken)
}

/// Checks that there are no dead letters.
async fn letters(system: &RunningSystem) -> Result<Vec<Violation>> {
    let mut broken = Vec::new();
    for running in &system.running {
        for service in running.services() {
            for letter in running.dead_letters(service).await? {
                let detail = format!("{}: {}", letter.subscription, letter.error);
                broken.push(Violation::new("no dead letters", letter.id, detail));
            }
        }
    }
    Ok(broken)
}

impl System for Shop {
    fn new(world: &World) -> Self {
        Self {
            seed: world.seed(),
            bank: Bank::new(world.simulation().runtime()),
        }
    }

    fn processes(&self) -> Vec<Process> {
        let settings = settings(self.seed);
        let process = |name: &'static str| {
            let settings = settings.clone();
            let process = Process::new(name, move |ports| {
                let sessions = Sessions::new(ports.cache.clone(), ports.runtime.clone());
                services(&settings, &whole(), &sessions, PROVIDER, &Delivery::Mailbox)
                    .run_only([name])
            });
            process.replicas(replicas(self.seed, name))
        };
        SERVICES.map(process).into()
    }

    fn outside(&self) -> Arc<dyn HttpClient> {
        self.bank.clone()
    }

    async fn prepare(&self, world: &World) {
        let running = world.running();
        let mut identity = running.iter().filter_map(|it| it.service("identity"));
        let identity = identity.next().expect("identity runs");
        let hashing = hashing(&settings(self.seed));
        let admin = shop_identity::ensure_admin(&identity, &hashing, ADMIN_PASSWORD).await;
        admin.expect("nothing goes wrong yet");
        let mut admin = Visitor::admin(Client::new(world, 1_000));
        admin.sign_in().await;
        for goods in &GOODS {
            admin.ask_with_retries(offer(goods.sku, goods.price)).await;
            admin
                .ask_with_retries(restock(goods.sku, goods.units, "open"))
                .await;
        }
        let now = world.simulation().now();
        for (units, per_user, lasts) in SALES {
            let sale = sale(SALE_SKU, units, per_user, now, Duration::from_secs(lasts));
            admin.ask_with_retries(sale).await;
        }
        let minute = Duration::from_secs(60);
        let left = world
            .model()
            .until_idle(Duration::from_secs(1), minute)
            .await;
        assert!(
            left.is_empty(),
            "the shop does not become idle at the start: {left:?}"
        );
    }

    fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
        let shopper = |number| -> BoxFuture<'static, ()> {
            Box::pin(go_shopping(Client::new(world, number), ORDERS))
        };
        let admin = Client::new(world, SHOPPERS);
        let mut clients: Vec<_> = (0..SHOPPERS).map(shopper).collect();
        clients.push(Box::pin(keep_shop(admin)));
        clients
    }

    fn while_running(&self, world: &World) -> Vec<Violation> {
        let stocks = world.entities::<Stock>("inventory").into_iter();
        let off = stocks.filter(|(_, it)| it.reserved < 0 || it.reserved > it.on_hand);
        let off = off.map(|(sku, stock)| {
            let (on_hand, reserved) = (stock.on_hand, stock.reserved);
            let detail = format!("{reserved} reserved of {on_hand} on hand");
            Violation::new("never oversold", sku, detail)
        });
        let sales = world.entities::<FlashSale>("inventory").into_iter();
        let oversold = sales.filter_map(|(id, sale)| {
            let taken = sale.held + sale.ordered + sale.sold + sale.returned;
            let units = sale.terms.allocation;
            let detail = format!("{taken} of {units} units are taken");
            (taken > units).then(|| Violation::new("never oversold", id, detail))
        });
        off.chain(oversold).chain(kept::untimed(world)).collect()
    }

    async fn when_idle(&self, world: &World) -> Vec<Violation> {
        let running = world.running();
        let ports = running[0].ports.clone();
        let system = RunningSystem { ports, running };
        let broken = async {
            let mut broken = self.broken(world, &system).await?;
            if broken.is_empty() && inspector::is_due(self.seed) {
                let timeout = settings(self.seed).own.checkout_payment_timeout;
                broken = inspector::inspect(world, &self.bank, timeout).await;
                let orders = Self::orders(&system).await?;
                broken.extend(self.stored(world, &system, &orders).await?);
                broken.extend(erased(&system, &BTreeMap::new()).await?);
            }
            Ok::<_, wingbeat::Error>(broken)
        };
        broken
            .await
            .unwrap_or_else(|why| vec![Violation::new("it can be audited", "", why.to_string())])
    }
}
