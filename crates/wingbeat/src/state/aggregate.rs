//! Event-sourced entities: `decide` says what happens, `apply` what it means; both are pure.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wingbeat_core::unit::{Append, Write};
use wingbeat_core::{Key, Name, Result};

use super::view::ViewRow;
use crate::extract::Extract;
use crate::unit::Scope;
use crate::{decode, encode};

/// An entity whose history is stored, and whose state is what the history folds to.
pub trait Aggregate:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The table's name; stored, so it outlives a renamed type.
    const NAME: &'static str;
    /// Names one entity.
    type Id: ToString + Send + Sync;
    /// What it can be asked.
    type Command;
    /// What can happen to it, in its stored form.
    type Event: Serialize + DeserializeOwned + Send;
    /// Why it refuses.
    type Error;

    /// Decides what happens; nothing has happened yet.
    ///
    /// # Errors
    ///
    /// A business refusal.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Takes in what happened. Never fails: it did happen.
    fn apply(&mut self, event: &Self::Event);

    /// The rows of the service's own views that show this entity; written with every change of it.
    fn rows(&self, _id: &str) -> Vec<ViewRow> {
        Vec::new()
    }
}

/// An aggregate and how many events made it. The stored snapshot: the history remains the truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "A: Serialize + DeserializeOwned")]
pub(crate) struct Snapshot<A> {
    #[serde(rename = "v")]
    pub(crate) sequence: u64,
    #[serde(rename = "s")]
    pub(crate) state: A,
}

/// Aggregates of one type, through this unit of work.
pub struct Repo<A> {
    scope: Scope,
    of: PhantomData<fn() -> A>,
}

impl<A: Aggregate, S> Extract<Scope, S> for Repo<A> {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(Self::in_scope(scope))
    }
}

impl<A: Aggregate> Repo<A> {
    pub(crate) fn in_scope(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            of: PhantomData,
        }
    }

    fn key(id: &A::Id) -> Key {
        Key::new(Name::new(A::NAME), id.to_string())
    }

    /// The aggregate, or `None` if nothing ever happened to it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn get(&self, id: &A::Id) -> Result<Option<A>> {
        let snapshot = self.load(&Self::key(id)).await?;
        Ok((snapshot.sequence > 0).then_some(snapshot.state))
    }

    /// Decides, records what happened, and returns the new state; or the refusal, which is validated
    /// like a decision to write.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn execute(&self, id: &A::Id, command: A::Command) -> Result<Result<A, A::Error>> {
        let key = Self::key(id);
        let snapshot = self.load(&key).await?;
        match self.decide(&key, snapshot, command)? {
            Ok((snapshot, events)) => {
                let state = snapshot.state.clone();
                self.save(&key, snapshot, events)?;
                Ok(Ok(state))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Executes a command on each entity, all or none: the first refusal leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn execute_all(
        &self,
        commands: impl IntoIterator<Item = (A::Id, A::Command)>,
    ) -> Result<Result<(), A::Error>> {
        let mut changed: Vec<(Key, Snapshot<A>, Vec<A::Event>)> = Vec::new();
        let commands: Vec<_> = commands
            .into_iter()
            .map(|(id, command)| (Self::key(&id), command))
            .collect();
        for (key, command) in commands {
            let at = changed.iter().position(|(of, ..)| *of == key);
            let snapshot = match at {
                Some(at) => changed[at].1.clone(),
                None => self.load(&key).await?,
            };
            match self.decide(&key, snapshot, command)? {
                Ok((snapshot, events)) => match at {
                    Some(at) => {
                        changed[at].1 = snapshot;
                        changed[at].2.extend(events);
                    }
                    None => changed.push((key, snapshot, events)),
                },
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        for (key, snapshot, events) in changed {
            self.save(&key, snapshot, events)?;
        }
        Ok(Ok(()))
    }

    #[allow(clippy::type_complexity, reason = "the two outcomes of a decision")]
    fn decide(
        &self,
        _key: &Key,
        mut snapshot: Snapshot<A>,
        command: A::Command,
    ) -> Result<Result<(Snapshot<A>, Vec<A::Event>), A::Error>> {
        let events = match snapshot.state.decide(command) {
            Ok(events) => events,
            Err(refusal) => return Ok(Err(refusal)),
        };
        for event in &events {
            snapshot.state.apply(event);
        }
        Ok(Ok((snapshot, events)))
    }

    fn save(&self, key: &Key, mut snapshot: Snapshot<A>, events: Vec<A::Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        for event in &events {
            snapshot.sequence += 1;
            let body = encode(event);
            self.scope.append(Append {
                key: key.clone(),
                sequence: snapshot.sequence,
                at: self.scope.now(),
                body,
            })?;
        }
        for row in snapshot.state.rows(&key.id) {
            self.scope.put_row(row.view, row.key, Some(row.row))?;
        }
        self.scope.write(Write {
            key: key.clone(),
            body: Some(encode(&snapshot)),
            due_at: None,
            expires_at: None,
        })?;
        self.scope.remember(key, snapshot)
    }

    async fn load(&self, key: &Key) -> Result<Snapshot<A>> {
        if let Some(snapshot) = self.scope.state::<Snapshot<A>>(key)? {
            return Ok(snapshot);
        }
        let loaded = self.scope.load(key).await?;
        let Some(body) = loaded.body else {
            return Ok(Snapshot {
                sequence: 0,
                state: A::default(),
            });
        };
        match decode(&body) {
            Ok(snapshot) => Ok(snapshot),
            Err(_) => self.replay(key).await, // A snapshot of an older shape: the history is the truth.
        }
    }

    async fn replay(&self, key: &Key) -> Result<Snapshot<A>> {
        let mut snapshot = Snapshot {
            sequence: 0,
            state: A::default(),
        };
        for recorded in self.scope.service().store.history(key, 0).await? {
            snapshot.state.apply(&decode(&recorded.body)?);
            snapshot.sequence = recorded.sequence;
        }
        Ok(snapshot)
    }
}
