//! The answers of a process's operator API at one moment.

use futures_util::future::{join, join_all};
use serde::de::DeserializeOwned;
use wingbeat::Timestamp;

use super::answers::{
    Backlog, Breaker, Deviation, Items, Letter, Process, Queue, Rebuild, Replay, Resource,
    Schedule, Subscription, Unroutable,
};
use crate::client::{Ask, Unanswered};

/// The number of dead letters that are read; more are not told apart.
pub(super) const LETTERS_READ: usize = 100;

/// A part of the answers, or the reason why it is missing.
pub type Part<T> = Result<T, Unanswered>;

/// The answers of one process.
pub struct Look {
    /// The URL of the process.
    pub url: String,
    /// The local time before and after the process was asked for its time.
    pub asked: (Timestamp, Timestamp),
    /// Its readiness.
    pub ready: Part<()>,
    /// Its clock, services and servers.
    pub process: Part<Process>,
    /// The queues of the system.
    pub queues: Part<Items<Queue>>,
    pub(super) backlog: Part<Items<Backlog>>,
    pub(super) topology: Part<Items<Deviation>>,
    pub(super) subscriptions: Part<Items<Subscription>>,
    pub(super) schedules: Part<Items<Schedule>>,
    pub(super) rebuilds: Part<Items<Rebuild>>,
    pub(super) replays: Part<Items<Replay>>,
    pub(super) breakers: Part<Items<Breaker>>,
    pub(super) overload: Part<Items<Resource>>,
    pub(super) unroutable: Part<Items<Unroutable>>,
    pub(super) letters: Part<Items<Letter>>,
}

impl Look {
    /// Looks at all processes at once.
    pub async fn all(processes: &[&dyn Ask]) -> Vec<Self> {
        join_all(processes.iter().map(|process| Self::at(*process))).await
    }

    /// Looks at one process. The operator's port has few connections, so the questions follow one
    /// another.
    async fn at(process: &dyn Ask) -> Self {
        let begun = local_time();
        let of_process = part(process, "/ops/process").await;
        let asked = (begun, local_time());
        if let Err(why @ (Unanswered::Silent(_) | Unanswered::Refused(_))) = &of_process {
            return Self::without(process.name(), why);
        }
        let (ready, queues) =
            join(process.ask("GET", "/readyz"), part(process, "/ops/queues")).await;
        Self {
            url: process.name().to_owned(),
            asked,
            ready: ready.map(drop),
            process: of_process,
            queues,
            backlog: part(process, "/ops/backlog").await,
            topology: part(process, "/ops/topology").await,
            subscriptions: part(process, "/ops/subscriptions").await,
            schedules: part(process, "/ops/schedules").await,
            rebuilds: part(process, "/ops/rebuilds").await,
            replays: part(process, "/ops/replays").await,
            breakers: part(process, "/ops/breakers").await,
            overload: part(process, "/ops/overload").await,
            unroutable: part(process, "/ops/unroutable").await,
            letters: part(process, &format!("/ops/dead-letters?limit={LETTERS_READ}")).await,
        }
    }

    /// A process that says nothing.
    fn without(url: &str, why: &Unanswered) -> Self {
        let now = local_time();
        Self {
            url: url.to_owned(),
            asked: (now, now),
            ready: Err(why.clone()),
            process: Err(why.clone()),
            queues: Err(why.clone()),
            backlog: Err(why.clone()),
            topology: Err(why.clone()),
            subscriptions: Err(why.clone()),
            schedules: Err(why.clone()),
            rebuilds: Err(why.clone()),
            replays: Err(why.clone()),
            breakers: Err(why.clone()),
            overload: Err(why.clone()),
            unroutable: Err(why.clone()),
            letters: Err(why.clone()),
        }
    }

    /// Returns whether the process answers at all.
    pub(super) fn answers(&self) -> bool {
        let silent =
            |why: &Unanswered| matches!(why, Unanswered::Silent(_) | Unanswered::Refused(_));
        !self.process.as_ref().is_err_and(silent)
    }

    /// Returns whether a server of the process can be used, as far as it is known.
    pub(super) fn has(&self, part: &str) -> bool {
        let servers = self.process.as_ref().map(|it| it.servers.as_slice());
        let mut servers = servers.unwrap_or_default().iter();
        !servers.any(|it| it.part == part && !it.available)
    }

    /// Returns the time by the clock of the process.
    pub(super) fn now(&self) -> Timestamp {
        let told = self.process.as_ref().ok().and_then(|it| it.now);
        told.unwrap_or(self.asked.1)
    }
}

async fn part<T: DeserializeOwned>(process: &dyn Ask, path: &str) -> Part<T> {
    let answer = process.ask("GET", path).await?;
    serde_json::from_value(answer).map_err(|why| Unanswered::Problem {
        code: "unknown_answer".into(),
        text: format!("{path} has an unknown form: {why}"),
    })
}

fn local_time() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = now.map(|it| it.as_micros()).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
