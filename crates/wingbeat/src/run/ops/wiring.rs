//! The wiring of the system in the operator's API: who publishes what to whom, and how the broker
//! differs from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::lists::Items;
use crate::describe::System;
use crate::http::{Problem, Routes, get};
use crate::run::host::Host;
use crate::transport::{Deviation, DeviationKind};
use wingbeat_core::{Kind, MessageType};

pub(super) fn wiring_routes() -> Routes<Arc<Host>> {
    Routes::new()
        .route(
            "/graph",
            get(graph)
                .summary("The messages of the whole system, with publishers and subscribers")
                .answers::<Items<MessageRoute>>(200),
        )
        .route(
            "/topology",
            get(topology)
                .summary("The queues in which the broker differs from the subscriptions")
                .answers::<Items<QueueDeviation>>(200),
        )
}

/// A message type with its publishers and its subscribers.
#[derive(Serialize, JsonSchema)]
struct MessageRoute {
    /// The wire type.
    message: &'static str,
    /// `event`, `command` or `request`.
    #[schemars(extend("enum" = ["event", "command", "request"]))]
    kind: &'static str,
    /// The services that publish or send it, as far as they declare it.
    publishers: BTreeSet<String>,
    /// The queues to which it is routed, as `service.subscription`.
    subscribers: BTreeSet<String>,
}

async fn graph(State(host): State<Arc<Host>>) -> Response {
    Json(Items::from(routes(&host.description()))).into_response()
}

fn routes(system: &System) -> Vec<MessageRoute> {
    let mut all = BTreeMap::<&'static str, MessageRoute>::new();
    let mut note = |message: &MessageType, publisher: Option<&str>, queue: Option<&str>| {
        let kind = match message.kind {
            Kind::Event => "event",
            Kind::Command => "command",
        };
        let route = all.entry(message.name).or_insert_with(|| MessageRoute {
            message: message.name,
            kind,
            publishers: BTreeSet::new(),
            subscribers: BTreeSet::new(),
        });
        route.publishers.extend(publisher.map(str::to_owned));
        route.subscribers.extend(queue.map(str::to_owned));
    };
    let mut requests = BTreeSet::new();
    for service in system.services() {
        let name = service.name.as_str();
        for message in service.publishes.iter().chain(&service.asks) {
            note(message, Some(name), None);
        }
        for subscription in &service.subscriptions {
            for message in &subscription.takes {
                // A message within a service has no other publisher.
                let publisher = message.internal.then_some(name);
                note(message, publisher, Some(subscription.queue.as_str()));
            }
        }
        requests.extend(
            service
                .asks
                .iter()
                .chain(&service.answers)
                .map(|it| it.name),
        );
    }
    let mark = |mut route: MessageRoute| {
        if requests.contains(route.message) {
            route.kind = "request";
        }
        route
    };
    all.into_values().map(mark).collect()
}

/// A queue in which the broker differs from the subscriptions.
#[derive(Serialize, JsonSchema)]
struct QueueDeviation {
    /// The name of the queue on the broker.
    queue: String,
    /// `missing`, `changed`, `migrating` or `orphaned`.
    #[schemars(extend("enum" = ["missing", "changed", "migrating", "orphaned"]))]
    kind: &'static str,
    /// The broker's description of the difference; `null` if there is none.
    detail: Option<String>,
    /// The messages that wait in the queue.
    waiting: u64,
    /// The consumers of the queue, in all processes.
    consumers: u64,
}

impl From<Deviation> for QueueDeviation {
    fn from(deviation: Deviation) -> Self {
        let (kind, detail) = match deviation.kind {
            DeviationKind::Missing => ("missing", None),
            DeviationKind::Changed(why) => ("changed", Some(why)),
            DeviationKind::Migrating => ("migrating", None),
            _ => ("orphaned", None),
        };
        Self {
            queue: deviation.queue,
            kind,
            detail,
            waiting: deviation.waiting,
            consumers: deviation.consumers,
        }
    }
}

async fn topology(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let transport = host.snapshot().ports.transport;
    let found = transport.deviations(host.topology()).await?;
    let found: Vec<QueueDeviation> = found.into_iter().map(QueueDeviation::from).collect();
    Ok(Json(Items::from(found)).into_response())
}
