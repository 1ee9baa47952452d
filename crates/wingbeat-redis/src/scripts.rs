//! Lua scripts for operations that must be atomic.
//!
//! The family of a key is its text up to the first colon. Each family has an index, a sorted set of
//! its keys by expiry. So removing a prefix visits the keys of one family and not all keys of the
//! server.

use redis::{Cmd, Script};

/// Sets a value. KEYS: the value, the index of its family. ARGV: the content, the time to live in
/// milliseconds, the current time in milliseconds, the key without the namespace.
pub(crate) const PUT: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[2], ARGV[4])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end";

/// Removes a value. KEYS: the value, the index of its family. ARGV: the key without the namespace.
pub(crate) const REMOVE: &str = "
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])";

/// Removes the values of a family that have a prefix. KEYS: the index of the family. ARGV: the
/// prefix, the namespace.
pub(crate) const REMOVE_PREFIX: &str = "
local gone = 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(name, 1, #ARGV[1]) == ARGV[1] then
        redis.call('UNLINK', ARGV[2] .. name)
        redis.call('ZREM', KEYS[1], name)
        gone = gone + 1
    end
end
return gone";

/// Increments a counter. KEYS: the counter. ARGV: its window in milliseconds.
pub(crate) const HIT: &str = "
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
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
