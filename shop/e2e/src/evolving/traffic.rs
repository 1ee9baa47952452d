//! Clients of the bank. Each request is sent once, and none may fail.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use shop_client::Shop;
use shop_client::http::{Answer, Call};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Evolving, REPLICAS, url};
use crate::balancer::Balancer;
use crate::wait::{BOUND, PAUSE};

/// The accounts.
pub const ACCOUNTS: [&str; 6] = ["ada", "ben", "cleo", "dora", "emil", "finn"];
/// The pause of a client between two requests. The bank must keep up with it on a busy machine.
const BETWEEN: Duration = Duration::from_millis(80);
/// Deposits that a client sends to one replica before it goes to another one.
const IN_A_ROW: usize = 5;
/// Deposits on each account that a test waits for: enough for clients to have changed replicas.
const WAITED_FOR: usize = 2 * IN_A_ROW;
/// Failures after which no more are recorded: they have one cause.
const FAILURES_MAX: usize = 10;

/// What clients did.
#[derive(Default)]
pub struct Record {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Default)]
pub(super) struct State {
    /// The accepted deposits of each account in their order: id and cents.
    pub(super) accepted: BTreeMap<&'static str, Vec<(String, u64)>>,
    /// The requests that failed.
    pub(super) failed: Vec<String>,
    /// The deposits whose receipts must have a currency.
    pub(super) with_currency: BTreeMap<&'static str, Range<usize>>,
}

/// The number of accepted deposits of each account.
pub type Counts = BTreeMap<&'static str, usize>;

impl Record {
    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// The number of accepted deposits of each account.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.state.lock().unwrap();
        let accepted = state.accepted.iter();
        accepted
            .map(|(account, all)| (*account, all.len()))
            .collect()
    }

    /// The requests that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        self.state.lock().unwrap().failed.clone()
    }

    /// Notes that all deposits since then were made when every replica published the second
    /// version of the message.
    pub fn has_currency_since(&self, since: &Counts) {
        let now = self.counts().into_iter();
        let ranges = now.map(|(account, count)| (account, since[account]..count));
        self.state.lock().unwrap().with_currency = ranges.collect();
    }

    fn fail(&self, what: String) {
        let mut state = self.state.lock().unwrap();
        if state.failed.len() < FAILURES_MAX {
            state.failed.push(what);
        }
        drop(state);
        self.changed.send_replace(());
    }

    fn accept(&self, account: &'static str, deposit: String, cents: u64) {
        let mut state = self.state.lock().unwrap();
        let accepted = state.accepted.entry(account).or_default();
        accepted.push((deposit, cents));
        drop(state);
        self.changed.send_replace(());
    }
}

/// The running clients: one makes deposits on each account, and one reads from each replica.
pub struct Traffic {
    record: Arc<Record>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// Starts the clients.
    #[must_use]
    pub fn begin(bank: &Evolving) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let client = Client {
            replicas: bank.ports("bank").into_iter().map(Direct::to).collect(),
            balancer: Arc::clone(&bank.balancers[0]),
            statements: bank.service("statements"),
            record: Arc::clone(&bank.record),
            stopped,
        };
        for (number, account) in ACCOUNTS.into_iter().enumerate() {
            tasks.spawn(client.clone().deposits(account, number % REPLICAS));
        }
        for at in 0..REPLICAS {
            tasks.spawn(client.clone().reads(at));
        }
        Self {
            record: client.record,
            stop,
            tasks,
        }
    }

    /// Waits until some more deposits were made on each account.
    ///
    /// # Panics
    ///
    /// Panics if they are not made, or if a request failed.
    pub async fn makes_deposits(&self) {
        let before = self.record.counts();
        let more = || {
            let failed = self.record.failed();
            assert!(failed.is_empty(), "{failed:?}");
            let now = self.record.counts();
            let made = |account| now.get(account).copied().unwrap_or(0);
            let had = |account| before.get(account).copied().unwrap_or(0);
            ACCOUNTS
                .into_iter()
                .all(|it| made(it) >= had(it) + WAITED_FOR)
        };
        self.until(more).await;
    }

    /// Waits until a request fails.
    ///
    /// # Panics
    ///
    /// Panics if none does.
    pub async fn fails(&self) {
        self.until(|| !self.record.failed().is_empty()).await;
    }

    async fn until(&self, mut holds: impl FnMut() -> bool) {
        let mut changed = self.record.changed.subscribe();
        let waiting = changed.wait_for(|()| holds());
        let waited = tokio::time::timeout(BOUND, waiting).await;
        assert!(
            waited.is_ok(),
            "not within {BOUND:?}: {:?}",
            self.record.counts()
        );
    }

    /// Stops the clients after their present requests.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// A replica of the service `bank`, past the balancer.
