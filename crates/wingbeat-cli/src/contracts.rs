//! `wingbeat contracts check`: messages and stored data, compared with an earlier release.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use wingbeat::contracts::{Break, Contract, Contracts};

use crate::arguments::{Contracts as Action, Place};
use crate::client::{Ask, Client};
use crate::exit::{Exit, Failed};
use crate::output::{harmless, say, say_json};

/// Compares a running app, or a directory, with the files of an earlier release.
pub(crate) async fn run(place: &Place, action: &Action, json: bool) -> Result<Exit, Failed> {
    let Action::Check { golden, with } = action;
    let older = read(golden)?;
    let newer = match with {
        Some(directory) => read(directory)?,
        None => {
            // Every process knows the contracts of the whole system.
            let processes = Client::all(place)?;
            let [process, ..] = processes.as_slice() else {
                return Err(Failed::local("no --url"));
            };
            served(process.as_ref()).await?
        }
    };
    let comparison = if with.is_some() {
        newer.compare(&older)
    } else {
        newer.compare(&older.without_documents())
    };
    if json {
        let breaks: Vec<Value> = comparison.breaks.iter().map(|it| json!(it)).collect();
        say_json(&json!({ "breaks": breaks, "changes": comparison.changes }))?;
    } else if comparison.is_kept() && comparison.changes.is_empty() {
        say("Nothing has changed.\n")?;
    } else {
        say(&harmless(&format!("{comparison}\n")))?;
    }
    Ok(if comparison.is_kept() {
        Exit::Fine
    } else {
        Exit::Found
    })
}

fn read(directory: &Path) -> Result<Contracts, Failed> {
    let wrong = |why| Failed::local(format!("{}: {why}", directory.display()));
    Contracts::read(directory).map_err(wrong)
}

/// A page of `GET /ops/contracts`
#[derive(Deserialize)]
struct Page {
    items: Vec<Contract>,
    #[serde(default)]
    undescribed: Vec<Break>,
    next_cursor: Option<String>,
}

async fn served(process: &dyn Ask) -> Result<Contracts, Failed> {
    let (mut contracts, mut cursor) = (Contracts::default(), None::<String>);
    loop {
        let query = cursor.map(|it| format!("?cursor={it}"));
        let path = format!("/ops/contracts{}", query.unwrap_or_default());
        let page = process.ask("GET", &path).await;
        let page = page.map_err(|why| why.failed(process.name()))?;
        let page: Page = serde_json::from_value(page).map_err(|why| {
            let text = format!("{}: {path} has an unknown form: {why}", process.name());
            Failed::new(Exit::Unreachable, text)
        })?;
        contracts.extend(page.items, page.undescribed);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(contracts);
        }
    }
}
