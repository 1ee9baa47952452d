//! Private instances of RabbitMQ, PostgreSQL, PgBouncer and Redis for tests and experiments.
//!
//! Each instance has a temporary folder and free ports of the loopback interface, and keeps
//! nothing. The programs are found on the `PATH` or in the folders of Debian's packages. A missing
//! program panics with the name of its package, so that no test is skipped unnoticed.
//!
//! A server ends when its value is dropped. If the process that started it ends in any other way, a
//! watchdog ends the server and removes its folder.
//!
//! ```no_run
//! let broker = wingbeat_servers::RabbitMq::start();
//! println!("{}", broker.url());
//! broker.kill(); // as a power failure would
//! broker.start_again(); // on the same port, with the same data
//! ```
//!
//! [`Authority`] issues certificates for tests of TLS: PostgreSQL and Redis take others at run time
//! (`use_tls`), RabbitMQ listens on further ports (`listen_tls`). Inside the test's own process,
//! [`smtp`] is a mail server, and `collector` (feature `collector`) receives spans from
//! OpenTelemetry exporters.
//!
//! The program `wingbeat-servers` does the same for a shell: it prints the URLs, and stops the
//! servers when its standard input ends.

#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "real servers run on the real clock and in the real environment"
)]

#[cfg(feature = "collector")]
pub mod collector;
pub mod programs;
pub mod smtp;

mod authority;

mod folder;
mod port;

mod instance;

mod proxy;

mod pgbouncer;
mod postgres;
mod rabbitmq;
mod redis;

pub use authority::{Authority, Issued};
pub use pgbouncer::PgBouncer;
pub use port::free_port;
pub use postgres::Postgres;
pub use proxy::{Fault, Proxy};
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
