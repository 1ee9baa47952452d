//! The decisions of `doctor`, from answers as processes give them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wingbeat::{BoxFuture, Timestamp};
use wingbeat_cli::client::{Ask, Unanswered};
use wingbeat_cli::doctor::{self, FAULTS, Finding, Look, Severity, Wanted, examine};
use wingbeat_cli::exit::Exit;

/// A process that gives recorded answers.
#[derive(Clone)]
struct Recorded(BTreeMap<&'static str, Result<Value, Unanswered>>);

impl Ask for Recorded {
    fn name(&self) -> &str {
        "http://127.0.0.1:9464"
    }

    fn ask<'a>(
        &'a self,
        _: &'static str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Value, Unanswered>> {
        let path = path.split('?').next().unwrap_or(path);
        let known = self.0.get(path).cloned();
        Box::pin(async move { known.unwrap_or(Err(Unanswered::Absent)) })
    }
}

fn time(offset: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.expect("after 1970").as_micros();
    let micros = i64::try_from(micros).expect("before the year 292000");
    Timestamp::from_micros(micros + offset * 1_000_000)
}

fn unavailable(code: &str) -> Result<Value, Unanswered> {
    Err(Unanswered::Problem {
        code: code.into(),
        text: "no connection".into(),
    })
}

impl Recorded {
    /// A process without faults.
    fn healthy() -> Self {
        let servers = ["store", "broker", "cache"];
        let servers = servers.map(|part| json!({ "part": part, "available": true }));
        let overdue = json!({ "count": 0, "age_seconds": 0 });
        let due = ["timer", "call", "parked", "waiting", "delayed"];
        let due = due.map(|kind| json!({ "kind": kind, "pending": 0, "overdue": overdue }));
        let answers = [
            ("/readyz", json!({ "status": "ready" })),
            (
                "/ops/process",
                json!({ "now": time(0), "version": "0.1.0", "services": ["orders"],
                        "servers": servers }),
            ),
            (
                "/ops/queues",
                json!({ "items": [{ "service": "orders", "name": "checkout", "waiting": 3,
                    "consumers": 1, "here": true, "paused": false, "limited": false,
                    "oldest_seconds": 1 }] }),
            ),
            (
                "/ops/backlog",
                json!({ "items": [{ "service": "orders", "outbox": overdue, "due": due }] }),
            ),
            ("/ops/topology", json!({ "items": [] })),
            (
                "/ops/subscriptions",
                json!({ "items": [{ "service": "orders", "name": "checkout",
                    "state": "running", "waiting": 3 }] }),
            ),
            (
                "/ops/schedules",
                json!({ "items": [{ "service": "orders", "name": "clean", "state": "running",
                    "next": time(30), "last": { "at": time(-30), "error": null } }] }),
            ),
            (
                "/ops/rebuilds",
                json!({ "items": [{ "service": "orders", "table": "order", "state": "done" }] }),
            ),
            (
                "/ops/replays",
                json!({ "items": [{ "service": "orders", "queue": "reports.placed",
                    "state": "running" }] }),
            ),
            (
                "/ops/breakers",
                json!({ "items": [{ "service": "orders", "name": "bank", "state": "closed" }] }),
            ),
            (
                "/ops/overload",
                json!({ "items": [
                    { "resource": "disk", "level": 0, "reading": 1u64 << 40, "high": 1 << 29,
                      "low": 3 << 28 },
                    { "resource": "memory", "level": 0, "reading": 50, "high": 85, "low": 75 },
                ] }),
            ),
            ("/ops/unroutable", json!({ "items": [] })),
            (
                "/ops/dead-letters",
                json!({ "items": [], "next_cursor": null }),
            ),
        ];
        Self(answers.map(|(path, answer)| (path, Ok(answer))).into())
    }

    fn answer(&mut self, path: &'static str) -> &mut Value {
        let answer = self.0.get_mut(path).and_then(|it| it.as_mut().ok());
        answer.expect("a recorded answer")
    }

    /// Returns the first entry of a list.
    fn first(&mut self, path: &'static str) -> &mut Value {
        &mut self.answer(path)["items"][0]
    }

