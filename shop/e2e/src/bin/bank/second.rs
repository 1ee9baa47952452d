//! The second release, and the third one, which differs in the form of new events.
//!
//! | Change | How |
//! |---|---|
//! | a field of stored events is renamed: `amount` to `cents` | a step of `upcasts`, first with `then_later` |
//! | the state of accounts gets a field | nothing: snapshots are folded again |
//! | the list of accounts gets a column | `VIEWS`; the rows are written again |
//! | `bank.deposited` gets a `v2` | both are published; its handler has a queue of its own |
//! | the subscription of statements becomes partitioned | nothing: the replicas hand over |

use serde::{Deserialize, Serialize};
use wingbeat::prelude::*;
use wingbeat::state::Upcasts;
use wingbeat::{Stored, ViewColumns, ViewRow};

use crate::deposits::{DepositedV1, DepositedV2};
use crate::first::AccountEvent as AccountEventV1;
use crate::routes::{Accepted, Deposit, all, listed};
use crate::statements;

/// New events are written in the old form.
pub(crate) const KNOWS: u8 = 0;
/// New events are written in the new form.
pub(crate) const WRITES: u8 = 1;
/// A fault: there is no step from the old form.
pub(crate) const IGNORES: u8 = 2;

const PARTITIONS: u32 = 3;
const CURRENCY: &str = "EUR";

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) enum AccountEvent {
    Deposited { deposit: String, cents: u64 },
}

#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Account<const FORM: u8> {
    balance: u64,
    deposits: u64,
    /// New: the largest deposit.
    largest: u64,
}

impl<const FORM: u8> Aggregate for Account<FORM> {
    const NAME: &'static str = "account";
    type Id = String;
    type Command = Deposit;
    type Event = AccountEvent;
    type Error = ();
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Line>(&["balance", "largest"])];

    fn decide(&self, command: Deposit) -> Result<Vec<AccountEvent>, ()> {
        let Deposit { deposit, cents, .. } = command;
        Ok(vec![AccountEvent::Deposited { deposit, cents }])
    }

    fn apply(&mut self, AccountEvent::Deposited { cents, .. }: &AccountEvent) {
        self.balance += cents;
        self.deposits += 1;
        self.largest = self.largest.max(*cents);
    }

    fn upcasts() -> Upcasts<AccountEvent> {
        match FORM {
            KNOWS => Upcasts::first().then_later(renamed, named_as_before),
            WRITES => Upcasts::first().then(renamed),
            _ => Upcasts::first(),
        }
    }

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let Self {
            balance, largest, ..
        } = *self;
        vec![ViewRow::of(id, &Line { balance, largest })]
    }
}

fn renamed(AccountEventV1::Deposited { deposit, amount }: AccountEventV1) -> AccountEvent {
    let cents = amount;
    AccountEvent::Deposited { deposit, cents }
}

fn named_as_before(AccountEvent::Deposited { deposit, cents }: AccountEvent) -> AccountEventV1 {
    let amount = cents;
    AccountEventV1::Deposited { deposit, amount }
}

/// An account in the list. Rows of the first release lack the largest deposit until they are
/// written again.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    balance: u64,
    #[serde(default)]
    largest: u64,
}

impl View for Line {
    const NAME: &'static str = "accounts";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let of = |number: u64| format!("{number:012}");
        vec![("balance", of(self.balance)), ("largest", of(self.largest))]
    }
}

fn published_v1<const FORM: u8>(happened: Happened<'_, Account<FORM>>) -> Option<DepositedV1> {
    let AccountEvent::Deposited { deposit, cents } = happened.event;
    Some(DepositedV1 {
        account: happened.id.to_owned(),
        number: happened.sequence,
        deposit: deposit.clone(),
        amount: *cents,
    })
}

fn published_v2<const FORM: u8>(happened: Happened<'_, Account<FORM>>) -> Option<DepositedV2> {
    let AccountEvent::Deposited { deposit, cents } = happened.event;
    Some(DepositedV2 {
        account: happened.id.to_owned(),
        number: happened.sequence,
        deposit: deposit.clone(),
        cents: *cents,
        currency: CURRENCY.into(),
    })
}

async fn deposit<const FORM: u8>(
    Json(deposit): Json<Deposit>,
    accounts: Repo<Account<FORM>>,
) -> Result<Reply, Problem> {
    let account = deposit.account.clone();
    match accounts.execute(&account, deposit).await? {
        Ok(Account { deposits, .. }) => Ok(accepted(&Accepted { number: deposits })),
        Err(()) => Err(Problem::not_found()), // No deposit is refused.
    }
}

async fn show<const FORM: u8>(Path(account): Path<String>, reads: Reads) -> Result<Reply, Problem> {
    Ok(ok(&reads.aggregate::<Account<FORM>>(&account).await?))
}

async fn list(reads: Reads) -> Result<Reply, Problem> {
    listed::<Line>(&reads, "balance").await
}

/// Refused with `index_incomplete` until the new column is complete.
async fn list_by_largest(reads: Reads) -> Result<Reply, Problem> {
    listed::<Line>(&reads, "largest").await
}

/// A receipt, by the id of its deposit.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    cents: u64,
    /// New; absent if a release wrote the receipt that does not know it.
    #[serde(default)]
    currency: Option<String>,
}

impl Entity for Receipt {
    const NAME: &'static str = "receipt";
    type Id = String;
}

/// Every deposit is published in the first version, so this handler writes each receipt unless the
/// other one has done so.
async fn issue(event: DepositedV1, receipts: Table<Receipt>) -> Result<()> {
    if receipts.get(&event.deposit).await?.is_some() {
        return Ok(());
    }
    let (cents, currency) = (event.amount, None);
    receipts.put(&event.deposit, Receipt { cents, currency })
}

/// The deposit may have a receipt: the handler of the first version received it, too.
async fn issue_with_currency(event: DepositedV2, receipts: Table<Receipt>) -> Result<()> {
    let (cents, currency) = (event.cents, Some(event.currency));
    receipts.put(&event.deposit, Receipt { cents, currency })
}

fn bank<const FORM: u8>(publishes_v1: bool) -> Service {
    let routes = Routes::new()
        .route("/accounts", get(list))
        .route("/accounts/by-largest", get(list_by_largest))
        .route("/accounts/{account}", get(show::<FORM>))
        .route("/deposits", post(deposit::<FORM>));
    let bank = Service::new("bank")
        .publishes_history(published_v2::<FORM>)
        .stores(Stored::aggregate::<Account<FORM>>())
        .stores(Stored::view::<Line>())
        .routes(routes);
    if publishes_v1 {
        bank.publishes_history(published_v1::<FORM>)
    } else {
        bank.publishes::<DepositedV1>()
    }
}

pub(crate) fn app<const FORM: u8>(publishes_v1: bool) -> App {
    let receipts = Service::new("receipts")
        .on(issue)
        .on(issue_with_currency.named("deposited_v2"))
        .stores(Stored::entity::<Receipt>())
        .routes(Routes::new().route("/receipts", get(all::<Receipt>)));
    App::new()
        .service(bank::<FORM>(publishes_v1))
        .service(statements::service().on(statements::note.partitioned(PARTITIONS)))
        .service(receipts)
}
