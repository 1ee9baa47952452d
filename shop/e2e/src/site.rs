//! A shop under test and its operator's interfaces: the admin's API and the metrics of its
//! processes.

use std::collections::BTreeMap;

use serde_json::Value;
use shop_client::http::Call;
use shop_client::{Shop, Shopper};

use crate::scrape::Scrape;
use crate::wait::{check, until};

/// The number of products that a new shop sells.
const SEEDED: usize = 12;

/// Figures that are zero when nothing is on its way: no message in an outbox, a queue or a handler,
/// no call to the provider, no parked or waiting delivery, no timer that is due.
const ON_THE_WAY: [(&str, &[(&str, &str)]); 7] = [
    ("wingbeat_outbox_waiting", &[]),
    ("wingbeat_messaging_waiting", &[]),
    ("wingbeat_messaging_in_flight", &[]),
    ("wingbeat_due_pending", &[("kind", "call")]),
    ("wingbeat_due_pending", &[("kind", "parked")]),
    ("wingbeat_due_pending", &[("kind", "waiting")]),
    ("wingbeat_due_overdue", &[("kind", "timer")]),
];

/// Counters of which one grows whenever a message moves.
const MOVEMENTS: [&str; 3] = [
    "wingbeat_messaging_client_consumed_messages_total",
    "wingbeat_messaging_client_sent_messages_total",
    "wingbeat_messaging_settled_total",
];

/// Totals of all movements: equal totals mean that nothing has moved.
pub type Movements = [u64; MOVEMENTS.len()];

/// A shop under test.
#[derive(Clone)]
pub struct Site {
    /// Its public API.
    pub shop: Shop,
    /// The admin's password.
    pub password: String,
    /// The ports where its processes expose `/metrics`.
    pub ops_ports: Vec<u16>,
}

impl Site {
    /// Signs the admin in.
    pub async fn admin(&self) -> Shopper {
        self.shop.admin(&self.password).await.unwrap()
    }

    /// Scrapes all processes.
    ///
    /// # Errors
    ///
    /// Names the port of the first process that does not answer.
    pub async fn scrapes(&self) -> Result<Vec<Scrape>, String> {
        let asked = self
            .ops_ports
            .iter()
            .map(|port| tokio::spawn(Scrape::of(*port)));
        let asked: Vec<_> = asked.collect();
        let mut scrapes = Vec::with_capacity(asked.len());
        for scrape in asked {
            scrapes.push(scrape.await.unwrap()?);
        }
        Ok(scrapes)
    }

    /// The counters that grow when a message moves.
    ///
    /// # Errors
    ///
    /// Describes what is on its way, or which process or server does not answer.
    async fn movements(&self) -> Result<Movements, String> {
        let scrapes = self.scrapes().await?;
        let sum = |name: &str, labels: &[(&str, &str)]| sum(&scrapes, name, labels);
        for part in ["store", "broker"] {
            let complete = sum("wingbeat_scrape_complete", &[("part", part)]);
            check(
                complete == scrapes.len() as f64,
                format_args!("the {part} did not answer to all processes"),
            )?;
        }
        for (name, labels) in ON_THE_WAY {
            let count = sum(name, labels);
            check(count == 0.0, format_args!("{name}{labels:?} is {count}"))?;
        }
        Ok(MOVEMENTS.map(|name| sum(name, &[]) as u64))
    }

    /// Checks that nothing is on its way. A message that passes from one place to the next between
    /// two looks is seen by its movement.
    ///
    /// # Errors
    ///
    /// Describes what is on its way.
    pub async fn quiet(&self) -> Result<Movements, String> {
        let before = self.movements().await?;
        let after = self.movements().await?;
        check(
            before == after,
            format_args!("messages move: {before:?}, {after:?}"),
        )?;
        Ok(after)
    }

    /// Checks that nothing is on its way and no checkout waits for a timer: what has not ended now
    /// never will.
    ///
    /// # Errors
    ///
    /// Describes what is on its way or pending.
    pub async fn idle(&self) -> Result<(), String> {
        self.quiet().await?;
        let labels = [("service", "orders"), ("kind", "timer")];
        let timers = sum(&self.scrapes().await?, "wingbeat_due_pending", &labels);
        check(
            timers == 0.0,
            format_args!("{timers} timers of checkouts are pending"),
        )
    }

