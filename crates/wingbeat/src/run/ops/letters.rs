//! Pages of the list of dead letters, over all services and processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::store::Position;

use crate::Timestamp;
use crate::failed::{DeadLetter, Summary};
use crate::http::{Cursor, Problem, Query, ok};
use crate::run::host::Host;

/// The default number of dead letters on a page.
const LIMIT: usize = 20;
/// The largest number of dead letters on a page.
const LIMIT_MAX: usize = 100;
/// The name of the list in its cursors.
const LIST: &str = "dead-letters";

/// The query of the list of dead letters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadLetterQuery")]
pub struct LetterQuery {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of dead letters on the page.
    #[schemars(range(min = 1, max = 100), extend("default" = LIMIT))]
    limit: Option<usize>,
}

impl LetterQuery {
    /// Returns the number of dead letters on the page.
    ///
    /// # Errors
    ///
    /// 422 if it is out of bounds.
    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid("/limit", "1 to 100"));
        }
        Ok(limit)
    }

    /// Returns the id after which the page starts.
    ///
    /// # Errors
    ///
    /// 400 `bad_cursor` if the cursor does not belong to this list.
    pub fn after(&self) -> Result<Option<Uuid>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let id = cursor.position(LIST)?.key.parse();
        let bad = |_| Problem::new(400, "bad_cursor", "the cursor contains no id");
        id.map(Some).map_err(bad)
    }
}

/// A dead letter in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
#[non_exhaustive]
pub struct Letter {
    /// Its id.
    pub id: Uuid,
    /// The queue that it came from.
    pub subscription: String,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error code.
    pub reason: String,
    /// The last error message.
    pub error: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the first failure.
    pub first_at: Option<Timestamp>,
    /// The time at which it became a dead letter.
    pub last_at: Timestamp,
    /// Equal for all dead letters with equal causes.
    pub fingerprint: String,
    /// The number of times that a person had it handled again.
    #[serde(default)]
    pub retries: u32,
    /// The key of the message, in lists of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl From<Summary> for Letter {
    fn from(letter: Summary) -> Self {
        Self {
            id: letter.id,
            subscription: letter.subscription,
            kind: letter.kind,
            reason: letter.reason,
            error: letter.error,
            attempts: letter.attempts,
            first_at: letter.first_at,
            last_at: letter.last_at,
            fingerprint: letter.fingerprint,
            retries: letter.retries,
            key: Some(letter.key),
        }
    }
}

impl From<&DeadLetter> for Letter {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            subscription: letter.subscription.clone(),
            kind: letter.kind.clone(),
            reason: letter.reason.clone(),
            error: letter.error.clone(),
            attempts: letter.failures.attempts,
            first_at: letter.failures.first_at,
            last_at: letter.last_at,
            fingerprint: letter.fingerprint.clone(),
            retries: letter.retries,
            key: None,
        }
    }
}

/// A page of dead letters, in the order of their ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetterList")]
pub struct LetterPage {
    /// The dead letters.
    pub items: Vec<Letter>,
    /// The cursor of the next page; `null` on the last page.
    pub next_cursor: Option<Cursor>,
    /// Services that did not answer: their dead letters are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

impl LetterPage {
    /// Merges pages of several services that start after the same dead letter. A dead letter that
    /// two of them contain appears once.
    #[must_use]
    pub fn merged(pages: impl IntoIterator<Item = Self>, limit: usize) -> Self {
        let (mut all, mut away, mut more) = (BTreeMap::new(), Vec::new(), false);
        for page in pages {
            more |= page.next_cursor.is_some();
            away.extend(page.away);
            all.extend(page.items.into_iter().map(|letter| (letter.id, letter)));
        }
        more |= all.len() > limit;
        let items: Vec<Letter> = all.into_values().take(limit).collect();
        let last = items.last().filter(|_| more).map(|letter| Position {
            value: String::new(),
            key: letter.id.to_string(),
        });
        Self {
            items,
            next_cursor: last.map(|position| Cursor::new(LIST, &position)),
            away,
        }
    }
}

/// `GET /dead-letters`, oldest first.
pub(super) async fn list(
    State(host): State<Arc<Host>>,
    Query(query): Query<LetterQuery>,
) -> Result<Response, Problem> {
    let (limit, after) = (query.limit()?, query.after()?);
    let mut pages = Vec::new();
    for running in host.running() {
        for service in running.services().collect::<Vec<_>>() {
            // One more shows whether there is a next page.
            let letters = running.dead_letter_page(service, after, limit + 1).await?;
            let items = letters.iter().map(Letter::from).collect();
            pages.push(LetterPage {
                items,
                ..LetterPage::default()
            });
        }
    }
    Ok(ok(&LetterPage::merged(pages, limit)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[u128], more: bool) -> LetterPage {
        let letter = |id: &u128| Letter {
            id: Uuid::from_u128(*id),
            subscription: "shop.sold".into(),
            kind: "shop.sold.v1".into(),
            reason: "undecodable".into(),
            error: String::new(),
            attempts: 1,
            first_at: None,
            last_at: Timestamp::default(),
            fingerprint: String::new(),
            retries: 0,
            key: None,
        };
        let position = Position {
            value: String::new(),
            key: "7".into(),
        };
        LetterPage {
            items: ids.iter().map(letter).collect(),
            next_cursor: more.then(|| Cursor::new(LIST, &position)),
            away: Vec::new(),
        }
    }

    fn merged(pages: Vec<LetterPage>, limit: usize) -> (Vec<u128>, Option<u128>) {
        let page = LetterPage::merged(pages, limit);
        let ids = page
            .items
            .iter()
            .map(|letter| letter.id.as_u128())
            .collect();
        let cursor = page.next_cursor;
        let query = LetterQuery {
            cursor,
            limit: None,
        };
        (
            ids,
            query
                .after()
                .expect("its own cursor")
                .map(|id| id.as_u128()),
        )
    }

    #[test]
    fn a_merged_page_continues_after_its_last_dead_letter() {
        let all = merged(vec![page(&[1, 4, 6], false), page(&[2, 4], false)], 10);
        assert_eq!(
            all,
            (vec![1, 2, 4, 6], None),
            "one that both contain appears once"
        );
        let some = merged(vec![page(&[1, 4, 6], false), page(&[2, 3], false)], 3);
        assert_eq!(some, (vec![1, 2, 3], Some(3)));
        // The second service has more than it returned.
        let more = merged(vec![page(&[1], false), page(&[2, 3], true)], 3);
        assert_eq!(more, (vec![1, 2, 3], Some(3)));
        assert_eq!(merged(vec![page(&[], false)], 3), (Vec::new(), None));
    }
}