#[derive(Clone)]
struct Direct {
    port: u16,
    shop: Shop,
}

impl Direct {
    fn to(port: u16) -> Self {
        let shop = Shop::at(&url(port)).unwrap();
        Self { port, shop }
    }
}

#[derive(Clone)]
struct Client {
    replicas: Vec<Direct>,
    balancer: Arc<Balancer>,
    statements: Shop,
    record: Arc<Record>,
    stopped: watch::Receiver<bool>,
}

impl Client {
    fn is_ready(&self, at: usize) -> bool {
        self.balancer.is_ready(self.replicas[at].port)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Makes one deposit after the other on an account, at one replica and then at another one.
    ///
    /// Messages of two replicas may arrive in any order. So before a client changes replicas, it
    /// waits until the statement shows all deposits: then the order is that of the deposits.
    async fn deposits(self, account: &'static str, mut at: usize) {
        let path = "/deposits";
        let mut count = self.record.counts().get(account).copied().unwrap_or(0);
        let mut in_a_row = 0;
        while !self.is_stopped() {
            let other = (at + 1) % REPLICAS;
            let leaves = !self.is_ready(at) || in_a_row >= IN_A_ROW;
            if leaves && self.is_ready(other) {
                if !self.is_noted(account, count).await {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                (at, in_a_row) = (other, 0);
            } else if !self.is_ready(at) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let deposit = format!("{:032x}", fastrand::u128(..));
            let cents = fastrand::u64(1..1_000);
            let body = json!({ "account": account, "deposit": deposit, "cents": cents });
            let call = Call::post(path).json(&body);
            let wanted = json!({ "number": count + 1 });
            if self
                .asks(&self.replicas[at].shop, &call, path, Some(&wanted))
                .await
            {
                self.record.accept(account, deposit, cents);
                count += 1;
            }
            in_a_row += 1;
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Returns whether the statement of an account shows so many deposits.
    async fn is_noted(&self, account: &str, count: usize) -> bool {
        let path = format!("/statements/{account}");
        let answer = self.statements.ask(&Call::get(&path)).await;
        let noted = answer.map(|it| serde_json::from_slice::<Vec<u64>>(&it.body));
        match noted {
            Ok(Ok(numbers)) => numbers.len() >= count,
            other => {
                self.record.fail(format!("{path}: {other:?}"));
                false
            }
        }
    }

    /// Reads lists and accounts from one replica while it is ready.
    async fn reads(self, at: usize) {
        let accounts = ACCOUNTS.map(|account| format!("/accounts/{account}"));
        while !self.is_stopped() {
            for path in accounts.iter().map(String::as_str).chain(["/accounts"]) {
                if self.is_ready(at) {
                    let shop = &self.replicas[at].shop;
                    self.asks(shop, &Call::get(path), path, None).await;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        }
    }

    /// Sends a request, and records its failure. Returns whether it was successful.
    async fn asks(&self, shop: &Shop, call: &Call<'_>, path: &str, wanted: Option<&Value>) -> bool {
        let failure = match shop.ask(call).await {
            Ok(answer) if !answer.status.is_success() => described(&answer),
            Ok(answer) => match wanted {
                Some(wanted)
                    if serde_json::from_slice(&answer.body).ok().as_ref() != Some(wanted) =>
                {
                    format!("not {wanted} but {}", described(&answer))
                }
                _ => return true,
            },
            Err(why) => why.to_string(),
        };
        self.record.fail(format!("{path}: {failure}"));
        false
    }
}

fn described(answer: &Answer) -> String {
    format!(
        "{} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    )
}
