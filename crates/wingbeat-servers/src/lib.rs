//! Private instances of RabbitMQ, PostgreSQL and Redis for tests and experiments: each in a temporary
//! folder, on free ports of the loopback, with nothing kept.
//!
//! The programs are found on the `PATH` or where Debian's packages put them. A missing one is a panic that
//! names its package: a test that is skipped in silence guards nothing.
//!
//! A server ends with its value, and also with the process that started it, however that ends: a watchdog
//! of its own notices, takes the server down and removes the folder.
//!
//! ```no_run
//! let broker = wingbeat_servers::RabbitMq::start();
//! println!("{}", broker.url());
//! broker.kill(); // as a power cut would
//! broker.start_again(); // on the same port, with the same data
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "real servers take real time, and stand in the real environment"
)]

mod instance;
mod place;
mod port;
mod postgres;
mod programs;
mod rabbitmq;
mod redis;

pub use port::free_port;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
