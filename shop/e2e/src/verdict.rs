//! The verdict after a shop was broken and healed: every accepted order exists once, has ended, and
//! cost what it should.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shop_client::{Error, Shopper};

use crate::customer::Customer;
use crate::ledger::Ledger;
use crate::site::Site;
use crate::wait::BOUND;

/// The pause between two looks at orders that have not ended.
const PAUSE: Duration = Duration::from_millis(200);
/// Findings after which no more are collected: they have one cause.
const FINDINGS_MAX: usize = 20;

/// An order that was accepted.
pub struct Accepted {
    /// The index of the customer who placed it.
    pub customer: usize,
    /// Its total, in cents.
    pub total: i64,
}

/// The result of a run.
pub struct Outcome {
    /// The number of accepted orders.
    pub accepted: usize,
    /// The promises that were broken; empty when all were kept.
    pub broken: Vec<String>,
}

impl Outcome {
    /// Prints the outcome, and returns the exit code: 1 if a promise was broken.
    pub fn report(&self) -> ExitCode {
        let (accepted, broken) = (self.accepted, self.broken.len());
        println!("{accepted} orders accepted, {broken} lost or doubled");
        for broken in &self.broken {
            println!("  ! {broken}");
        }
        ExitCode::from(u8::from(broken > 0))
    }
}

/// Waits for the orders to end and checks all promises.
///
/// A finding counts once it cannot heal any more, that is when nothing is on its way in the shop.
/// So the verdict does not depend on how long anything takes, such as the leases of a process that
/// was killed.
pub(crate) async fn judge(
    site: &Site,
    customers: &[Arc<Customer>],
    accepted: &HashMap<String, Accepted>,
    mut broken: Vec<String>,
) -> Outcome {
    let until = Instant::now() + BOUND;
    for customer in customers {
        if let Err(why) = customer.sign_in(until).await {
            broken.push(format!("a customer cannot sign in: {why}"));
        }
    }
    let shoppers: Vec<Shopper> = customers.iter().map(|it| it.shopper()).collect();
    let owed = ended(site, &shoppers, accepted, &mut broken).await;
    broken.extend(invented(&shoppers, accepted, until).await);
    broken.extend(misbooked(&Ledger::read(&site.shop).await, &owed));
    match audited(site, until).await {
        Ok(violations) => broken.extend(violations),
        Err(why) => broken.push(format!("no audit: {why}")),
    }
    Outcome {
        accepted: accepted.len(),
        broken,
    }
}

/// Waits until all orders have ended, and returns what each of them is to cost.
async fn ended<'a>(
    site: &Site,
    shoppers: &[Shopper],
    accepted: &'a HashMap<String, Accepted>,
    broken: &mut Vec<String>,
) -> HashMap<&'a str, i64> {
    let start = Instant::now();
    let mut owed = HashMap::with_capacity(accepted.len());
    loop {
        let final_look = site.idle().await.is_ok() || start.elapsed() > BOUND;
        let open = accepted
            .iter()
            .filter(|(id, _)| !owed.contains_key(id.as_str()));
        let open: Vec<_> = open.collect();
        for (id, order) in open {
            match shoppers[order.customer].order(id).await {
                Ok(status) if status.is_ended() => {
                    let total = if status.is_paid() { order.total } else { 0 };
                    owed.insert(id.as_str(), total);
                }
                Ok(status) if final_look => {
                    broken.push(format!("{id} never ended: it is {}", status.status));
                }
                Err(why) if final_look || !why.is_retryable() => {
                    broken.push(format!("{id} cannot be read: {why}"));
                }
                Ok(_) | Err(_) => {}
            }
            if broken.len() > FINDINGS_MAX {
                return owed;
            }
        }
        if final_look || owed.len() == accepted.len() {
            return owed;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Orders that a customer has and never placed.
async fn invented(
    shoppers: &[Shopper],
    accepted: &HashMap<String, Accepted>,
    until: Instant,
) -> Vec<String> {
    let mut broken = Vec::new();
    for shopper in shoppers {
        match repeated(until, async || shopper.orders().await).await {
            Ok(listed) => {
                let unknown = listed
                    .iter()
                    .filter(|it| !accepted.contains_key(&it.order_id));
                broken.extend(unknown.map(|it| format!("{} was invented", it.order_id)));
            }
            Err(why) => broken.push(format!("a customer's orders cannot be listed: {why}")),
        }
    }
    broken
}

/// Bookings at the provider that were made twice or differ from what is owed.
fn misbooked(ledger: &Ledger, owed: &HashMap<&str, i64>) -> Vec<String> {
    let mut broken = ledger.repeated();
    for (order, owed) in owed {
        let net = ledger.net(order);
        if net != *owed {
            broken.push(format!("{order} cost {net} cents, and {owed} are owed"));
        }
    }
    broken
}

/// The violations that the shop's own audit finds while nothing is on its way; empty when all
/// promises are kept.
pub async fn violations(site: &Site) -> Vec<String> {
    audited(site, Instant::now() + BOUND).await.unwrap()
}

/// The violations that the audit finds, or why it cannot be asked.
///
/// Deliveries that a dead process has claimed look lost until its lease ends, and messages that
/// move belong to two moments, so an audit that finds something counts only between two looks at
/// which the shop was quiet.
async fn audited(site: &Site, until: Instant) -> Result<Vec<String>, Error> {
    let admin = repeated(until, async || site.shop.admin(&site.password).await).await?;
    loop {
        let before = site.quiet().await;
        let (report, _) = repeated(until, async || admin.audit().await).await?;
        if report.ok {
            return Ok(Vec::new());
        }
        let quiet = before.is_ok() && site.quiet().await == before;
        if quiet || Instant::now() > until {
            let invariants = report.invariants.iter();
            let violations = invariants.flat_map(|it| {
                let of = move |violation| format!("invariant {}: {violation}", it.id);
                it.violations.iter().map(of)
            });
            return Ok(violations.collect());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Repeats a request until it is answered with anything but an error that may pass.
async fn repeated<T>(
    until: Instant,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(why) if why.is_retryable() && Instant::now() < until => {}
            answer => return answer,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
