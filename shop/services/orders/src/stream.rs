//! `GET /stream`: each change of the caller's orders as a server-sent event.
//!
//! A stream reads the caller's feed. The feed is written in the unit of the change itself, so a
//! stream misses no change, whichever process made it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use shop_contracts::UserId;
use tokio::sync::watch;
use wingbeat::http::session::{Session, Sessions};
use wingbeat::http::{Caller, Problem};
use wingbeat::store::{Position, Select};
use wingbeat::{Reads, Result, RuntimeExt as _};

use crate::State;
use crate::feed::FeedRow;
use crate::followed::newest;
use crate::open_streams::OpenStream;

/// The pause between two checks of the session.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// The silence after which a comment keeps the connection open.
const PING: Duration = Duration::from_secs(15);
/// Up to this number, changes are read one by one, which costs less than a range.
const FEW: u64 = 8;
/// Changes per read of a range.
const PAGE: usize = 100;

/// `GET /stream`.
///
/// # Errors
///
/// 401 without a session; 429 if the user has too many streams; 503 if the store is unavailable.
pub async fn stream(
    extract::State(state): extract::State<State>,
    reads: Reads,
    Caller(session): Caller,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let user = UserId(session.user_id);
    let open = state.streams.open(user)?;
    let updates = state.followed.follow(&reads, user);
    let newest: u64 = newest(&reads, &[user]).await?.into_iter().sum();
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse::<u64>().ok());
    let follower = Follower {
        user,
        session,
        sessions: state.sessions,
        after: last.map_or(newest, |last| last.min(newest)),
        waiting: VecDeque::new(),
        sent_at: reads.runtime().elapsed(),
        checked_at: reads.runtime().elapsed(),
        reads,
        updates,
        greeted: false,
        _open: open,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events))
}

struct Follower {
    user: UserId,
    session: Session,
    sessions: Sessions,
    reads: Reads,
    /// The number of the last change that was sent.
    after: u64,
    /// The number of the newest change.
    updates: watch::Receiver<u64>,
    waiting: VecDeque<FeedRow>,
    sent_at: Duration,
    checked_at: Duration,
    greeted: bool,
    _open: OpenStream,
}

impl Follower {
    /// Returns the next event; `None` if the session has ended or the feed cannot be read. The
    /// client reconnects and resumes after the last event.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().comment("ping"));
        }
        loop {
            let now = self.reads.runtime().elapsed();
            if let Some(change) = self.waiting.pop_front() {
                self.sent_at = now;
                self.after = change.version;
                return event(&change);
            }
            if now.saturating_sub(self.checked_at) >= SESSION_CHECK {
                self.checked_at = now;
                if !self.sessions.is_alive(&self.session).await.ok()? {
                    return None;
                }
            }
            let newest = *self.updates.borrow_and_update();
            if newest > self.after {
                self.waiting = self.changes(newest).await.ok()?.into();
                continue;
            }
            if now.saturating_sub(self.sent_at) >= PING {
                self.sent_at = now;
                return Some(Event::default().comment("ping"));
            }
            let runtime = self.reads.runtime();
            if let Some(Err(_)) = runtime.timeout(SESSION_CHECK, self.updates.changed()).await {
                return None;
            }
        }
    }

    async fn changes(&self, newest: u64) -> Result<Vec<FeedRow>> {
        let mine = format!("{}|", self.user);
        if newest - self.after <= FEW {
            let mut few = Vec::new();
            for version in self.after + 1..=newest {
                few.extend(
                    self.reads
                        .row::<FeedRow>(&format!("{mine}{version:016}"))
                        .await?,
                );
            }
            return Ok(few);
        }
        let after = Position {
            value: String::new(),
            key: format!("{mine}{:016}", self.after),
        };
        let listed = self.reads.rows::<FeedRow>(Select::All, Some(after), PAGE);
        let rows = listed.await?.rows.into_iter();
        let mine = rows.take_while(|(key, _)| key.starts_with(&mine));
        Ok(mine.map(|(_, row)| row).collect())
    }
}

fn event(change: &FeedRow) -> Option<Event> {
    #[derive(serde::Serialize)]
    struct Data<'a> {
        order_id: shop_contracts::OrderId,
        status: shop_contracts::OrderStatus,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: &'a Option<shop_contracts::RejectReason>,
        payment_delayed: bool,
        updated_at: wingbeat::Timestamp,
    }
    let data = Data {
        order_id: change.order_id,
        status: change.status,
        reason: &change.reason,
        payment_delayed: change.payment_delayed,
        updated_at: change.updated_at,
    };
    let event = Event::default()
        .event("order")
        .id(change.version.to_string());
    event.json_data(data).ok()
}
