//! The checks after an upgrade, while no client sends anything.

use std::collections::BTreeMap;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shop_client::Shop;
use shop_client::http::Call;

use super::traffic::State;
use super::{ACCOUNTS, Evolving, url};

/// A row of the list of accounts.
#[derive(serde::Deserialize, PartialEq, Eq, Debug)]
struct Line {
    balance: u64,
    /// Absent from rows of the first release.
    largest: Option<u64>,
}

/// A receipt.
#[derive(serde::Deserialize)]
struct Receipt {
    cents: u64,
    currency: Option<String>,
}

impl Evolving {
    /// Waits until nothing is on its way, and returns everything that is wrong: failed requests,
    /// and differences between the accepted deposits and what the services show.
    pub async fn judge(&self) -> Vec<String> {
        self.site().until_quiet().await;
        let state = self.record.state();
        let (accepted, mut broken) = (&state.accepted, state.failed.clone());
        self.check_accounts(accepted, &mut broken).await;
        self.check_statements(accepted, &mut broken).await;
        self.check_receipts(&state, &mut broken).await;
        for replica in &self.replicas {
            let ops = Shop::at(&url(replica.member.ops_port)).unwrap();
            let letters: Value = read(&ops, "/ops/dead-letters").await;
            if letters["items"].as_array().is_none_or(|it| !it.is_empty()) {
                broken.push(format!("dead letters: {letters}"));
            }
        }
        let (verified, printed) = self.command(self.release, &["verify"]).await;
        if !verified {
            broken.push(format!("verify: {printed}"));
        }
        broken
    }

    /// Compares the lists of accounts with a fold of the accepted deposits.
    async fn check_accounts(&self, accepted: &Accepted, broken: &mut Vec<String>) {
        for port in self.ports("bank") {
            let bank = Shop::at(&url(port)).unwrap();
            let mut lists = vec![("/accounts", false)];
            if self.release != "first" {
                lists.push(("/accounts/by-largest", true));
            }
            for (path, by_largest) in lists {
                let rows: Vec<(String, Line)> = read(&bank, path).await;
                let sorted = rows.is_sorted_by_key(|(_, it)| {
                    std::cmp::Reverse(if by_largest {
                        it.largest
                    } else {
                        Some(it.balance)
                    })
                });
                let shown: BTreeMap<_, _> = rows.into_iter().collect();
                let folded = ACCOUNTS.map(|account| {
                    let cents = || accepted[account].iter().map(|(_, cents)| *cents);
                    let line = Line {
                        balance: cents().sum(),
                        largest: cents().max().filter(|_| self.release != "first"),
                    };
                    (account.to_owned(), line)
                });
                let folded = BTreeMap::from(folded);
                if shown != folded || !sorted {
                    broken.push(format!("{path} is {shown:?}, not {folded:?}"));
                }
            }
        }
    }

    /// Checks that each deposit is in its statement once, and in order.
    async fn check_statements(&self, accepted: &Accepted, broken: &mut Vec<String>) {
        let statements = self.service("statements");
        for (account, deposits) in accepted {
            let path = format!("/statements/{account}");
            let numbers: Vec<u64> = read(&statements, &path).await;
            let count = deposits.len() as u64;
            if numbers != (1..=count).collect::<Vec<_>>() {
                broken.push(format!("{path} is {numbers:?}, not 1 to {count}"));
            }
        }
    }

    /// Checks that each deposit has one receipt, and those of the second release a currency.
    async fn check_receipts(&self, state: &State, broken: &mut Vec<String>) {
        let receipts: Vec<(String, Receipt)> = read(&self.service("receipts"), "/receipts").await;
        let receipts: BTreeMap<_, _> = receipts.into_iter().collect();
        let all: Vec<_> = state.accepted.values().flatten().collect();
        if receipts.len() != all.len() {
            let (found, made) = (receipts.len(), all.len());
            broken.push(format!("{found} receipts for {made} deposits"));
        }
        for (deposit, cents) in all {
            if receipts.get(deposit).is_none_or(|it| it.cents != *cents) {
                broken.push(format!("no receipt of {deposit} over {cents}"));
            }
        }
        // The first release does not show currencies.
        let with_currency = state.with_currency.iter();
        for (account, range) in with_currency.filter(|_| self.release != "first") {
            for (deposit, _) in &state.accepted[account][range.clone()] {
                let receipt = receipts.get(deposit);
                if receipt.is_some_and(|it| it.currency.as_deref() != Some("EUR")) {
                    broken.push(format!("the receipt of {deposit} has no currency"));
                }
            }
        }
    }
}

/// The accepted deposits of each account.
type Accepted = BTreeMap<&'static str, Vec<(String, u64)>>;

async fn read<T: DeserializeOwned>(shop: &Shop, path: &str) -> T {
    let answer = shop.ask(&Call::get(path)).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.json(Method::GET, path).unwrap()
}