    /// Waits until nothing is on its way. Timers that are due later may be pending.
    pub async fn until_quiet(&self) {
        until("nothing is on its way", async || self.quiet().await).await;
    }

    /// Waits until all seeded products are in stock, and returns their SKUs.
    pub async fn in_stock(&self) -> Vec<String> {
        until("the seeds are in stock", async || {
            let products = self.shop.products().await.map_err(|why| why.to_string())?;
            let skus = products.into_iter().filter(|it| it.available > 0);
            let skus: Vec<String> = skus.map(|it| it.sku).collect();
            check(skus.len() >= SEEDED, format_args!("only {skus:?}"))?;
            Ok::<_, String>(skus)
        })
        .await
    }

    /// Waits until all seeded products are in stock and every service knows them.
    pub async fn stocked(&self) {
        self.in_stock().await;
        self.until_quiet().await;
    }

    /// The number of checkouts that have not ended.
    ///
    /// # Errors
    ///
    /// Names a process that does not answer.
    pub async fn orders_in_flight(&self) -> Result<u64, String> {
        let scrapes = self.scrapes().await?;
        let checkouts = scrapes.iter().map(checkouts).find(|it| !it.is_empty());
        let states = checkouts.unwrap_or_default();
        let open = states.iter().filter(|(state, _)| *state != "ended");
        Ok(open.map(|(_, count)| count).sum())
    }

    /// Waits for an item of one of the admin's lists, chosen by the values of some of its fields. A
    /// list lacks the items of a service that did not answer in time.
    pub async fn listed(&self, admin: &Shopper, path: &str, fields: &[(&str, &str)]) -> Value {
        let chosen = |item: &&Value| fields.iter().all(|(name, value)| item[name] == **value);
        until(path, async || {
            let answer = admin
                .ask(Call::get(path))
                .await
                .map_err(|why| why.to_string())?;
            let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let mut items = list["items"].as_array().into_iter().flatten();
            let item = items.find(chosen).cloned();
            item.ok_or_else(|| format!("no {fields:?} in {}: {list}", answer.status))
        })
        .await
    }

    /// A subscription as the admin sees it.
    pub async fn subscription(&self, admin: &Shopper, service: &str, name: &str) -> Value {
        let fields = [("service", service), ("name", name)];
        self.listed(admin, "/api/v1/admin/subscriptions", &fields)
            .await
    }

    /// Pauses or resumes a subscription in all replicas: `control` is `pause` or `resume`.
    pub async fn control(&self, admin: &Shopper, service: &str, name: &str, control: &str) {
        let path = format!("/api/v1/admin/subscriptions/{service}/{name}/{control}");
        until(&path, async || {
            let answer = admin
                .ask(Call::post(&path))
                .await
                .map_err(|why| why.to_string())?;
            check(answer.status == 202, answer.status)
        })
        .await;
    }

    /// The number of deliveries of a subscription that were settled with this outcome, by all
    /// running processes.
    pub async fn settled(&self, subscription: [&str; 2], outcome: &str) -> u64 {
        let [service, name] = subscription;
        let labels = [
            ("service", service),
            ("subscription", name),
            ("outcome", outcome),
        ];
        let scrapes = until("all processes are scraped", async || self.scrapes().await).await;
        sum(&scrapes, "wingbeat_messaging_settled_total", &labels) as u64
    }
}

/// Checkouts by state, without states that have none: what one process exposes.
#[must_use]
pub fn checkouts(scrape: &Scrape) -> BTreeMap<String, u64> {
    let saga = [("saga", "checkout")];
    scrape.by_label("wingbeat_saga_instances", &saga, "state")
}

/// The sum over all processes.
#[must_use]
pub fn sum(scrapes: &[Scrape], name: &str, labels: &[(&str, &str)]) -> f64 {
    scrapes.iter().map(|it| it.sum(name, labels)).sum()
}
