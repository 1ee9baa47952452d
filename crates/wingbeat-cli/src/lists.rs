//! `wingbeat subscriptions`, `targets`, `schedules`, `sagas` and `story`. Limits are in `limits`.

use serde_json::{Value, json};

use crate::arguments::{Controls, OfSubscription, Sagas, Subscribed, Targets, named};
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::limits;
use crate::output::{Table, field, say, say_json};

/// Runs a command about subscriptions.
pub(crate) async fn subscriptions(
    fleet: &Fleet,
    action: &Subscribed,
    json: bool,
) -> Result<Exit, Failed> {
    let columns = [
        "service",
        "name",
        "state",
        "waiting",
        "in_flight",
        "handled",
        "retried",
        "dead",
        "concurrency",
        "rate",
    ];
    let path = "/ops/subscriptions";
    match action {
        Subscribed::Control(action) => controlled(fleet, action, json, path, columns).await,
        Subscribed::Limit { limits, more } => limits::set(fleet, path, limits, more, json).await,
    }
}

/// Runs a command about outside systems.
pub(crate) async fn targets(fleet: &Fleet, action: &Targets, json: bool) -> Result<Exit, Failed> {
    match action {
        Targets::List => {
            let items = fleet.list("/ops/breakers", &["service", "name"]).await?;
            let columns = ["service", "name", "state", "since", "concurrency", "rate"];
            print(items, json, columns)
        }
        Targets::Limit(limits) => {
            let none = OfSubscription::default();
            limits::set(fleet, "/ops/targets", limits, &none, json).await
        }
    }
}

/// Runs a command about schedules.
pub(crate) async fn schedules(
    fleet: &Fleet,
    action: &Controls,
    json: bool,
) -> Result<Exit, Failed> {
    let columns = ["service", "name", "state", "times", "next", "last"];
    controlled(fleet, action, json, "/ops/schedules", columns).await
}

async fn controlled<const N: usize>(
    fleet: &Fleet,
    action: &Controls,
    json: bool,
    path: &str,
    columns: [&str; N],
) -> Result<Exit, Failed> {
    let (which, verb) = match action {
        Controls::List => {
            let items = fleet.list(path, &["service", "name"]).await?;
            return print(items, json, columns);
        }
        Controls::Pause { which } => (which, "pause"),
        Controls::Resume { which } => (which, "resume"),
    };
    let (service, name) = named(which)?;
    let path = format!("{path}/{service}/{name}/{verb}");
    let answer = fleet.first("POST", &path).await;
    let answer = answer.map_err(|why| Failed::new(why.exit, format!("{which}: {why}")))?;
    if json {
        say_json(&answer)?;
    } else {
        say(&format!("{which} is {}\n", field(&answer, "state")))?;
    }
    Ok(Exit::Fine)
}

pub(crate) fn print<const N: usize>(
    items: Vec<Value>,
    json: bool,
    columns: [&str; N],
) -> Result<Exit, Failed> {
    if json {
        say_json(&json!({ "items": items }))?;
        return Ok(Exit::Fine);
    }
    let head = columns.map(|column| column.to_uppercase().replace('_', " "));
    let mut table = Table::new(std::array::from_fn::<&str, N, _>(|at| head[at].as_str()));
    for item in &items {
        table.row(columns.map(|column| match column {
            "last" => last(&item["last"]),
            column => field(item, column),
        }));
    }
    say(&table.render("There are none."))?;
    Ok(Exit::Fine)
}

/// Returns the time of the last run of a schedule, and its error.
fn last(run: &Value) -> String {
    match (run["at"].as_str(), run["error"].as_str()) {
        (None, _) => "-".into(),
        (Some(at), None) => at.into(),
        (Some(at), Some(error)) => format!("{at} ({error})"),
    }
}

/// Counts sagas, or lists the instances of one.
pub(crate) async fn sagas(fleet: &Fleet, options: &Sagas, json: bool) -> Result<Exit, Failed> {
    if let Some(which) = &options.which {
        let (service, saga) = named(which)?;
        let path = format!("/ops/sagas/{service}/{saga}");
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let instances = fleet.pages(&path, &["id"], limit, |_| true).await;
        let instances =
            instances.map_err(|why| Failed::new(why.exit, format!("{which}: {why}")))?;
        return print(
            instances,
            json,
            ["id", "ended", "updated_at", "timers", "state"],
        );
    }
    let sagas = fleet.list("/ops/sagas", &["service", "saga"]).await?;
    if json {
        say_json(&json!({ "items": sagas }))?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(["SERVICE", "SAGA", "STATE", "NUMBER"]);
    for saga in &sagas {
        for (state, number) in saga["states"].as_object().into_iter().flatten() {
            table.row([
                field(saga, "service"),
                field(saga, "saga"),
                state.clone(),
                number.to_string(),
            ]);
        }
    }
    say(&table.render("No saga was ever started."))?;
    Ok(Exit::Fine)
}

/// Prints a story.
pub(crate) async fn story(fleet: &Fleet, id: &str, json: bool) -> Result<Exit, Failed> {
    let id: wingbeat::Uuid = id
        .parse()
        .map_err(|_| Failed::local(format!("{id:?} is no correlation id")))?;
    let story = fleet.steps(&format!("/ops/stories/{id}")).await?;
    let items = story["items"].as_array().map(Vec::as_slice);
    let items = items.unwrap_or_default();
    if json {
        say_json(&story)?;
    } else {
        let mut table = Table::new(["AT", "SERVICE", "KIND", "NAME", "ID", "CAUSED BY"]);
        for step in items {
            let columns = ["at", "service", "kind", "name", "id", "causation_id"];
            table.row(columns.map(|column| field(step, column)));
        }
        say(&table.render("No service knows this correlation id."))?;
    }
    Ok(if items.is_empty() {
        Exit::Absent
    } else {
        Exit::Fine
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_change_the_path_of_a_request() {
        assert_eq!(named("orders.checkout").unwrap(), ("orders", "checkout"));
        for wrong in [
            "orders",
            "orders.",
            ".x",
            "orders.a/b",
            "orders.a?b",
            "o rders.a",
        ] {
            assert_eq!(named(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }
}
