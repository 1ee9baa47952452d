//! Events of histories as messages: published as they happen, and read again for replays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::{Key, Name, Result, Timestamp};

use super::aggregate::Aggregate;
use crate::effects::{EventMessage, Outgoing, Stamp};
use crate::unit::ServiceContext;

/// The largest number of messages of a chapter.
const MESSAGES_MAX: usize = 256;
/// The size of the messages from which on a chapter ends, in bytes.
const BYTES_MAX: usize = 1 << 20;
/// The largest number of stored events that are read for a chapter.
const EVENTS_MAX: usize = 2_048;
/// The largest number of aggregates of a chapter.
const AGGREGATES_MAX: usize = 128;
/// The stored events that are read at once.
const PAGE: usize = 256;

/// A stored event of an aggregate, for the function that publishes it; see
/// [`Service::publishes_history`](crate::Service::publishes_history).
#[non_exhaustive]
pub struct Happened<'a, A: Aggregate> {
    /// The id of the aggregate, as it is stored.
    pub id: &'a str,
    /// The event.
    pub event: &'a A::Event,
    /// The state after the event.
    pub state: &'a A,
    /// The position of the event in the history, counted from 1.
    pub sequence: u64,
    /// The time of the event.
    pub at: Timestamp,
}

type Make<A> = dyn Fn(&Happened<'_, A>) -> Option<Outgoing> + Send + Sync;

/// Makes the message of an event, if it has one.
pub(crate) struct Publish<A: Aggregate>(Arc<Make<A>>);

impl<A: Aggregate> Clone for Publish<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Aggregate> Publish<A> {
    pub(crate) fn new<E: EventMessage>(
        publish: impl Fn(Happened<'_, A>) -> Option<E> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |happened| {
            Some(Outgoing::of(&publish(*happened)?))
        }))
    }

    /// Returns the message of an event. It depends on the stored event alone: a replay makes the
    /// same message again, and inboxes recognize it by its id.
    fn message(&self, service: Name, happened: &Happened<'_, A>) -> Option<Outgoing> {
        let message = (self.0)(happened)?;
        let stamp = Stamp {
            id: message_id(service, happened, message.name),
            at: happened.at,
            replayed: false,
        };
        Some(Outgoing {
            sequence: Some(happened.sequence),
            stamp: Some(stamp),
            ..message
        })
    }
}

impl<A: Aggregate> Clone for Happened<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Aggregate> Copy for Happened<'_, A> {}

impl<A: Aggregate> Happened<'_, A> {
    /// Returns the messages that publish the event.
    pub(super) fn messages(&self, service: &ServiceContext) -> Vec<Outgoing> {
        let publish = service.published.of::<A, Publish<A>>();
        publish
            .filter_map(|it| it.message(service.name, self))
            .collect()
    }
}

/// The id of the message `kind` that publishes an event: a function of what is stored.
fn message_id<A: Aggregate>(service: Name, happened: &Happened<'_, A>, kind: &str) -> Uuid {
    let sequence = happened.sequence.to_string();
    let parts = [service.as_str(), A::NAME, happened.id, kind, &sequence];
    uuid_v7(happened.at, digest(parts))
}

/// A digest of texts: FNV-1a with 64 bits. Inboxes contain ids that were made from it, so it must
/// never change. It need not resist attacks: ids that collide differ in the time of their events.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // No text contains this byte, so it separates them.
        for byte in part.bytes().chain([0xff]) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    digest
}

/// A position between two events of all histories of an aggregate type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The id up to which all aggregates are done.
    after: Option<String>,
    /// The aggregate that is done in part, and the position of its last event that is done.
    part: Option<(String, u64)>,
}

/// Messages of the past that follow one another.
pub(crate) struct Chapter {
    /// In the order of each history. The operation of a message is the id of the message before it,
    /// if its aggregate has one.
    pub(crate) messages: Vec<Outgoing>,
    /// The ids of the last message of each aggregate.
    pub(crate) last: Vec<Uuid>,
    /// The position after the chapter.
    pub(crate) next: Position,
    /// The number of aggregates whose histories end in this chapter.
    pub(crate) aggregates: u64,
    /// Set if no history follows.
    pub(crate) is_last: bool,
    events: usize,
    bytes: usize,
}

impl Chapter {
    fn from(position: &Position) -> Self {
        Self {
            messages: Vec::new(),
            last: Vec::new(),
            next: position.clone(),
            aggregates: 0,
            is_last: false,
            events: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX || self.events >= EVENTS_MAX
    }

    /// Adds the message of an event that follows the message `previous` of its aggregate.
    fn push(&mut self, message: Outgoing, previous: Option<Uuid>) {
        self.bytes += message.body.len();
        self.messages.push(Outgoing {
            operation: previous.map(|id| id.to_string()),
            ..message
        });
    }
}

/// The histories of an aggregate type, as messages.
pub(crate) trait History: Send + Sync {
    /// Reads the chapter that begins at a position. Memory is bounded, however long the histories
    /// are.
    ///
    /// # Errors
    ///
    /// A store error; `undecodable` or `unknown_form` if a stored event cannot be read.
    fn chapter<'a>(
        &'a self,
        service: &'a ServiceContext,
        from: &'a Position,
    ) -> BoxFuture<'a, Result<Chapter>>;
}

