//! A load balancer in front of several gateways.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shop_client::Shop;
use shop_client::http::{Call, Limits};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wait::{BOUND, check, until};

/// The pause between two health checks.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// A balancer of connections. Each goes to one of the ports that said last that they are ready.
/// Dropping it closes its port and its connections.
pub struct Balancer {
    port: u16,
    ready: Arc<Ready>,
    _tasks: JoinSet<()>,
}

/// The ports that are ready.
#[derive(Default)]
struct Ready {
    ports: Mutex<BTreeSet<u16>>,
    next: AtomicUsize,
}

impl Ready {
    fn ports(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<u16> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let ports = self.ports();
        let place = turn.checked_rem(ports.len())?;
        ports.iter().nth(place).copied()
    }
}

impl Balancer {
    /// Starts a balancer for these ports of this machine.
    pub async fn to(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ready = Arc::<Ready>::default();
        let mut tasks = JoinSet::new();
        for port in ports {
            tasks.spawn(watch(*port, Arc::clone(&ready)));
        }
        let balanced = Arc::clone(&ready);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, balanced.next()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            ready,
            _tasks: tasks,
        }
    }

    /// Waits until it sends connections to this port, or to this port no more.
    pub async fn sends_to(&self, port: u16, sends: bool) {
        until("the balancer notices", async || {
            let ports = self.ready.ports().clone();
            check(ports.contains(&port) == sends, format_args!("{ports:?}"))
        })
        .await;
    }

    /// Returns whether the process at this port said last that it is ready.
    #[must_use]
    pub fn is_ready(&self, port: u16) -> bool {
        self.ready.ports().contains(&port)
    }

    /// The shop behind it. On a busy machine an answer may take its time: the time limits of the
    /// gateway decide.
    #[must_use]
    pub fn shop(&self) -> Shop {
        let limits = Limits {
            request: BOUND,
            ..Limits::default()
        };
        Shop::with_limits(&format!("http://127.0.0.1:{}", self.port), limits).unwrap()
    }
}

/// Remembers whether the gateway at this port is ready.
async fn watch(port: u16, ready: Arc<Ready>) {
    let gateway = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    loop {
        let answer = gateway.ask(&Call::get("/readyz")).await;
        if answer.is_ok_and(|answer| answer.status == 200) {
            ready.ports().insert(port);
        } else {
            ready.ports().remove(&port);
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Carries one connection to its end. Without a gateway that is ready, it is closed at once.
async fn connection(mut client: TcpStream, to: Option<u16>) {
    let Some(port) = to else {
        return;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if let Ok(mut gateway) = TcpStream::connect(address).await {
        drop((client.set_nodelay(true), gateway.set_nodelay(true)));
        drop(copy_bidirectional(&mut client, &mut gateway).await);
    }
}
