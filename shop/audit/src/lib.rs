//! The audit: compares the shop's data and the provider's ledger with the shop's invariants.
//!
//! The shop goes on working meanwhile, so one read may see two services at different moments. A
//! violation counts only if consecutive reads report it in the same words.
//!
//! - `stock` (1), `money` (2, 3), `lifecycle` (4, 5), `flash` (6), `people` (7, 8), `messages` (9),
//!   `views` and `behind` (10), `reserved` (11).

mod behind;
mod flash;
mod ids;
mod ledger;
mod lifecycle;
mod messages;
mod money;
mod people;
mod reserved;
mod stock;
mod views;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;
use wingbeat::describe::Operation;
use wingbeat::http::{Admin, Problem, Routes, get};
use wingbeat::{JsonSchema, Result, schemars};

use wingbeat::run::RunningSystem;

use lifecycle::Lifecycle;
use money::Money;
use walk::Walk;

/// The pauses before the second and the third read.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// The reported violations of one invariant.
const SHOWN_MAX: usize = 100;
/// The violations of one invariant that a read remembers, to compare it with the next one.
const VIOLATIONS_MAX: usize = 10_000;
/// The entities or rows per read.
const PAGE: usize = 1_000;

/// The state of the route.
#[derive(Clone)]
struct Audit {
    look: Look,
    provider: String,
    /// Serializes audits, since each reads all data.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Returns the running services.
pub type Look = Arc<dyn Fn() -> RunningSystem + Send + Sync>;

/// The route of the audit.
pub fn routes(look: Look, provider: String) -> Router {
    let audit = Audit {
        look,
        provider,
        turn: Arc::default(),
    };
    described().with_state(audit).into_router()
}

/// The description of the route.
#[must_use]
pub fn operations() -> Vec<Operation> {
    described().into_parts().1
}

fn described() -> Routes<Audit> {
    Routes::new().route(
        "/api/v1/admin/audit",
        get(audit_now)
            .tag("admin")
            .summary("Checks the shop's invariants")
            .answers::<Report>(200)
            .problem(
                503,
                "service_unavailable",
                "A service or the provider does not answer.",
            ),
    )
}

/// The result of an audit.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
pub struct Report {
    /// `true` if all invariants hold.
    pub ok: bool,
    /// The invariants.
    pub invariants: Vec<Invariant>,
}

/// An invariant and its state.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Invariant {
    /// Its number.
    pub id: u8,
    /// The statement.
    pub name: &'static str,
    /// `true` if it holds.
    pub ok: bool,
    /// The number of records that were checked.
    pub checked: u64,
    /// The first hundred violations.
    pub violations: Vec<Violation>,
}

/// A violation of an invariant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Violation {
    /// The record.
    pub subject: String,
    /// The reason.
    pub detail: String,
}

/// The result of one read of one invariant.
#[derive(Clone, Debug)]
struct Check {
    id: u8,
    name: &'static str,
    checked: u64,
    violations: BTreeSet<Violation>,
}

impl Check {
    fn new(id: u8, name: &'static str) -> Self {
        Self {
            id,
            name,
            checked: 0,
            violations: BTreeSet::new(),
        }
    }

    fn broken(&mut self, subject: impl ToString, detail: impl Into<String>) {
        if self.violations.len() >= VIOLATIONS_MAX {
            return;
        }
        self.violations.insert(Violation {
            subject: subject.to_string(),
            detail: detail.into(),
        });
    }
}

async fn audit_now(_: Admin, State(audit): State<Audit>) -> Result<Response, Problem> {
    let _turn = audit.turn.lock().await;
    let report = report(&(audit.look)(), &audit.provider).await?;
    Ok(Json(report).into_response())
}

/// Reads up to three times, until no violation is left.
///
/// # Errors
///
/// Those of the store and of the provider.
pub async fn report(system: &RunningSystem, provider: &str) -> Result<Report> {
    let mut checks = read(system, provider).await?;
    for pause in PAUSES {
        if checks.iter().all(|check| check.violations.is_empty()) {
            break;
        }
        system.ports.runtime.sleep(pause).await;
        let again = read(system, provider).await?;
        checks = checks.into_iter().zip(again).map(agreed).collect();
    }
    let invariants: Vec<_> = checks.into_iter().map(told).collect();
    Ok(Report {
        ok: invariants.iter().all(|invariant| invariant.ok),
        invariants,
    })
}

async fn read(system: &RunningSystem, provider: &str) -> Result<Vec<Check>> {
    let mut checks = vec![stock::check(system).await?];
    checks.extend(orders(system, provider).await?);
    checks.push(flash::check(system).await?);
    checks.extend(people::check(system).await?);
    checks.push(messages::check(system).await?);
    checks.push(views::check(system).await?);
    checks.push(reserved::check(system).await?);
    Ok(checks)
}

/// Checks the invariants of single orders, page by page.
async fn orders(system: &RunningSystem, provider: &str) -> Result<Vec<Check>> {
    let now = system.ports.runtime.now();
    let (mut money, mut lifecycle) = (Money::new(), Lifecycle::new(now));
    let mut walk = Walk::new(system, provider)?;
    while let Some(page) = walk.next().await? {
        for (id, known) in &page {
            money.check(id, known, now);
            lifecycle.check(id, known);
        }
    }
    lifecycle.shipments(system).await?;
    let checks = money.into_checks().into_iter();
    Ok(checks.chain(lifecycle.into_checks()).collect())
}

/// Returns the violations that both reads report.
fn agreed((first, second): (Check, Check)) -> Check {
    let both = first.violations.intersection(&second.violations);
    Check {
        violations: both.cloned().collect(),
        ..second
    }
}

fn told(check: Check) -> Invariant {
    Invariant {
        id: check.id,
        name: check.name,
        ok: check.violations.is_empty(),
        checked: check.checked,
        violations: check.violations.into_iter().take(SHOWN_MAX).collect(),
    }
}
