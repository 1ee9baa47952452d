//! The first release.

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;
use wingbeat::{Stored, ViewColumns, ViewRow};

use crate::deposits::DepositedV1;
use crate::routes::{Accepted, Deposit, all, listed};
use crate::statements;

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) enum AccountEvent {
    Deposited { deposit: String, amount: u64 },
}

#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Account {
    balance: u64,
    deposits: u64,
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = Deposit;
    type Event = AccountEvent;
    type Error = ();
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Line>(&["balance"])];

    fn decide(&self, command: Deposit) -> Result<Vec<AccountEvent>, ()> {
        let Deposit {
            deposit,
            cents: amount,
            ..
        } = command;
        Ok(vec![AccountEvent::Deposited { deposit, amount }])
    }

    fn apply(&mut self, AccountEvent::Deposited { amount, .. }: &AccountEvent) {
        self.balance += amount;
        self.deposits += 1;
    }

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let balance = self.balance;
        vec![ViewRow::of(id, &Line { balance })]
    }
}

/// An account in the list.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    balance: u64,
}

impl View for Line {
    const NAME: &'static str = "accounts";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![("balance", format!("{:012}", self.balance))]
    }
}

fn published(happened: Happened<'_, Account>) -> Option<DepositedV1> {
    let AccountEvent::Deposited { deposit, amount } = happened.event;
    Some(DepositedV1 {
        account: happened.id.to_owned(),
        number: happened.sequence,
        deposit: deposit.clone(),
        amount: *amount,
    })
}

async fn deposit(Json(deposit): Json<Deposit>, accounts: Repo<Account>) -> Result<Reply, Problem> {
    let account = deposit.account.clone();
    match accounts.execute(&account, deposit).await? {
        Ok(Account { deposits, .. }) => Ok(accepted(&Accepted { number: deposits })),
        Err(()) => Err(Problem::not_found()), // No deposit is refused.
    }
}

async fn show(Path(account): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    Ok(ok(&reads.aggregate::<Account>(&account).await?))
}

async fn list(reads: Reads) -> Result<Reply, Problem> {
    listed::<Line>(&reads, "balance").await
}

/// A receipt, by the id of its deposit.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    cents: u64,
}

impl Entity for Receipt {
    const NAME: &'static str = "receipt";
    type Id = String;
}

/// Writes the receipt of a deposit that has none. A receipt that a newer release wrote contains
/// more than this one knows, so it stays as it is.
async fn issue(event: DepositedV1, receipts: Table<Receipt>) -> Result<()> {
    if receipts.get(&event.deposit).await?.is_some() {
        return Ok(());
    }
    let cents = event.amount;
    receipts.put(&event.deposit, Receipt { cents })
}

pub(crate) fn app() -> App {
    let bank = Service::new("bank")
        .publishes_history(published)
        .stores(Stored::aggregate::<Account>())
        .stores(Stored::view::<Line>())
        .routes(
            Routes::new()
                .route("/accounts", get(list))
                .route("/accounts/{account}", get(show))
                .route("/deposits", post(deposit)),
        );
    let receipts = Service::new("receipts")
        .on(issue)
        .stores(Stored::entity::<Receipt>())
        .routes(Routes::new().route("/receipts", get(all::<Receipt>)));
    App::new()
        .service(bank)
        .service(statements::service().on(statements::note.ordered()))
        .service(receipts)
}
