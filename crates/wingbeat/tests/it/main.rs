//! Tests of the whole runtime on the model and the seeded executor.

#[macro_use]
mod forward;

mod again;
mod any_order;
mod batches;
mod bodies;
mod breakers;
mod cached;
mod cancelled;
mod conformance;
mod connections;
#[cfg(feature = "console")]
mod console;
mod contracts;
mod controls;
mod crashes;
mod delayed;
mod described;
mod early;
mod evolving;
#[cfg(all(feature = "host", feature = "otlp"))]
mod exporting;
#[cfg(all(feature = "host", feature = "otlp"))]
mod exporting_metrics;
#[cfg(feature = "host")]
mod fan_out;
mod findings;
#[cfg(feature = "signing")]
mod forged;
mod found;
#[cfg(feature = "https")]
mod https;
mod isolation;
#[cfg(feature = "signing")]
mod issued;
mod misled;
#[cfg(all(feature = "host", feature = "embedded"))]
mod operator;
mod ordered;
mod overload;
mod paging;
mod partitioned;
mod parts;
#[cfg(all(feature = "host", feature = "embedded", feature = "servers"))]
mod past;
mod pausing;
#[cfg(feature = "signing")]
mod peers;
#[cfg(feature = "personal")]
mod personal;
mod poison;
mod priorities;
mod projecting;
mod promising;
mod rates;
#[cfg(feature = "host")]
mod reading;
#[cfg(all(feature = "host", feature = "embedded"))]
mod ready;
mod rebuilding;
mod reconnecting;
mod recorded;
mod redriving;
mod refusing;
mod releasing;
mod replaying;
#[cfg(all(feature = "host", feature = "embedded"))]
mod replicas;
mod requests;
mod retry_after;
mod retry_loop;
mod retrying;
mod schedules;
mod session_races;
mod sessions;
mod simulated;
#[cfg(feature = "servers")]
mod slow_servers;
mod sql;
mod stubbed;
mod suites;
mod tenants;
mod texts;
mod traces;
mod transfers;
mod unsent;
mod verifying;
mod versions;
