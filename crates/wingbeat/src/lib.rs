//! Wingbeat: event-driven services that read, decide and record, while the runtime commits.
//!
//! # Layout
//!
//! What users write against:
//! [`service`] and [`app`] (what is wired), [`handler`] and [`extract`] (how a message is handled),
//! [`effects`] (what a handler asks for), [`aggregate`], [`entity`], [`view`], [`cached`], [`saga`], [`call`],
//! [`http`], [`describe`] (AsyncAPI and OpenAPI), [`telemetry`].
//!
//! What runs it: [`staging`] (units built on one another, group commit), [`dispatch`] (one queue to its
//! handler), [`due`] (timers, calls and parked deliveries), [`relay`] (from the commit or the outbox to the broker), [`breaker`].

pub mod aggregate;
pub mod app;
pub mod breaker;
pub mod cached;
pub mod call;
pub mod committer;
pub mod dead;
pub mod describe;
pub mod dispatch;
pub mod due;
pub mod effects;
pub mod entity;
pub mod extract;
mod given_up;
pub mod handler;
mod handover;
pub mod http;
mod incidents;
mod meters;
pub mod policy;
pub mod real;
pub mod relay;
pub mod saga;
mod schedule;
pub mod scope;
pub mod service;
pub mod staging;
mod sweep;
pub mod telemetry;
pub mod unit_runner;
mod unsent;
pub mod verify;
pub mod view;
mod withdrawn;

pub use aggregate::{Aggregate, Repo};
pub use app::{App, Running};
pub use cached::Cached;
pub use call::{Call, GaveUp, OperationKey};
pub use effects::{CommandMessage, Effects, Either, EventMessage, IntoEffects};
pub use entity::{Claims, Entity, Table};
pub use extract::{Extract, Meta, Now, Part, State};
pub use handler::{Handler, MessageHandler};
pub use policy::{Policy, Retry, TargetPolicy};
pub use saga::{Accepts, AcceptsTimer, Answers, Late, Saga, SagaEffects, SagaInput, SagaRow};
pub use scope::Scope;
pub use service::Service;
pub use sweep::sweep;
pub use unit_runner::run_unit;
pub use unsent::Unroutable;
pub use view::{Reads, Rows, View};
pub use wingbeat_core::*;
pub use wingbeat_macros::{Call, Command, Event, Failure, Parts, SagaInput, test};

/// Decodes a message body.
///
/// # Errors
///
/// Rejects what is not the message's JSON.
pub fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|why| {
        Error::reject(
            "undecodable",
            format!("the body does not fit its type: {why}"),
        )
    })
}

/// Encodes a value of ours as JSON.
pub(crate) fn encode<T: serde::Serialize + ?Sized>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value)
        .expect("our own types have string keys and so always encode")
        .into()
}

/// The body of a message, as it travels.
pub fn encode_body<M: Message>(message: &M) -> bytes::Bytes {
    encode(message)
}
