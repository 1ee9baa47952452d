//! Readiness of a program, on adapters of its own.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process: its sockets and its clock are the machine's"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use wingbeat::run::{Process, Program, Roles, RunError, open_on};
use wingbeat::test::{Model, Outages};
use wingbeat::{App, Ports, Result, Service, Settings, TokioRuntime};

use crate::found::Nowhere;
use crate::operator::Client;

#[derive(Default)]
struct Lighthouse {
    /// Notified when the start has begun.
    begun: Arc<Notify>,
    /// The start waits for it, if there is one.
    gate: Option<Arc<Notify>>,
}

impl Program for Lighthouse {
    type Own = ();
    type State = ();

    fn name(&self) -> &'static str {
        "lighthouse"
    }

    fn about(&self) -> &'static str {
        "Shines"
    }

    fn services(&self, _: &Settings) -> Vec<&'static str> {
        vec!["lamp"]
    }

    async fn begin(&self, _: &Settings, _: &Roles, _: &Ports) -> Result<(), RunError> {
        self.begun.notify_one();
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        Ok(())
    }

    fn system(&self, _: &Settings, _: &Roles, (): &()) -> App {
        App::new().service(Service::new("lamp"))
    }
}

async fn start(model: &Model) -> Process<Lighthouse> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    start_at(any, Lighthouse::default(), model).await
}

async fn start_at(at: SocketAddr, program: Lighthouse, model: &Model) -> Process<Lighthouse> {
    let ports = Ports {
        runtime: TokioRuntime::new(),
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: Arc::new(Nowhere),
    };
    let mut settings = Settings::default();
    settings.listen = at;
    settings.ops_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let roles = Roles {
        services: ["lamp"].into(),
        others: [].into(),
        whole: true,
    };
    let opened = open_on(program, settings, roles, ports).await;
    opened.expect("it starts")
}

/// A gateway tries another replica when a connection is refused. A connection that is accepted
/// makes its request wait until the process has started.
#[tokio::test]
async fn a_process_refuses_connections_until_it_can_answer() {
    let model = Model::new(TokioRuntime::new());
    let (begun, gate) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let program = Lighthouse {
        begun: Arc::clone(&begun),
        gate: Some(Arc::clone(&gate)),
    };
    let at = SocketAddr::from(([127, 0, 0, 1], wingbeat_servers::free_port()));
    let starting = start_at(at, program, &model);
    let asking = async {
        begun.notified().await;
        let refused = TcpStream::connect(at).await.err().map(|why| why.kind());
        gate.notify_one();
        refused
    };
    let (process, refused) = tokio::join!(starting, asking);
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(process.address, at);
    until(&Client::near(at), 200, "unavailable", Value::Null).await;
    process.close().await;
}

/// Waits until `/readyz` answers with this status, and this value under `field`.
async fn until(client: &Client, status: u16, field: &str, wanted: Value) {
    let begun = Instant::now();
    loop {
        let (found, text) = client.text("GET", "/readyz", "").await;
        let body: Value = serde_json::from_str(&text).expect("JSON");
        if found == status && body[field] == wanted {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{found} {text} instead of {status} {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn readyz_follows_the_availability_of_store_broker_and_cache() {
    let model = Model::new(TokioRuntime::new());
    let process = start(&model).await;
    let client = Client::near(process.address);
    let ready = async || until(&client, 200, "unavailable", Value::Null).await;
    ready().await;

    let up = Outages::default();
    let outages = [
        (Outages { store: true, ..up }, "store_unavailable"),
        (Outages { broker: true, ..up }, "broker_unavailable"),
        (
            Outages {
                broker_blocked: true,
                ..up
            },
            "broker_blocked",
        ),
    ];
    for (outage, code) in outages {
        model.set_outages(outage);
        until(&client, 503, "code", json!(code)).await;
        assert!(!process.readiness.is_ready());
        model.set_outages(up);
        ready().await;
    }

    // Every reader of the cache works without it.
    model.set_outages(Outages { cache: true, ..up });
    until(&client, 200, "unavailable", json!(["cache"])).await;
    model.set_outages(up);
    ready().await;
    process.close().await;
}
