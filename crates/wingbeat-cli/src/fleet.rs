//! Several processes, asked as one system.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::client::{Ask, Unanswered};
use crate::exit::{Exit, Failed};

/// The processes of an app.
pub struct Fleet {
    processes: Vec<Box<dyn Ask>>,
}

impl Fleet {
    /// Creates the system of these processes.
    #[must_use]
    pub fn new(processes: Vec<Box<dyn Ask>>) -> Self {
        Self { processes }
    }

    /// Returns the processes.
    pub fn processes(&self) -> impl Iterator<Item = &dyn Ask> {
        self.processes.iter().map(Box::as_ref)
    }

    /// Reads a list from all processes. An entry that several replicas report, as its `key` fields
    /// say, appears once: as the first of them reports it.
    ///
    /// # Errors
    ///
    /// If a process does not answer: a list with holes would mislead.
    pub async fn list(&self, path: &str, key: &[&str]) -> Result<Vec<Value>, Failed> {
        let mut all = Union::default();
        for process in self.processes() {
            let answer = process.ask("GET", path).await;
            let mut answer = answer.map_err(|why| why.failed(process.name()))?;
            if let Some(items) = answer["items"].as_array_mut() {
                all.add(std::mem::take(items), key);
            }
        }
        Ok(all.items)
    }

    /// Reads a list that comes in pages, up to `limit` entries for which `wanted` returns `true`.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list).
    pub async fn pages(
        &self,
        path: &str,
        key: &[&str],
        limit: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>, Failed> {
        let (mut all, mut absent) = (Union::default(), 0);
        for process in self.processes() {
            let mut cursor = None::<String>;
            while all.items.len() < limit {
                let next = cursor.map(|cursor| format!("&cursor={cursor}"));
                let page = format!("{path}?limit=100{}", next.unwrap_or_default());
                let mut answer = match process.ask("GET", &page).await {
                    Ok(answer) => answer,
                    Err(Unanswered::Absent) => {
                        absent += 1;
                        break;
                    }
                    Err(why) => return Err(why.failed(process.name())),
                };
                let items = answer["items"].as_array_mut().map(std::mem::take);
                let items = items.unwrap_or_default().into_iter();
                all.add(items.filter(&wanted), key);
                cursor = answer["next_cursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
        }
        if absent == self.processes.len() {
            return Err(Failed::new(Exit::Absent, "no process has such a list"));
        }
        all.items.truncate(limit);
        Ok(all.items)
    }

    /// Asks one process after the other, until one of them knows what is asked for.
    ///
    /// # Errors
    ///
    /// If none does; [`Exit::Unreachable`] if one that does not answer might have.
    pub async fn first(&self, method: &'static str, path: &str) -> Result<Value, Failed> {
        let mut failed = None;
        for process in self.processes() {
            match process.ask(method, path).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Absent) => {}
                Err(why) => failed = Some(why.failed(process.name())),
            }
        }
        let absent = || Failed::new(Exit::Absent, "no process has it");
        Err(failed.unwrap_or_else(absent))
    }

    /// Collects what all processes know about a path, such as a story, in the order of time.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list).
    pub async fn steps(&self, path: &str) -> Result<Value, Failed> {
        if let [only] = self.processes.as_slice() {
            let answer = only.ask("GET", path).await;
            return answer.map_err(|why| why.failed(only.name()));
        }
        // Steps of one service may share an id; replicas read the same ones.
        let mut items = self.list(path, &["id", "service", "kind", "name"]).await?;
        items.sort_by_key(|step| step["at"].as_str().unwrap_or_default().to_owned());
        Ok(json!({ "items": items }))
    }
}

/// The entries of several processes, each of them once.
#[derive(Default)]
struct Union {
    items: Vec<Value>,
    known: HashSet<String>,
}

impl Union {
    fn add(&mut self, items: impl IntoIterator<Item = Value>, key: &[&str]) {
        for item in items {
            let key: Vec<&Value> = key.iter().map(|field| &item[*field]).collect();
            if self.known.insert(json!(key).to_string()) {
                self.items.push(item);
            }
        }
    }
}