    /// Makes a server unavailable, and what depends on it.
    fn without(&mut self, part: usize, code: &str, paths: &[&'static str]) {
        let server = &mut self.answer("/ops/process")["servers"][part];
        server["available"] = false.into();
        server["code"] = code.into();
        for path in paths {
            self.0.insert(path, unavailable(code));
        }
    }

    /// Sets what is due of a kind, by its index.
    fn due(&mut self, kind: usize, age: u64) {
        let due = &mut self.first("/ops/backlog")["due"][kind];
        due["pending"] = 7.into();
        due["overdue"] = json!({ "count": 7, "age_seconds": age });
    }
}

/// Changes the answers of the second look.
type Plant = fn(&mut Recorded);

/// Each fault, and the answers from which it is recognized.
const PLANTS: &[(&str, Plant)] = &[
    ("process_unreachable", |it| {
        let silent = Unanswered::Silent("connection refused".into());
        it.0.insert("/ops/process", Err(silent));
    }),
    ("access_refused", |it| {
        let refused = Unanswered::Refused("only with the token".into());
        it.0.insert("/ops/process", Err(refused));
    }),
    ("store_down", |it| {
        let store = "store_unavailable";
        it.without(0, store, &["/readyz", "/ops/backlog", "/ops/dead-letters"]);
    }),
    ("broker_down", |it| {
        it.without(
            1,
            "broker_unavailable",
            &["/readyz", "/ops/subscriptions", "/ops/topology"],
        );
    }),
    ("cache_down", |it| it.without(2, "cache_unavailable", &[])),
    ("not_ready", |it| {
        it.0.insert("/readyz", unavailable("not_ready"));
    }),
    ("clock_off", |it| {
        it.answer("/ops/process")["now"] = json!(time(60))
    }),
    ("disk_nearly_full", |it| {
        it.first("/ops/overload")["reading"] = (1 << 29).into()
    }),
    ("overloaded", |it| {
        it.answer("/ops/overload")["items"][1] =
            json!({ "resource": "memory", "level": 2, "reading": 91, "high": 85, "low": 75 });
    }),
    ("queue_without_consumer", |it| {
        it.first("/ops/queues")["consumers"] = 0.into()
    }),
    ("lag_growing", |it| {
        it.first("/ops/queues")["waiting"] = 40.into()
    }),
    ("rate_limited", |it| {
        it.first("/ops/queues")["limited"] = true.into();
        it.first("/ops/queues")["waiting"] = 40.into();
    }),
    ("subscription_paused", |it| {
        it.first("/ops/subscriptions")["state"] = "paused".into();
        it.first("/ops/queues")["consumers"] = 0.into();
        it.first("/ops/queues")["waiting"] = 40.into();
        it.due(2, 900);
    }),
    ("topology_wrong", |it| {
        it.answer("/ops/topology")["items"] = json!([{ "queue": "orders.checkout",
            "kind": "changed", "detail": "x-queue-type is classic", "waiting": 1 }]);
    }),
    ("queue_orphaned", |it| {
        it.answer("/ops/topology")["items"] =
            json!([{ "queue": "orders.old", "kind": "orphaned", "waiting": 4, "consumers": 0 }]);
    }),
    ("unroutable", |it| {
        it.answer("/ops/unroutable")["items"] =
            json!([{ "type": "mail.send.v1", "since": time(-60), "waiting": 2 }]);
    }),
    ("dead_letters", |it| {
        let letter = |id: u32| {
            json!({ "id": format!("{id}"), "subscription": "orders.checkout",
                "reason": "lost", "error": "a lost book" })
        };
        it.answer("/ops/dead-letters")["items"] = json!([letter(1), letter(2)]);
    }),
    ("parked_too_old", |it| it.due(2, 90)),
    ("work_overdue", |it| it.due(0, 90)),
    ("old_version_waiting", |it| it.due(3, 0)),
    ("outbox_stuck", |it| {
        it.first("/ops/backlog")["outbox"] = json!({ "count": 12, "age_seconds": 75 });
    }),
    ("breaker_open", |it| {
        it.first("/ops/breakers")["state"] = "open".into();
        it.due(1, 900);
    }),
    ("schedule_overdue", |it| {
        it.first("/ops/schedules")["next"] = json!(time(-120))
    }),
    ("schedule_paused", |it| {
        it.first("/ops/schedules")["state"] = "paused".into();
        it.first("/ops/schedules")["next"] = Value::Null;
    }),
    ("schedule_failed", |it| {
        it.first("/ops/schedules")["last"]["error"] = "no_report".into()
    }),
    ("rebuild_stuck", |it| {
        it.first("/ops/rebuilds")["state"] = "failing".into();
        it.first("/ops/rebuilds")["failure"] = "record 7 cannot be read".into();
    }),
    ("replay_stuck", |it| {
        it.first("/ops/replays")["state"] = "waiting".into()
    }),
    ("part_missing", |it| {
        it.0.remove("/ops/topology");
    }),
];

async fn found(before: &[Recorded], now: &[Recorded], wanted: &Wanted) -> Vec<Finding> {
    let look = async |all: &[Recorded]| {
        let all: Vec<&dyn Ask> = all.iter().map(|it| it as &dyn Ask).collect();
        Look::all(&all).await
    };
    examine(&look(before).await, &look(now).await, wanted)
}

fn names(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|it| it.fault.name).collect()
}

#[tokio::test]
async fn a_healthy_app_has_no_finding_and_exit_code_0() {
    let healthy = [Recorded::healthy()];
    let wanted = Wanted {
        replicas: vec![("orders".into(), 1)],
    };
    let findings = found(&healthy, &healthy, &wanted).await;
    assert_eq!(names(&findings), Vec::<&str>::new());
    assert_eq!(doctor::exit(&findings), Exit::Fine);
    assert_eq!(doctor::as_text(&findings), "Nothing is wrong.\n");
}

