//! The [`Allotments`] on Redis.
//!
//! An allotment is a hash with its terms, its count and its holders, and a list of claims, its log.
//! Each operation is one script. Redis may evict one of the two keys: the scripts compare the
//! length of the log with the hash, and treat an allotment that is not whole as lost.

use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Value;
use wingbeat_core::cache::{Allotments, Claim, Count, Decision, Entry, Log, Mark, Terms};
use wingbeat_core::{Error, Result, RuntimeExt as _};

use crate::cache::{Redis, millis};
use crate::scripts::Call;

// The fields of the hash: `gen`, the generation; `first` and `next`, the positions of the oldest
// and of the next claim; `rev` and `free`, the count; `opens`, `closes`, `limit` and `max`, the
// terms; `h:<holder>`, the recorded units of a holder; `p:<holder>`, its claims in the log;
// `o:<operation>`, the id of a granted claim.
//
// An entry of the log is the length of the id, a colon, the id, and the holder.

/// Sets the terms and the count. KEYS: the hash, the log. ARGV: a generation, the revision, the
/// free units, the opening and closing times, the limit, the most claims, the time to live; then
/// holders and their units.
const ALLOT: &str = "
local has = redis.pcall('HMGET', KEYS[1], 'gen', 'first', 'next', 'rev')
local waiting = redis.pcall('LLEN', KEYS[2])
local whole = not has.err and has[1] and type(waiting) == 'number' and waiting == has[3] - has[2]
local revision = whole and tonumber(has[4]) or 0
if not whole then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[1], 'gen', ARGV[1], 'first', 0, 'next', 0, 'rev', 0, 'free', 0)
end
redis.call('HSET', KEYS[1], 'opens', ARGV[4], 'closes', ARGV[5], 'limit', ARGV[6], 'max', ARGV[7])
if tonumber(ARGV[2]) >= revision then
    redis.call('HSET', KEYS[1], 'rev', ARGV[2], 'free', ARGV[3])
    for at = 9, #ARGV, 2 do redis.call('HSET', KEYS[1], 'h:' .. ARGV[at], ARGV[at + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
return 1";

/// Decides on a claim. KEYS: the hash, the log. ARGV: the current time, the holder, the id; then
/// the operation, if the claim has one. Public so that the benchmark can send it alone.
pub const CLAIM: &str = "
local has = redis.pcall('HMGET', KEYS[1], 'opens', 'closes', 'limit', 'max', 'free', 'first', \
    'next', 'h:' .. ARGV[2], 'p:' .. ARGV[2])
if has.err or not has[1] then return {'unknown'} end
if ARGV[4] then
    local known = redis.call('HGET', KEYS[1], 'o:' .. ARGV[4])
    if known then return {'repeated', known} end
end
local now = tonumber(ARGV[1])
if now < tonumber(has[1]) or now >= tonumber(has[2]) then return {'not_open'} end
if (has[8] or 0) + (has[9] or 0) >= tonumber(has[3]) then return {'limit'} end
local waiting = has[7] - has[6]
if tonumber(has[5]) <= waiting then return {'sold_out'} end
if waiting >= tonumber(has[4]) then return {'full'} end
local length = redis.pcall('RPUSH', KEYS[2], #ARGV[3] .. ':' .. ARGV[3] .. ARGV[2])
if length ~= waiting + 1 then
    redis.call('UNLINK', KEYS[1], KEYS[2])
    return {'unknown'}
end
if length == 1 then redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1])) end
redis.call('HINCRBY', KEYS[1], 'next', 1)
redis.call('HINCRBY', KEYS[1], 'p:' .. ARGV[2], 1)
if ARGV[4] then redis.call('HSET', KEYS[1], 'o:' .. ARGV[4], ARGV[3]) end
return {'granted'}";

/// Returns the oldest claims. KEYS: the hash, the log. ARGV: the most claims to return.
const CLAIMS: &str = "
local has = redis.pcall('HMGET', KEYS[1], 'gen', 'first', 'next', 'free')
local waiting = redis.pcall('LLEN', KEYS[2])
if has.err or not has[1] or type(waiting) ~= 'number' or waiting ~= has[3] - has[2] then
    return false
end
return {has[1], has[2], has[4], waiting, redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1)}";

/// Removes claims from the log and sets the count. KEYS: the hash, the log. ARGV: the generation,
/// the position, the revision, the free units; then holders and their units.
const SETTLE: &str = "
local has = redis.pcall('HMGET', KEYS[1], 'gen', 'first', 'next', 'rev')
local waiting = redis.pcall('LLEN', KEYS[2])
if has.err or has[1] ~= ARGV[1] or type(waiting) ~= 'number' or waiting ~= has[3] - has[2] then
    return 0
end
local gone = math.min(ARGV[2] - has[2], waiting)
if gone > 0 then
    for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, gone - 1)) do
        local length, rest = string.match(entry, '^(%d+):(.*)$')
        if rest then
            local field = 'p:' .. string.sub(rest, length + 1)
            local left = redis.call('HINCRBY', KEYS[1], field, -1)
            if left <= 0 then redis.call('HDEL', KEYS[1], field) end
        end
    end
    redis.call('LTRIM', KEYS[2], gone, -1)
    redis.call('HINCRBY', KEYS[1], 'first', gone)
