//! The overload of a process in the operator's API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::{Items, Replicated};
use crate::http::{Routes, get};
use crate::overload::Reading;
use crate::run::host::Host;

/// A resource that can run out: its last reading, its watermark, and the level of overload. The
/// highest level of all resources decides which requests are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Overload")]
#[non_exhaustive]
pub struct Resource {
    /// `memory` in percent of its limit, `disk` in bytes of free space, `backlog` and `queues` in
    /// messages, or `lag` in seconds.
    #[schemars(extend("enum" = ["memory", "disk", "backlog", "queues", "lag"]))]
    pub resource: String,
    /// From 0 (no overload) to 3.
    pub level: u8,
    /// The last reading; `null` if the resource cannot be read.
    pub reading: Option<u64>,
    /// The reading at which overload begins.
    pub high: u64,
    /// The reading at which it ends.
    pub low: u64,
}

impl From<Reading> for Resource {
    fn from(reading: Reading) -> Self {
        Self {
            resource: reading.resource.as_str().to_owned(),
            level: reading.level.number(),
            reading: reading.value,
            high: reading.watermark.high,
            low: reading.watermark.low,
        }
    }
}

impl Replicated for Resource {
    fn is(&self, other: &Self) -> bool {
        self.resource == other.resource
    }

    /// The most overloaded process counts; of several, the one that is further from its low
    /// watermark. Less free space on a disk is worse.
    fn join(&mut self, other: Self) {
        let worse = |it: &Self| {
            let reading = it.reading.map(|reading| match it.high < it.low {
                true => u64::MAX - reading,
                false => reading,
            });
            (it.level, reading)
        };
        if worse(&other) > worse(self) {
            *self = other;
        }
    }
}

pub(super) fn overload_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/overload",
        get(overload)
            .summary("The resources that are watched for overload, with their levels")
            .answers::<Items<Resource>>(200),
    )
}

async fn overload(State(host): State<Arc<Host>>) -> Response {
    let readings = host.overload().map(|it| it.readings()).unwrap_or_default();
    let items: Vec<Resource> = readings.into_iter().map(Resource::from).collect();
    Json(Items::from(items)).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::lists::joined;
    use super::*;

    fn resource(name: &str, level: u8, reading: u64, (high, low): (u64, u64)) -> Resource {
        Resource {
            resource: name.into(),
            level,
            reading: Some(reading),
            high,
            low,
        }
    }

    #[test]
    fn the_most_overloaded_process_is_reported() {
        let memory = |level, reading| resource("memory", level, reading, (85, 75));
        let disk = |level, reading| resource("disk", level, reading, (10, 20));
        for lists in [
            [
                vec![memory(1, 80), disk(0, 90)],
                vec![memory(0, 84), disk(0, 70)],
            ],
            [
                vec![memory(0, 84), disk(0, 70)],
                vec![memory(1, 80), disk(0, 90)],
            ],
        ] {
            assert_eq!(joined(lists), [memory(1, 80), disk(0, 70)]);
        }
    }
}
