//! Producers and consumers: raw clients, our transport, and our whole runtime.

mod amqprs;
mod lapin;
mod runtime;
mod transport;

pub(crate) use runtime::ports;

use crate::workload::{Job, Pace};

/// Raw lapin, with one acknowledgement per delivery.
pub(crate) const LAPIN: &str = "lapin";
/// Raw lapin with the headers of our messages, to show their cost.
pub(crate) const LAPIN_HEADERS: &str = "lapin-headers";
/// Raw lapin with multiple acknowledgements.
pub(crate) const LAPIN_MULTIPLE: &str = "lapin-multiple";
/// Raw amqprs.
pub(crate) const AMQPRS: &str = "amqprs";
/// The transport of `wingbeat-rabbitmq` without the runtime.
pub(crate) const TRANSPORT: &str = "transport";
/// A service on the whole runtime with PostgreSQL.
pub(crate) const RUNTIME: &str = "runtime";

pub(crate) async fn produce(client: &str, job: &Job, pace: Pace) {
    match client {
        LAPIN | LAPIN_MULTIPLE => lapin::produce(job, pace, false).await,
        LAPIN_HEADERS => lapin::produce(job, pace, true).await,
        AMQPRS => amqprs::produce(job, pace).await,
        TRANSPORT => transport::produce(job, pace).await,
        RUNTIME => runtime::produce(job, pace).await,
        _ => panic!("no client {client}"),
    }
}

pub(crate) async fn consume(client: &str, job: &Job) {
    match client {
        LAPIN | LAPIN_HEADERS => lapin::consume(job).await,
        LAPIN_MULTIPLE => lapin::consume_multiple(job).await,
        AMQPRS => amqprs::consume(job).await,
        TRANSPORT => transport::consume(job).await,
        RUNTIME => runtime::consume(job).await,
        _ => panic!("no client {client}"),
    }
}