end
if tonumber(ARGV[3]) >= tonumber(has[4]) then
    redis.call('HSET', KEYS[1], 'rev', ARGV[3], 'free', ARGV[4])
    for at = 5, #ARGV, 2 do
        if ARGV[at + 1] == '0' then
            redis.call('HDEL', KEYS[1], 'h:' .. ARGV[at])
        else
            redis.call('HSET', KEYS[1], 'h:' .. ARGV[at], ARGV[at + 1])
        end
    end
end
return 1";

/// Removes an allotment. KEYS: the hash, the log.
const END: &str = "return redis.call('UNLINK', KEYS[1], KEYS[2])";

impl Redis {
    /// Returns the keys of the hash and the log.
    fn allotment(&self, key: &str) -> Vec<String> {
        vec![self.full(key), self.full(&format!("{key}:log"))]
    }

    /// Returns the call that decides on a claim.
    pub(crate) fn claiming(&self, key: &str, claim: Claim) -> Call {
        let Claim {
            holder,
            id,
            operation,
        } = claim;
        let now = self.runtime().now().as_millis().to_string();
        let mut arguments = vec![now.into(), holder.into(), id.into()];
        arguments.extend(operation.map(Vec::from));
        Call::new(CLAIM, self.allotment(key), arguments)
    }
}

fn number(value: impl ToString) -> Vec<u8> {
    value.to_string().into()
}

fn holders(of: Vec<(String, u32)>) -> impl Iterator<Item = Vec<u8>> {
    of.into_iter()
        .flat_map(|(holder, units)| [holder.into(), number(units)])
}

/// Returns the error for a reply that no script sends.
fn unexpected(reply: &str) -> Error {
    let text = format!("Redis sent an unexpected reply to a script: {reply:?}");
    Error::retry("cache_unavailable", text)
}

fn parsed(number: &str) -> Result<u64> {
    number.parse().map_err(|_| unexpected(number))
}

/// Parses an entry of the log. One that another program has changed becomes a claim without an id:
/// it has a position, so the entries behind it keep theirs.
fn entry(bytes: &[u8]) -> Entry {
    parsed_entry(bytes).unwrap_or_else(|| Entry {
        holder: String::new(),
        id: String::new(),
    })
}

/// Parses an entry of the log: its length, the id and the holder.
fn parsed_entry(bytes: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (length, rest) = text.split_once(':')?;
    let (id, holder) = rest.split_at_checked(length.parse().ok()?)?;
    Some(Entry {
        holder: holder.into(),
        id: id.into(),
    })
}

impl Allotments for Redis {
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>> {
        let mut arguments = vec![
            self.runtime().id().simple().to_string().into(),
            number(count.revision),
            number(count.free),
            number(terms.opens_at.as_millis()),
            number(terms.closes_at.as_millis()),
            number(terms.per_holder),
            number(terms.log_max),
            number(millis(ttl)),
        ];
        arguments.extend(holders(count.holders));
        let allot = Call::new(ALLOT, self.allotment(key), arguments);
        Box::pin(async move { self.call::<u64>("allot", allot).await.map(drop) })
    }

    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>> {
        let claim = self.claiming(key, claim);
        Box::pin(async move {
            let reply: Vec<String> = self.call("claim", claim).await?;
            let reply: Vec<&str> = reply.iter().map(String::as_str).collect();
            Ok(match reply[..] {
                ["granted"] => Decision::Granted,
                ["repeated", id] => Decision::Repeated(id.into()),
                ["sold_out"] => Decision::SoldOut,
                ["limit"] => Decision::LimitReached,
                ["not_open"] => Decision::NotOpen,
                ["full"] => Decision::LogFull,
                ["unknown"] => Decision::Unknown,
                _ => return Err(unexpected(&format!("{reply:?}"))),
            })
        })
    }

    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>> {
        let arguments = vec![number(limit)];
        let claims = Call::new(CLAIMS, self.allotment(key), arguments);
        type Reply = (String, String, String, u64, Vec<Vec<u8>>);
        Box::pin(async move {
            let reply: Option<Reply> = self.call("claims", claims).await?;
            let Some((generation, first, free, waiting, entries)) = reply else {
                return Ok(None);
            };
            Ok(Some(Log {
                generation,
                first: parsed(&first)?,
                entries: entries.iter().map(|bytes| entry(bytes)).collect(),
                waiting,
                left: parsed(&free)?.saturating_sub(waiting),
            }))
        })
    }

    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>> {
        let mut arguments = vec![
            mark.generation.into(),
            number(mark.until),
            number(count.revision),
            number(count.free),
        ];
        arguments.extend(holders(count.holders));
        let settle = Call::new(SETTLE, self.allotment(key), arguments);
        Box::pin(async move {
            let settled: Value = self.call("settle", settle).await?;
            Ok(settled == Value::Int(1))
        })
    }

    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let end = Call::new(END, self.allotment(key), Vec::new());
        Box::pin(async move { self.call::<u64>("end", end).await.map(drop) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_parsed_by_its_length() {
        let parsed = entry(b"3:a:bann");
        assert_eq!((&*parsed.id, &*parsed.holder), ("a:b", "ann"));
        for wrong in [&b"9:a"[..], "1:é".as_bytes(), b"ann", b"\xff", b""] {
            let parsed = entry(wrong);
            assert_eq!((&*parsed.id, &*parsed.holder), ("", ""), "{wrong:?}");
        }
    }
}
