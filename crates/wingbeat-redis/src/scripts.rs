//! Lua scripts for operations that must be atomic.
//!
//! The family of a key is its text up to the first colon. Each family has an index, a sorted set of
//! its keys by expiry. So removing a prefix visits the keys of one family and not all keys of the
//! server.

use redis::{Cmd, Script};

// The keys have the types that these scripts give them, unless another program writes to the same
// server. A key of another type is not a value of the cache: reads treat it as absent, and writes
// replace it. One such key must not fail the requests that share its index.

/// The lines that set a value. KEYS: the value, the index of its family. ARGV: the content, the
/// time to live in milliseconds, the current time in milliseconds, the key without the namespace.
macro_rules! set {
    () => {
        "
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if type(redis.pcall('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])) == 'table' then
    redis.call('UNLINK', KEYS[2])
end
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[2], ARGV[4])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
"
    };
}

/// Sets a value.
pub(crate) const PUT: &str = set!();

/// Sets a value if the key has the expected one, and returns 1; otherwise 0. ARGV: those of
/// [`PUT`], then `1` and the expected value, or `0` for an absent one.
pub(crate) const REPLACE: &str = concat!(
    "
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then found = false end
if (ARGV[5] == '1' and found ~= ARGV[6]) or (ARGV[5] == '0' and found) then return 0 end",
    set!(),
    "return 1"
);

/// Removes a value. KEYS: the value, the index of its family. ARGV: the key without the namespace.
pub(crate) const REMOVE: &str = "
redis.pcall('ZREM', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])";

/// Removes the values of a family that have a prefix. KEYS: the index of the family. ARGV: the
/// prefix, the namespace.
pub(crate) const REMOVE_PREFIX: &str = "
local gone = 0
local names = redis.pcall('ZRANGE', KEYS[1], 0, -1)
if names.err then redis.call('UNLINK', KEYS[1]) return 0 end
for _, name in ipairs(names) do
    if string.sub(name, 1, #ARGV[1]) == ARGV[1] then
        redis.call('UNLINK', ARGV[2] .. name)
        redis.call('ZREM', KEYS[1], name)
        gone = gone + 1
    end
end
return gone";

/// Increments a counter. KEYS: the counter. ARGV: its window in milliseconds.
pub(crate) const HIT: &str = "
local count = redis.pcall('INCR', KEYS[1])
if type(count) == 'table' then
    if not (string.find(count.err, 'WRONGTYPE') or string.find(count.err, 'not an integer')) then
        return count
    end
    redis.call('SET', KEYS[1], 1)
    count = 1
end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count";

/// A call of a script.
pub(crate) struct Call {
    script: &'static str,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(script: &'static str, keys: Vec<String>, arguments: Vec<Vec<u8>>) -> Self {
        Self {
            script,
            keys,
            arguments,
        }
    }

    /// Returns the command that names the script by its hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", Script::new(self.script).get_hash())
    }

    /// Returns the command that contains the script, for a server that does not know its hash.
    pub(crate) fn with_text(&self) -> Cmd {
        self.command("EVAL", self.script)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }
}
