//! Allotments in memory.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::allotments::{Claim, Count, Decision, Entry, Log, Mark, Terms};
use crate::{HashMap, Timestamp};

/// Allotments in the memory of one process, for adapters that keep them there. They are lost with
/// it.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat_core::Timestamp;
/// use wingbeat_core::cache::{AllotmentBook, Claim, Count, Decision, Terms};
///
/// let (now, minute) = (Timestamp::from_millis(1), Duration::from_secs(60));
/// let terms = Terms { opens_at: now, closes_at: now + minute, per_holder: 2, log_max: 100 };
/// let count = Count { revision: 1, free: 1, holders: Vec::new() };
/// let claim = |id: &str| Claim { holder: "ann".into(), id: id.into(), operation: None };
///
/// let mut book = AllotmentBook::default();
/// book.allot("seats", "first".into(), terms, count, minute, now);
/// assert_eq!(book.claim("seats", claim("1"), now), Decision::Granted);
/// assert_eq!(book.claim("seats", claim("2"), now), Decision::SoldOut);
/// ```
#[derive(Debug, Default)]
pub struct AllotmentBook {
    allotments: BTreeMap<String, Allotted>,
}

#[derive(Debug)]
struct Allotted {
    terms: Terms,
    ends: Timestamp,
    generation: String,
    revision: u64,
    free: u64,
    /// The position of the first entry of the log.
    first: u64,
    log: VecDeque<Entry>,
    /// The units of holders, according to the store.
    recorded: HashMap<String, u32>,
    /// The claims of holders in the log.
    pending: HashMap<String, u32>,
    /// The ids of granted claims, by operation.
    operations: HashMap<String, String>,
}

impl AllotmentBook {
    /// Creates an allotment, or replaces the terms and the count of one that exists. `generation`
    /// must be unique.
    pub fn allot(
        &mut self,
        key: &str,
        generation: String,
        terms: Terms,
        count: Count,
        ttl: Duration,
        now: Timestamp,
    ) {
        self.allotments.retain(|_, allotted| allotted.ends > now);
        let allotted = self.allotments.entry(key.to_owned());
        let allotted = allotted.or_insert_with(|| Allotted::new(terms, generation));
        allotted.terms = terms;
        allotted.ends = now + ttl;
        allotted.set(count);
    }

    /// Decides on a claim, and appends it to the log if it is granted.
    pub fn claim(&mut self, key: &str, claim: Claim, now: Timestamp) -> Decision {
        match self.find(key, now) {
            Some(allotted) => allotted.claim(claim, now),
            None => Decision::Unknown,
        }
    }

    /// Returns the oldest claims of a log.
    pub fn claims(&mut self, key: &str, limit: usize, now: Timestamp) -> Option<Log> {
        let allotted = self.find(key, now)?;
        Some(Log {
            generation: allotted.generation.clone(),
            first: allotted.first,
            entries: allotted.log.iter().take(limit).cloned().collect(),
            waiting: allotted.waiting(),
            left: allotted.left(),
        })
    }

    /// Removes the claims before the mark from the log, and sets the count. Returns `false` if
    /// there is no allotment of this generation.
    pub fn settle(&mut self, key: &str, mark: &Mark, count: Count, now: Timestamp) -> bool {
        let found = self.find(key, now);
        let Some(allotted) = found.filter(|it| it.generation == mark.generation) else {
            return false;
        };
        allotted.remove_until(mark.until);
        allotted.set(count);
        true
    }

    /// Removes an allotment.
    pub fn end(&mut self, key: &str) {
        self.allotments.remove(key);
    }

    /// Removes all allotments.
    pub fn clear(&mut self) {
        self.allotments.clear();
    }

    fn find(&mut self, key: &str, now: Timestamp) -> Option<&mut Allotted> {
        self.allotments.get_mut(key).filter(|it| it.ends > now)
    }
}

impl Allotted {
    fn new(terms: Terms, generation: String) -> Self {
        Self {
            terms,
            ends: Timestamp::default(),
            generation,
            revision: 0,
            free: 0,
            first: 0,
            log: VecDeque::new(),
            recorded: HashMap::default(),
            pending: HashMap::default(),
            operations: HashMap::default(),
        }
    }

    fn waiting(&self) -> u64 {
        self.log.len() as u64
    }

    fn left(&self) -> u64 {
        self.free.saturating_sub(self.waiting())
    }

    fn claim(&mut self, claim: Claim, now: Timestamp) -> Decision {
        let Claim {
            holder,
            id,
            operation,
        } = claim;
        let known = operation.as_ref().and_then(|it| self.operations.get(it));
        if let Some(id) = known {
            return Decision::Repeated(id.clone());
        }
        if now < self.terms.opens_at || now >= self.terms.closes_at {
            return Decision::NotOpen;
        }
        let units = |of: &HashMap<String, u32>| of.get(&holder).copied().unwrap_or_default();
        if units(&self.recorded) + units(&self.pending) >= self.terms.per_holder {
            return Decision::LimitReached;
        }
        if self.left() == 0 {
            return Decision::SoldOut;
        }
        if self.waiting() >= self.terms.log_max {
            return Decision::LogFull;
        }
        if let Some(operation) = operation {
            self.operations.insert(operation, id.clone());
        }
        *self.pending.entry(holder.clone()).or_default() += 1;
        self.log.push_back(Entry { holder, id });
        Decision::Granted
    }

    fn remove_until(&mut self, until: u64) {
        while self.first < until
            && let Some(entry) = self.log.pop_front()
        {
            self.first += 1;
            if let Some(pending) = self.pending.get_mut(&entry.holder) {
                *pending -= 1;
                if *pending == 0 {
                    self.pending.remove(&entry.holder);
                }
            }
        }
    }

    fn set(&mut self, count: Count) {
        if count.revision < self.revision {
            return;
        }
        self.revision = count.revision;
        self.free = count.free;
        for (holder, units) in count.holders {
            if units == 0 {
                self.recorded.remove(&holder);
            } else {
                self.recorded.insert(holder, units);
            }
        }
    }
}