/// Each planted fault is named, and nothing else: what follows from it is not reported twice.
#[tokio::test]
async fn each_planted_fault_is_named_and_no_other() {
    for (name, plant) in PLANTS {
        let mut ill = Recorded::healthy();
        plant(&mut ill);
        let findings = found(&[Recorded::healthy()], &[ill], &Wanted::default()).await;
        assert_eq!(names(&findings), [*name]);
        assert_eq!(doctor::exit(&findings), Exit::Found, "{name}");
        let report = doctor::as_json(&findings)["findings"][0].clone();
        for field in ["code", "severity", "subject", "what", "meaning", "remedy"] {
            let text = report[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name}: {field}: {report}");
        }
    }
}

#[test]
fn every_fault_is_planted_or_has_a_test_of_its_own() {
    let planted: BTreeSet<&str> = PLANTS.iter().map(|(name, _)| *name).collect();
    let others = FAULTS
        .iter()
        .map(|it| it.name)
        .filter(|it| !planted.contains(it));
    assert_eq!(others.collect::<Vec<_>>(), ["replica_missing"]);
    assert!(planted.len() >= 20);
}

/// Operators read the list of faults in the documentation.
#[test]
fn the_documentation_lists_every_fault_with_its_severity() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for fault in FAULTS {
        let code = format!("`{}`", fault.name);
        let mut rows = page.lines().filter(|line| line.starts_with("| `"));
        let row = rows.find(|line| line.split('|').nth(1).is_some_and(|it| it.contains(&code)));
        let severity = row.and_then(|row| row.split('|').nth(2)).map(str::trim);
        assert_eq!(severity, Some(fault.severity.name()), "{code}");
    }
}

#[tokio::test]
async fn a_missing_replica_is_found_by_its_silence_or_by_the_number_that_is_wanted() {
    let healthy = Recorded::healthy();
    let mut silent = healthy.clone();
    silent
        .0
        .insert("/ops/process", Err(Unanswered::Silent("refused".into())));
    let two = [healthy.clone(), silent.clone()];
    let findings = found(&two, &two, &Wanted::default()).await;
    assert_eq!(names(&findings), ["replica_missing"]);
    let wanted = Wanted {
        replicas: vec![("orders".into(), 2)],
    };
    let one = [healthy];
    let findings = found(&one, &one, &wanted).await;
    assert_eq!(names(&findings), ["replica_missing"]);
    assert_eq!(findings[0].what, "1 of 2 processes are ready");
}

#[tokio::test]
async fn the_most_important_comes_first() {
    let mut ill = Recorded::healthy();
    for wanted in [
        "dead_letters",
        "schedule_paused",
        "overloaded",
        "unroutable",
    ] {
        let plant = PLANTS.iter().find(|(name, _)| *name == wanted);
        plant.expect("it is planted").1(&mut ill);
    }
    let findings = found(&[Recorded::healthy()], &[ill], &Wanted::default()).await;
    let expected = [
        "overloaded",
        "unroutable",
        "dead_letters",
        "schedule_paused",
    ];
    assert_eq!(names(&findings), expected);
    let severities = findings.iter().map(|it| it.severity);
    assert!(severities.is_sorted());
}

/// Thresholds: what is short, small or expected is no fault.
#[tokio::test]
async fn what_passes_by_itself_is_no_fault() {
    let harmless: [Plant; 5] = [
        |it| it.due(2, 20),
        |it| it.due(0, 20),
        |it| it.first("/ops/queues")["waiting"] = 9.into(),
        |it| it.answer("/ops/process")["now"] = json!(time(1)),
        |it| it.first("/ops/schedules")["next"] = json!(time(-5)),
    ];
    for (at, plant) in harmless.into_iter().enumerate() {
        let mut changed = Recorded::healthy();
        plant(&mut changed);
        let findings = found(&[Recorded::healthy()], &[changed], &Wanted::default()).await;
        assert_eq!(names(&findings), Vec::<&str>::new(), "{at}");
    }
}

#[tokio::test]
async fn replicas_that_see_one_fault_report_it_once() {
    let mut ill = Recorded::healthy();
    for wanted in [
        "dead_letters",
        "breaker_open",
        "queue_orphaned",
        "schedule_paused",
    ] {
        let plant = PLANTS.iter().find(|(name, _)| *name == wanted);
        plant.expect("it is planted").1(&mut ill);
    }
    let two = [ill.clone(), ill];
    let findings = found(&two, &two, &Wanted::default()).await;
    assert_eq!(findings.len(), 4, "{:?}", names(&findings));
    assert!(findings.iter().all(|it| it.severity != Severity::Note));
}
