//! Walks over the records of all services about orders, page by page in the order of their ids, so
//! that an audit takes the same memory however many orders there are.

use std::collections::BTreeMap;

use shop_contracts::OrderId;
use shop_orders::checkout::Checkout;
use shop_orders::domain::Order;
use shop_payments::domain::Payment;
use wingbeat::run::RunningSystem;
use wingbeat::{Reads, Result, Timestamp};

use super::PAGE;
use super::ledger::{self, Booked};

/// The checkout of an order.
#[derive(Debug)]
pub(super) struct Saga {
    /// `true` if it has ended.
    pub(super) ended: bool,
    /// Its pending timers, each with its due time; `None` if the record of the timer is gone.
    /// Empty if it has ended.
    pub(super) timers: Vec<(String, Option<Timestamp>)>,
    /// The time of its last change.
    pub(super) updated_at: Timestamp,
}

/// Everything about one order.
#[derive(Default)]
pub(super) struct Known {
    /// The order, as orders knows it.
    pub(super) order: Option<Order>,
    /// Its checkout.
    pub(super) saga: Option<Saga>,
    /// Its payment, as payments knows it.
    pub(super) payment: Option<Payment>,
    /// Its bookings in the provider's ledger.
    pub(super) booked: Option<Booked>,
}

/// A walk over all orders.
pub(super) struct Walk<'a> {
    system: &'a RunningSystem,
    provider: &'a str,
    orders: Reads,
    payments: Reads,
    /// The id after which the next page begins.
    after: Option<String>,
    over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(system: &'a RunningSystem, provider: &'a str) -> Result<Self> {
        Ok(Self {
            system,
            provider,
            orders: system.reads("orders")?,
            payments: system.reads("payments")?,
            after: None,
            over: false,
        })
    }

    /// Returns the next orders; `None` after the last ones.
    ///
    /// An order is read before its checkout and its payment, and these before the ledger. So no
    /// booking that is made meanwhile looks missing.
    pub(super) async fn next(&mut self) -> Result<Option<BTreeMap<OrderId, Known>>> {
        if self.over {
            return Ok(None);
        }
        let orders = self.orders.aggregates::<Order>(self.after.clone(), PAGE);
        let orders = orders.await?;
        // Nothing bounds the last page: it has all that belongs to orders that do not exist, too.
        let through = (orders.len() == PAGE).then(|| orders.last().map(|(id, _)| id.clone()));
        let (through, beyond) = (through.flatten(), self.after.take());
        self.over = through.is_none();
        let (through, beyond) = (through.as_deref(), beyond.as_deref());

        let mut all = BTreeMap::<OrderId, Known>::new();
        for (id, order) in orders {
            if let Ok(id) = id.parse() {
                all.entry(id).or_default().order = Some(order);
            }
        }
        self.add_sagas(beyond, through, &mut all).await?;
        self.add_payments(beyond, through, &mut all).await?;
        let booked = ledger::between(self.system, self.provider, beyond, through);
        for (id, booked) in booked.await? {
            all.entry(id).or_default().booked = Some(booked);
        }
        self.after = through.map(str::to_owned);
        Ok(Some(all))
    }

    async fn add_sagas(
        &self,
        beyond: Option<&str>,
        through: Option<&str>,
        all: &mut BTreeMap<OrderId, Known>,
    ) -> Result<()> {
        let mut after = beyond.map(str::to_owned);
        loop {
            let page = self.orders.sagas::<Checkout>(after.take(), PAGE).await?;
            let is_last = page.len() < PAGE;
            for (id, saga) in page {
                if is_beyond(&id, through) {
                    return Ok(());
                }
                let mut timers = Vec::new();
                for timer in saga.timers.iter().filter(|_| !saga.ended) {
                    let due = self.orders.timer_due::<Checkout>(&id, timer).await?;
                    timers.push((timer.clone(), due));
                }
                if let Ok(order) = id.parse() {
                    all.entry(order).or_default().saga = Some(Saga {
                        ended: saga.ended,
                        timers,
                        updated_at: saga.updated_at,
                    });
                }
                after = Some(id);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn add_payments(
        &self,
        beyond: Option<&str>,
        through: Option<&str>,
        all: &mut BTreeMap<OrderId, Known>,
    ) -> Result<()> {
        let mut after = beyond.map(str::to_owned);
        loop {
            let page = self
                .payments
                .entities::<Payment>(after.take(), PAGE)
                .await?;
            let is_last = page.len() < PAGE;
            for (id, payment) in page {
                if is_beyond(&id, through) {
                    return Ok(());
                }
                if let Ok(order) = id.parse() {
                    all.entry(order).or_default().payment = Some(payment);
                }
                after = Some(id);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Returns whether an id belongs to a later page.
fn is_beyond(id: &str, through: Option<&str>) -> bool {
    through.is_some_and(|through| id > through)
}
