//! The inspector of the simulated shop: tries the rules of the API one by one, and expects the
//! documented answers.
//!
//! Shoppers make few requests that must be refused, and do not know which answers are right while
//! others shop and processes crash. The inspector comes once the shop is idle and all faults are
//! over, so each answer is certain. It has products, users and sales of its own, and draws nothing
//! at random: what the shoppers do does not depend on it.
//!
//! - `accounts`: sign-ups, sessions, passwords, erasures. `assortment`: products and stock.
//!   `carts`: carts. `ordering`: orders and promos. `payments`: orders while the bank is closed.
//!   `sales`: flash sales.

mod accounts;
mod assortment;
mod carts;
mod ordering;
mod payments;
mod sales;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wingbeat::Runtime as _;
use wingbeat::test::simulator::Ask;
use wingbeat::test::{Client, Violation, World};

use super::bank::Bank;
use super::shopper::{Visitor, call, offer, restock};

/// The name of the invariant.
const NAME: &str = "an idle shop answers as documented";
/// One of this many lifetimes is inspected.
const EVERY: u64 = 10;
/// The number of the first client. Shoppers have smaller ones.
const FIRST: usize = 2_000;
/// The longest time until an order has ended.
const MINUTE: Duration = Duration::from_secs(60);

/// Returns whether this lifetime is inspected.
pub(super) fn is_due(seed: u64) -> bool {
    // Reservations of every fourth lifetime are short, and payments of every third one.
    seed % EVERY == 1 || seed % (2 * EVERY) == 8
}

/// Inspects an idle shop. Returns the answers that were wrong.
pub(super) async fn inspect(
    world: &World,
    bank: &Arc<Bank>,
    payment_timeout: Duration,
) -> Vec<Violation> {
    let mut admin = Visitor::admin(Client::new(world, FIRST));
    admin.sign_in().await;
    let mut inspector = Inspector {
        world: world.clone(),
        bank: Arc::clone(bank),
        admin,
        visitors: 0,
        refusals: 0,
        payment_timeout,
        broken: Vec::new(),
    };
    inspector.accounts().await;
    inspector.assortment().await;
    inspector.carts().await;
    inspector.orders().await;
    inspector.payments().await;
    inspector.sales().await;
    inspector.idle().await;
    inspector.broken
}

/// See the module.
struct Inspector {
    world: World,
    bank: Arc<Bank>,
    admin: Visitor,
    /// The number of visitors so far.
    visitors: usize,
    /// The number of requests so far that had to be refused.
    refusals: usize,
    /// The time after which an order without an answer of the bank is rejected.
    payment_timeout: Duration,
    broken: Vec<Violation>,
}

impl Inspector {
    /// Returns a user who has signed up and in.
    async fn visitor(&mut self) -> Visitor {
        self.visitors += 1;
        let mut visitor = Visitor::new(Client::new(&self.world, FIRST + self.visitors));
        visitor.sign_up().await;
        visitor.sign_in().await;
        self.idle().await;
        visitor
    }

    /// Returns somebody without an account.
    fn stranger(&self) -> Visitor {
        Visitor::new(Client::new(&self.world, FIRST))
    }

    /// Waits until nothing is left to do.
    async fn idle(&mut self) {
        let left = self.world.model().until_idle(MINUTE, 10 * MINUTE).await;
        self.equal("work that is left", &left.first(), &None);
    }

    async fn pass(&self, time: Duration) {
        self.world.simulation().sleep(time).await;
    }

    /// Sends a request, and expects this status. Returns the body.
    async fn gets(&mut self, who: &mut Visitor, ask: Ask, status: u16) -> Value {
        self.expect(who, ask, status, "").await
    }

    /// Sends a request, and expects a refusal with this status and code.
    async fn refuses(&mut self, who: &mut Visitor, ask: Ask, status: u16, code: &str) {
        let ask = self.renewed(ask);
        self.expect(who, ask, status, code).await;
    }

