//! `wingbeat dead-letters`.

use serde_json::{Value, json};

use crate::arguments::Letters;
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::incidents::because;
use crate::output::{Table, field, harmless, say, say_json};

const LIST: &str = "/ops/dead-letters";

/// Runs one of the commands.
pub(crate) async fn run(fleet: &Fleet, action: &Letters, json: bool) -> Result<Exit, Failed> {
    match action {
        Letters::List {
            limit,
            subscription,
            reason,
        } => {
            let is = |wanted: &Option<String>, letter: &Value, name: &str| {
                wanted
                    .as_deref()
                    .is_none_or(|wanted| letter[name] == wanted)
            };
            let wanted = |letter: &Value| {
                is(subscription, letter, "subscription") && is(reason, letter, "reason")
            };
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            let letters = fleet.pages(LIST, &["id"], limit, wanted).await?;
            list(letters, json)
        }
        Letters::Show { id } => show(fleet, id, json).await,
        Letters::Retry { ids, why } => each(fleet, ids, ("retry", why.as_ref()), json).await,
        Letters::Discard { ids, why } => each(fleet, ids, ("discard", why.as_ref()), json).await,
    }
}

fn list(letters: Vec<Value>, json: bool) -> Result<Exit, Failed> {
    if json {
        say_json(&json!({ "items": letters }))?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new([
        "ID",
        "SUBSCRIPTION",
        "TYPE",
        "REASON",
        "ATTEMPTS",
        "LAST",
        "ERROR",
    ]);
    for letter in &letters {
        let columns = [
            "id",
            "subscription",
            "type",
            "reason",
            "attempts",
            "last_at",
            "error",
        ];
        table.row(columns.map(|column| field(letter, column)));
    }
    say(&table.render("There are no dead letters."))?;
    Ok(Exit::Fine)
}

/// Returns a path with an id. Ids are UUIDs, so that no text changes the path.
fn path(id: &str, action: &str) -> Result<String, Failed> {
    let id: wingbeat::Uuid = id
        .parse()
        .map_err(|_| Failed::local(format!("{id:?} is no id of a dead letter")))?;
    Ok(format!("{LIST}/{id}{action}"))
}

async fn show(fleet: &Fleet, id: &str, json: bool) -> Result<Exit, Failed> {
    let letter = fleet.first("GET", &path(id, "")?).await?;
    if json {
        say_json(&letter)?;
        return Ok(Exit::Fine);
    }
    let mut text = String::new();
    for name in [
        "id",
        "subscription",
        "type",
        "reason",
        "error",
        "first_error",
        "attempts",
        "first_at",
        "last_at",
        "retries",
        "fingerprint",
    ] {
        text.push_str(&format!("{name:<13} {}\n", field(&letter, name)));
    }
    for name in ["headers", "body"] {
        text.push_str(&format!("\n{name}\n{:#}\n", letter[name]));
    }
    say(&harmless(&text))?;
    Ok(Exit::Fine)
}

/// Retries or discards dead letters, one after the other. The first one that fails ends it, so that
/// the rest is not tried against a cause that is not mended.
async fn each(
    fleet: &Fleet,
    ids: &[String],
    (action, why): (&str, Option<&String>),
    json: bool,
) -> Result<Exit, Failed> {
    let why = because(why);
    let paths = ids.iter().map(|id| path(id, &format!("/{action}{why}")));
    let paths: Vec<String> = paths.collect::<Result<_, Failed>>()?;
    for (path, id) in paths.iter().zip(ids) {
        let answer = fleet.first("POST", path).await;
        let answer = answer.map_err(|why| Failed::new(why.exit, format!("{id}: {why}")))?;
        if json {
            say_json(&answer)?;
        } else {
            let done = if action == "retry" {
                "retried"
            } else {
                "discarded"
            };
            say(&format!("{done} {id}\n"))?;
        }
    }
    Ok(Exit::Fine)
}
