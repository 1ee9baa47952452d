//! Index rows of aggregates, also of those whose snapshots are of an older release.

use super::*;
use wingbeat::Aggregate;

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "bank.deposit", version = 1, key = account)]
struct Deposit {
    account: u32,
    cents: u32,
}

/// The second release counts deposits, and lists accounts by their count.
#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Account<const RELEASE: u8> {
    cents: u32,
    #[serde(default)]
    deposits: u32,
}

#[derive(Serialize, Deserialize)]
struct AccountLine<const RELEASE: u8> {
    cents: u32,
    deposits: u32,
}

impl<const RELEASE: u8> View for AccountLine<RELEASE> {
    const NAME: &'static str = "accounts";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let mut columns = vec![("cents", format!("{:08}", self.cents))];
        if RELEASE == 2 {
            columns.push(("deposits", format!("{:08}", self.deposits)));
        }
        columns
    }
}

impl<const RELEASE: u8> Aggregate for Account<RELEASE> {
    const NAME: &'static str = "account";
    const SNAPSHOT: u32 = RELEASE as u32;
    type Id = u32;
    type Command = u32;
    type Event = u32;
    type Error = ();
    const VIEWS: &'static [ViewColumns] = match RELEASE {
        1 => &[ViewColumns::of::<AccountLine<RELEASE>>(&["cents"])],
        _ => &[ViewColumns::of::<AccountLine<RELEASE>>(&[
            "cents", "deposits",
        ])],
    };

    fn decide(&self, cents: u32) -> Result<Vec<u32>, ()> {
        Ok(vec![cents])
    }

    fn apply(&mut self, cents: &u32) {
        self.cents += cents;
        if RELEASE == 2 {
            self.deposits += 1;
        }
    }

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let line = AccountLine::<RELEASE> {
            cents: self.cents,
            deposits: self.deposits,
        };
        vec![ViewRow::of(id, &line)]
    }
}

async fn deposit<const RELEASE: u8>(
    command: Deposit,
    accounts: Repo<Account<RELEASE>>,
) -> Result<()> {
    let _ = accounts.execute(&command.account, command.cents).await?;
    Ok(())
}

fn bank<const RELEASE: u8>() -> App {
    App::new().service(Service::new("bank").on(deposit::<RELEASE>))
}

#[test]
fn a_new_column_of_an_aggregate_is_derived_from_its_history() {
    let mut app = TestApp::start(1, bank::<1>());
    for round in 0..3 {
        for account in 0..30 {
            let cents = 1 + round;
            app.publish(Uuid::nil(), &Deposit { account, cents });
        }
        app.until_idle();
    }
    app.crash(bank::<2>());
    assert_eq!(until_done(&app).records, 30);
    let reads = app.reads("bank");
    let select = Select::Prefix {
        column: wingbeat::Name::new("deposits"),
        prefix: "00000003".into(),
        descending: false,
    };
    let listed = app.run(reads.rows::<AccountLine<2>>(select, None, 100));
    let listed = listed.expect("the column is complete").rows;
    assert_eq!(listed.len(), 30);
    assert!(
        listed
            .iter()
            .all(|(_, it)| (it.cents, it.deposits) == (6, 3))
    );
    let verified = app.run(reads.verify_aggregates::<Account<2>>(None, 100));
    assert_eq!(verified.expect("all can be read").differences, []);
}