    /// Returns the request with a new idempotency key, if it has one.
    fn renewed(&mut self, ask: Ask) -> Ask {
        self.refusals += 1;
        let key = match ask.key.as_str() {
            "" => String::new(),
            key => format!("{key}-{}", self.refusals),
        };
        ask.idempotency_key(key)
    }

    /// Sends a request that is invalid in this field, and expects that it is refused.
    async fn rejects(&mut self, who: &mut Visitor, ask: Ask, pointer: &str) {
        let text = format!("{} {} {}", ask.method, ask.path, ask.body);
        let ask = self.renewed(ask);
        let body = self.expect(who, ask, 422, "invalid").await;
        let errors = body["errors"].as_array().into_iter().flatten();
        let pointers: Vec<_> = errors.map(|it| it["pointer"].clone()).collect();
        self.equal(
            &format!("the invalid fields of {text}"),
            &pointers,
            &vec![json!(pointer)],
        );
    }

    async fn expect(&mut self, who: &mut Visitor, ask: Ask, status: u16, code: &str) -> Value {
        let text = format!("{} {} {}", ask.method, ask.path, ask.body);
        let answer = who.once(ask).await;
        let body = answer.body().clone();
        let told = (answer.status(), body["code"].as_str().unwrap_or_default());
        // A promo's code is no problem's code.
        if told.0 != status || (status >= 400 && told.1 != code) {
            let detail = format!("{status} {code:?} is right, the answer was {told:?}: {body}");
            self.broken.push(Violation::new(NAME, text, detail));
        }
        body
    }

    /// Expects equal values.
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, got: &T, right: &T) {
        if got != right {
            let detail = format!("{right:?} is right, and it is {got:?}");
            self.broken.push(Violation::new(NAME, what, detail));
        }
    }

    /// Lists a product with this many units, as the admin.
    async fn goods(&mut self, sku: &str, price: i64, units: i64) {
        self.as_admin(offer(sku, price), 200).await;
        self.as_admin(restock(sku, units, "inspected"), 202).await;
        self.idle().await;
    }

    /// Sends a request of the admin, and expects this status.
    async fn as_admin(&mut self, ask: Ask, status: u16) -> Value {
        let mut admin = self.admin.clone();
        self.gets(&mut admin, ask, status).await
    }

    /// Sends a request of the admin that is invalid in this field.
    async fn rejects_admin(&mut self, ask: Ask, pointer: &str) {
        let mut admin = self.admin.clone();
        self.rejects(&mut admin, ask, pointer).await;
    }

    /// Sends a request of the admin, and expects a refusal.
    async fn refuses_admin(&mut self, ask: Ask, status: u16, code: &str) {
        let mut admin = self.admin.clone();
        self.refuses(&mut admin, ask, status, code).await;
    }

    /// Returns the units that the catalogue shows.
    async fn available(&mut self, sku: &str) -> Value {
        let mut admin = self.admin.clone();
        let shown = self.gets(&mut admin, get(&format!("/products/{sku}")), 200);
        shown.await["available"].clone()
    }

    /// Returns the time.
    fn now(&self) -> wingbeat::Timestamp {
        self.world.simulation().now()
    }

    /// Returns the templates of the mails to a visitor, in alphabetical order.
    async fn mails(&mut self, who: &Visitor) -> Vec<String> {
        self.idle().await;
        let running = self.world.running();
        let mut reads = running.iter().filter_map(|it| it.reads("notifications"));
        let reads = reads.next().expect("notifications runs");
        let mailbox = shop_notifications::mailbox::mailbox(&reads, Some(&who.email)).await;
        let mails = mailbox.expect("nothing goes wrong any more").items;
        let mut templates: Vec<_> = mails.into_iter().map(|it| it.template).collect();
        templates.sort();
        templates
    }
}

/// Creates a request without a body.
fn get(path: &str) -> Ask {
    call("GET", path, Value::Null)
}

/// Creates the amount of money.
fn eur(cents: i64) -> Value {
    json!({ "amount_minor": cents, "currency": "EUR" })
}
