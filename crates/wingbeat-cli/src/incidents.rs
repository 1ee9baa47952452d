//! `wingbeat incidents`: dead letters by cause, and redrives.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::arguments::{Incidents, Wanted};
use crate::exit::{Exit, Failed};
use crate::fleet::Fleet;
use crate::output::{Table, field, harmless, say, say_json};

/// Runs one of the commands.
pub(crate) async fn run(fleet: &Fleet, action: &Incidents, json: bool) -> Result<Exit, Failed> {
    match action {
        Incidents::List => {
            let columns = [
                ("SERVICE", "service"),
                ("GROUP", "group"),
                ("SUBSCRIPTION", "subscription"),
                ("REASON", "reason"),
                ("LETTERS", "count"),
                ("KEYS", "affected_keys"),
                ("PER MINUTE", "per_minute"),
                ("LAST", "last_at"),
                ("ERROR", "error"),
            ];
            let path = "/ops/incidents?limit=200";
            let items = fleet.list(path, &["service", "group"]).await?;
            print(items, json, columns, "There are no dead letters.")
        }
        Incidents::Show { service, group } => {
            let path = format!("/ops/incidents/{}/{}", encoded(service), encoded(group));
            whole(&fleet.first("GET", &path).await?, json)
        }
        Incidents::Retry { service, wanted } => retry(fleet, service, wanted, json).await,
        Incidents::Redrives => {
            let columns = [
                ("ID", "id"),
                ("SERVICE", "service"),
                ("STATE", "state"),
                ("SENT", "sent"),
                ("FAILED", "failed"),
                ("SKIPPED", "skipped"),
                ("BEGAN", "began"),
                ("BY", "by"),
                ("ERROR", "error"),
            ];
            let items = fleet.list("/ops/redrives", &["service", "id"]).await?;
            print(items, json, columns, "There were no redrives.")
        }
        Incidents::Stop { service, id, why } => {
            let (service, id) = (encoded(service), encoded(id));
            let path = format!("/ops/redrives/{service}/{id}/stop{}", because(why.as_ref()));
            let answer = fleet.first("POST", &path).await?;
            done(
                &answer,
                json,
                &format!("stopped {}\n", field(&answer, "id")),
            )
        }
        Incidents::Actions => {
            let columns = [
                ("AT", "at"),
                ("BY", "by"),
                ("SERVICE", "service"),
                ("ACTION", "what"),
                ("TARGET", "target"),
                ("WHY", "why"),
                ("NOTE", "note"),
            ];
            let key = ["service", "at", "what", "target"];
            let items = fleet.list("/ops/actions?limit=200", &key).await?;
            print(items, json, columns, "Nothing was done.")
        }
    }
}

fn print<const N: usize>(
    items: Vec<Value>,
    json: bool,
    columns: [(&str, &str); N],
    none: &str,
) -> Result<Exit, Failed> {
    if json {
        say_json(&json!({ "items": items }))?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(columns.map(|(title, _)| title));
    for item in &items {
        table.row(columns.map(|(_, name)| field(item, name)));
    }
    say(&table.render(none))?;
    Ok(Exit::Fine)
}

fn done(answer: &Value, json: bool, text: &str) -> Result<Exit, Failed> {
    if json {
        say_json(answer)?;
    } else {
        say(text)?;
    }
    Ok(Exit::Fine)
}

fn whole(answer: &Value, json: bool) -> Result<Exit, Failed> {
    let mut text = String::new();
    for name in [
        "service",
        "group",
        "subscription",
        "type",
        "reason",
        "error",
        "count",
        "failures",
        "per_minute",
        "last_hour",
        "affected_keys",
        "keys",
        "first_at",
        "last_at",
    ] {
        let _ = writeln!(text, "{name:<13} {}", field(answer, name));
    }
    let mut table = Table::new(["ID", "KEY", "ATTEMPTS", "RETRIES", "LAST", "ERROR"]);
    for letter in answer["items"].as_array().into_iter().flatten() {
        let columns = ["id", "key", "attempts", "retries", "last_at", "error"];
        table.row(columns.map(|column| field(letter, column)));
    }
    let _ = write!(text, "\n{}", table.render("It has no dead letters."));
    done(answer, json, &harmless(&text))
}

async fn retry(fleet: &Fleet, service: &str, wanted: &Wanted, json: bool) -> Result<Exit, Failed> {
    let answer = fleet.first("POST", &begin(service, wanted)).await?;
    let id = field(&answer, "id");
    let text = format!("redrive {id} has begun; `wingbeat incidents redrives` shows it\n");
    done(&answer, json, &text)
}

/// Returns the path of the request that begins a redrive.
fn begin(service: &str, wanted: &Wanted) -> String {
    let mut path = format!("/ops/redrives/{}?rate={}", encoded(service), wanted.rate);
    let texts = [
        ("group", &wanted.group),
        ("subscription", &wanted.subscription),
        ("type", &wanted.kind),
        ("reason", &wanted.reason),
        ("key", &wanted.key),
        ("error", &wanted.error),
        ("why", &wanted.why),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            let _ = write!(path, "&{name}={}", encoded(value));
        }
    }
    if let Some(most) = wanted.retries_max {
        let _ = write!(path, "&retries_max={most}");
    }
    let _ = write!(path, "&tolerate={}", wanted.tolerate);
    path
}

/// Returns the query with a reason.
pub(crate) fn because(why: Option<&String>) -> String {
    why.map_or_else(String::new, |why| format!("?why={}", encoded(why)))
}

/// Encodes a text as a part of a URL.
fn encoded(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            all.push(char::from(byte));
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_change_the_path_of_a_request() {
        let wanted = Wanted {
            group: None,
            subscription: Some("orders.placed".into()),
            kind: None,
            reason: None,
            key: None,
            error: Some("a&b=c d".into()),
            retries_max: Some(1),
            rate: 500,
            tolerate: 2,
            why: Some("ünd".into()),
        };
        assert_eq!(
            begin("../x", &wanted),
            "/ops/redrives/..%2Fx?rate=500&subscription=orders.placed\
             &error=a%26b%3Dc%20d&why=%C3%BCnd&retries_max=1&tolerate=2"
        );
    }
}