/// The histories of the aggregate type `A`, as messages of one type.
pub(crate) struct Chapters<A: Aggregate> {
    publish: Publish<A>,
    /// Aggregates with which chapters ended, so that a long history is folded once.
    cut: Mutex<BTreeMap<(String, u64), Fold<A>>>,
}

/// The number of aggregates that are kept between chapters: one for each replay in progress.
const CUT_MAX: usize = 8;

/// An aggregate up to an event.
struct Fold<A> {
    key: Key,
    sequence: u64,
    state: A,
    /// The message of its last event that has one.
    last: Option<Uuid>,
}

impl<A: Aggregate> Fold<A> {
    fn new(id: String) -> Self {
        Self {
            key: Key::new(Name::new(A::NAME), id),
            sequence: 0,
            state: A::default(),
            last: None,
        }
    }
}

impl<A: Aggregate> Chapters<A> {
    pub(crate) fn new(publish: Publish<A>) -> Self {
        Self {
            publish,
            cut: Mutex::default(),
        }
    }

    async fn read(&self, service: &ServiceContext, from: &Position) -> Result<Chapter> {
        let mut chapter = Chapter::from(from);
        let (table, after) = (Name::new(A::NAME), from.after.clone());
        let aggregates = service.store.scan(table, after, AGGREGATES_MAX).await?;
        let ids: Vec<String> = aggregates.into_iter().map(|(id, _)| id).collect();
        let all = ids.len() < AGGREGATES_MAX;
        for id in ids {
            if chapter.is_full() {
                return Ok(chapter);
            }
            let mut fold = self.resume(service, id, from).await?;
            let begun = chapter.messages.len();
            let ended = self.advance(service, &mut fold, &mut chapter).await?;
            if chapter.messages.len() > begun {
                chapter.last.extend(fold.last);
            }
            if !ended {
                chapter.next.part = Some((fold.key.id.clone(), fold.sequence));
                self.keep(fold);
                return Ok(chapter);
            }
            chapter.aggregates += 1;
            chapter.next = Position {
                after: Some(fold.key.id),
                part: None,
            };
        }
        chapter.is_last = all;
        Ok(chapter)
    }

    fn cut(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Fold<A>>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an aggregate for the next chapter.
    fn keep(&self, fold: Fold<A>) {
        let mut cut = self.cut();
        if cut.len() >= CUT_MAX {
            cut.pop_first();
        }
        cut.insert((fold.key.id.clone(), fold.sequence), fold);
    }

    /// Returns an aggregate as the chapters before `from` have left it.
    async fn resume(
        &self,
        service: &ServiceContext,
        id: String,
        from: &Position,
    ) -> Result<Fold<A>> {
        let done = match &from.part {
            Some((part, sequence)) if *part == id => *sequence,
            _ => return Ok(Fold::new(id)),
        };
        let cut = self.cut().remove(&(id.clone(), done));
        if let Some(fold) = cut {
            return Ok(fold);
        }
        let mut fold = Fold::new(id);
        while fold.sequence < done {
            let left = usize::try_from(done - fold.sequence).unwrap_or(PAGE);
            let limit = left.min(PAGE);
            if self.page(service, &mut fold, limit, None).await? < limit {
                break;
            }
        }
        Ok(fold)
    }

    /// Reads the rest of a history, or as much as fits. Returns whether it was the rest.
    async fn advance(
        &self,
        service: &ServiceContext,
        fold: &mut Fold<A>,
        chapter: &mut Chapter,
    ) -> Result<bool> {
        loop {
            let read = self.page(service, fold, PAGE, Some(&mut *chapter)).await?;
            if chapter.is_full() {
                return Ok(false);
            }
            if read < PAGE {
                return Ok(true);
            }
        }
    }

    /// Applies the next events of a history, and adds their messages to a chapter until it is full.
    /// Returns the number of events that were read.
    async fn page(
        &self,
        service: &ServiceContext,
        fold: &mut Fold<A>,
        limit: usize,
        mut chapter: Option<&mut Chapter>,
    ) -> Result<usize> {
        let events = service.store.history_page(&fold.key, fold.sequence, limit);
        let events = events.await?;
        let upcasts = A::upcasts();
        for stored in &events {
            if chapter.as_ref().is_some_and(|it| it.is_full()) {
                break;
            }
            let event = upcasts.read(&stored.body)?;
            fold.state.apply(&event);
            fold.sequence = stored.sequence;
            let happened = Happened {
                id: &fold.key.id,
                event: &event,
                state: &fold.state,
                sequence: stored.sequence,
                at: stored.at,
            };
            let message = self.publish.message(service.name, &happened);
            let previous = fold.last;
            if let Some(stamp) = message.as_ref().and_then(|it| it.stamp) {
                fold.last = Some(stamp.id);
            }
            if let Some(chapter) = chapter.as_deref_mut() {
                chapter.events += 1;
                message
                    .into_iter()
                    .for_each(|it| chapter.push(it, previous));
            }
        }
        Ok(events.len())
    }
}

impl<A: Aggregate> History for Chapters<A> {
    fn chapter<'a>(
        &'a self,
        service: &'a ServiceContext,
        from: &'a Position,
    ) -> BoxFuture<'a, Result<Chapter>> {
        Box::pin(self.read(service, from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subscribers recognize a replayed message by its id, years after it was published.
    #[test]
    fn the_ids_of_messages_never_change() {
        assert_eq!(digest([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(["a", "bc"]), 0xa0a3_542c_19b9_00ab);
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }
}
