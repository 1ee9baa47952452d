//! What has to happen at once, as scripts.
//!
//! Keys are indexed by family (the text up to the first colon) in a sorted set by expiry, so that a prefix is
//! removed by looking at its family and not at all keys there are.

use redis::{Cmd, Script};

/// KEYS: the value, the index of its family. ARGV: the value, milliseconds to live, now, the key's own name.
pub(crate) const PUT: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[3] + ARGV[2], ARGV[4])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end";

/// KEYS: the value, the index of its family. ARGV: the key's own name.
pub(crate) const REMOVE: &str = "
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])";

/// KEYS: the index of the family. ARGV: the prefix, what precedes each key's own name.
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

/// KEYS: the counter. ARGV: its window in milliseconds.
pub(crate) const HIT: &str = "
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count";

/// A script with its arguments, as a command.
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

    /// By its hash, which is short.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", Script::new(self.script).get_hash())
    }

    /// Whole, for a server that does not know it.
    pub(crate) fn whole(&self) -> Cmd {
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
