//! `wingbeat topology`: the broker, compared with the subscriptions.

use serde_json::json;

use crate::arguments::Topology;
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{Table, field, say, say_json};

/// Runs one of the commands.
pub(crate) async fn run(fleet: &Fleet, action: Topology, json: bool) -> Result<Exit, Failed> {
    let name = match action {
        Topology::Plan => return plan(fleet, json).await,
        Topology::Apply => "apply",
        Topology::Migrate => "migrate",
    };
    // Changing queues needs the wiring of the release to be deployed and the broker's credentials:
    // the app has both, and its operator's API neither takes the one nor gives away the other.
    Err(Failed::local(format!(
        "queues are changed by the app itself: run `<program> topology {name}` of the release that \
         you deploy, with its --broker, --store and --cache; `wingbeat topology plan` shows the \
         result"
    )))
}

async fn plan(fleet: &Fleet, json: bool) -> Result<Exit, Failed> {
    let deviations = fleet.list("/ops/topology", &["queue", "kind"]).await?;
    if json {
        say_json(&json!({ "items": deviations }))?;
    } else {
        let columns = ["kind", "queue", "waiting", "consumers", "detail"];
        let mut table = Table::new(["KIND", "QUEUE", "WAITING", "CONSUMERS", "DETAIL"]);
        for deviation in &deviations {
            table.row(columns.map(|column| field(deviation, column)));
        }
        say(&table.render("All queues are as the subscriptions declare them."))?;
    }
    Ok(if deviations.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}
