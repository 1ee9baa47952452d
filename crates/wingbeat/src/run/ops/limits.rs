//! The limits of subscriptions and of outside systems in the operator's API.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::guard::Operator;
use crate::app::RunningSubscription;
use crate::call::Target;
use crate::http::{Path, Problem, Query, Routes, plain};
use crate::policy::{Limits, NewLimits, Priority, UnknownPriority};
use crate::run::host::Host;
use crate::{Error, Rate};

/// The units of time in which a rate is written.
const UNITS: [(&str, Duration); 2] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
];

/// The limits that an operator sets. A limit that is left out is that of the code.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LimitsQuery")]
struct Wanted {
    /// The largest number of handlers, or of attempts at calls, that each process runs at the same
    /// time: from 1 to 10,000.
    concurrency: Option<usize>,
    /// The rate at which all processes together start them: `50/s` or `300/min`.
    rate: Option<String>,
    /// The largest number of handlers that each process runs for one tenant at the same time, from
    /// 1 to 10,000, where the code says what a tenant is.
    per_tenant: Option<usize>,
    /// `high`, `normal` or `low`, for a subscription of a service that limits its runs.
    priority: Option<String>,
}

impl Wanted {
    fn limits(&self) -> Result<NewLimits, Problem> {
        let rate = self.rate.as_deref().map(|text| {
            let why = || format!("`{text}` is no rate: write it as `50/s` or `300/min`");
            read(text).ok_or_else(|| invalid(why()))
        });
        let priority = self.priority.as_deref().map(str::parse).transpose();
        Ok(NewLimits {
            concurrency: self.concurrency,
            rate: rate.transpose()?,
            per_tenant: self.per_tenant,
            priority: priority.map_err(|why: UnknownPriority| invalid(why.to_string()))?,
        })
    }
}

/// Limits after a change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LimitsChanged")]
struct Changed {
    service: String,
    name: String,
    concurrency: u64,
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_tenant: Option<u64>,
    priority: Priority,
}

pub(super) fn limit_routes() -> Routes<Arc<Host>> {
    Routes::new()
        .route(
            "/subscriptions/{service}/{name}/limits",
            plain::post(limit)
                .summary("Sets the limits of a subscription in all processes")
                .answers::<Changed>(202)
                .problem(404, "not_found", "There is no such subscription.")
                .problem(422, "limit_invalid", "A limit is out of range."),
        )
        .route(
            "/targets/{service}/{name}/limits",
            plain::post(limit_target)
                .summary("Sets the limits of an outside system in all processes")
                .answers::<Changed>(202)
                .problem(404, "not_found", "The service calls no such system.")
                .problem(422, "limit_invalid", "A limit is out of range."),
        )
}

async fn limit(
    Extension(Operator(by)): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path((service, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let wanted = wanted.limits()?;
    for running in host.running() {
        let found = running.limit(&service, &name, wanted).await;
        let found = found.map_err(refused)?;
        let mut all = running.subscriptions.iter();
        let of = |it: &&RunningSubscription| it.service.as_str() == service && it.name() == name;
        if let Some(one) = all.find(of).filter(|_| found) {
            return Ok(changed(&by, service, name, one.limits()));
        }
    }
    Err(Problem::not_found())
}

async fn limit_target(
    Extension(Operator(by)): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path((service, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let wanted = wanted.limits()?;
    for running in host.running() {
        let found = running.limit_target(&service, &name, wanted).await;
        let found = found.map_err(refused)?;
        let mut all = running.targets.iter();
        let of = |it: &&Arc<Target>| it.service.as_str() == service && it.name == name;
        if let Some(one) = all.find(of).filter(|_| found) {
            return Ok(changed(&by, service, name, one.limits()));
        }
    }
    Err(Problem::not_found())
}

fn changed(by: &str, service: String, name: String, limits: Limits) -> Response {
    let (concurrency, rate) = (limits.concurrency as u64, limits.rate.map(written));
    let per_tenant = limits.per_tenant.map(|it| it as u64);
    let priority = limits.priority;
    tracing::info!(target: "audit", by, service, name, concurrency, rate, per_tenant, %priority, "limits changed");
    let body = Changed {
        service,
        name,
        concurrency,
        rate,
        per_tenant,
        priority,
    };
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

fn refused(why: Error) -> Problem {
    match why.code() {
        "limit_invalid" => invalid(why.to_string()),
        _ => why.into(),
    }
}

fn invalid(text: String) -> Problem {
    Problem::new(422, "limit_invalid", text)
}

/// Reads a rate such as `50/s`.
fn read(text: &str) -> Option<Rate> {
    let (starts, unit) = text.split_once('/')?;
    let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let starts = starts.parse().ok().filter(|it| *it > 0)?;
    Some(Rate { starts, per })
}

/// Returns a rate as it is written: `50/s`, `300/min`, or `7/90s` for another duration.
pub(super) fn written(rate: Rate) -> String {
    let starts = rate.starts.max(1);
    match UNITS.into_iter().find(|(_, per)| *per == rate.per) {
        Some((unit, _)) => format!("{starts}/{unit}"),
        None => format!("{starts}/{}s", rate.per.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for rate in [Rate::per_second(50), Rate::per_minute(1)] {
            assert_eq!(read(&written(rate)), Some(rate));
        }
        for wrong in ["", "50", "/s", "0/s", "-1/s", "5/h", "1.5/s", "5/s "] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let per = Duration::from_secs(90);
        assert_eq!(written(Rate { starts: 7, per }), "7/90s");
    }
}
