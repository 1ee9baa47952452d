//! The watermarks of overload among the settings.

use std::time::Duration;

use super::error::SettingsError;
use super::lookup::{Lookup, duration};
use crate::overload::{Watermark, Watermarks};

impl Lookup<'_> {
    /// Returns the watermarks: `HIGH,LOW` or `off` for each resource.
    pub(super) fn watermarks(&self, faults: &mut Vec<SettingsError>) -> Watermarks {
        let Watermarks {
            memory,
            disk,
            backlog,
            queues,
            lag,
        } = Watermarks::default();
        let percent = |text: &str| number(text).filter(|it| (1..=100).contains(it));
        let mut look = |key, default, parse, form| {
            let found = self.watermark(key, default, parse, form);
            found.unwrap_or_else(|why| {
                faults.push(why);
                default
            })
        };
        Watermarks {
            memory: look("overload_memory", memory, &percent, "85,75"),
            disk: look("overload_disk", disk, &bytes, "512MiB,768MiB"),
            backlog: look("overload_backlog", backlog, &number, "5000,1000"),
            queues: look("overload_queues", queues, &number, "200000,100000"),
            lag: look("overload_lag", lag, &seconds, "120s,30s"),
        }
    }

    fn watermark(
        &self,
        key: &str,
        default: Option<Watermark>,
        parse: &dyn Fn(&str) -> Option<u64>,
        form: &str,
    ) -> Result<Option<Watermark>, SettingsError> {
        let Some(found) = self.ours(key)? else {
            return Ok(default);
        };
        if found.value == "off" {
            return Ok(None);
        }
        // Free space is scarce below its marks, everything else above them.
        let falls = key == "overload_disk";
        let parsed = found.value.split_once(',').and_then(|(high, low)| {
            let (high, low) = (parse(high.trim())?, parse(low.trim())?);
            let ordered = if falls { high < low } else { low < high };
            ordered.then_some(Watermark { high, low })
        });
        match parsed {
            Some(mark) => Ok(Some(mark)),
            None => {
                Err(found.invalid(format!("a high and a low watermark such as {form}, or off")))
            }
        }
    }

    /// Returns the limit of the memory.
    pub(super) fn memory_limit(&self) -> Result<Option<u64>, SettingsError> {
        let Some(found) = self.ours("memory_limit")? else {
            return Ok(None);
        };
        match bytes(&found.value).filter(|it| *it > 0) {
            Some(limit) => Ok(Some(limit)),
            None => Err(found.invalid("a size such as 512MiB or 2GiB")),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn seconds(text: &str) -> Option<u64> {
    duration(text).map(|it: Duration| it.as_secs())
}

/// `512MiB`, `2GiB`, or a number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    number(digits.trim())?.checked_mul(1 << shift)
}
