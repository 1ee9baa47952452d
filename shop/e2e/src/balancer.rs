//! What stands before several gateways: each connection goes to one that says it is ready.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shop_client::Shop;
use shop_client::http::Call;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The pause between two looks who is ready.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A balancer of connections; dropped, it is gone, and its connections with it.
pub struct Balancer {
    port: u16,
    all: usize,
    ready: Arc<Ready>,
    _tasks: JoinSet<()>,
}

/// The ports of those who are ready.
#[derive(Default)]
struct Ready {
    ports: Mutex<Vec<u16>>,
    next: AtomicUsize,
}

impl Ready {
    fn ports(&self) -> MutexGuard<'_, Vec<u16>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who are ready, each in turn the first.
    fn turn(&self) -> Vec<u16> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut ports = self.ports().clone();
        if !ports.is_empty() {
            let first = turn % ports.len();
            ports.rotate_left(first);
        }
        ports
    }
}

impl Balancer {
    /// A balancer to these ports of this machine.
    pub async fn to(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ready = Arc::<Ready>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(look(ports.to_owned(), Arc::clone(&ready)));
        let balanced = Arc::clone(&ready);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, balanced.turn()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            all: ports.len(),
            ready,
            _tasks: tasks,
        }
    }

    /// Waits until it knows that all are ready.
    pub async fn ready(&self) {
        while self.ready.ports().len() < self.all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The shop behind it.
    #[must_use]
    pub fn shop(&self) -> Shop {
        Shop::at(&format!("http://127.0.0.1:{}", self.port)).unwrap()
    }
}

/// Keeps in mind who is ready.
async fn look(all: Vec<u16>, ready: Arc<Ready>) {
    loop {
        // All at once: one that is slow to tell must not make the others old news.
        let looks: JoinSet<Option<u16>> = all.iter().map(|port| is_ready(*port)).collect();
        let mut found: Vec<u16> = looks.join_all().await.into_iter().flatten().collect();
        found.sort_unstable();
        *ready.ports() = found;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The port, if who listens there says that it is ready.
async fn is_ready(port: u16) -> Option<u16> {
    let gateway = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    let answer = gateway.ask(&Call::get("/readyz")).await;
    answer
        .is_ok_and(|answer| answer.status == 200)
        .then_some(port)
}

/// Carries one connection to its end, with the first that takes it. Where nobody does, it is closed at once.
async fn connection(mut client: TcpStream, ready: Vec<u16>) {
    for port in ready {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if let Ok(mut gateway) = TcpStream::connect(address).await {
            drop((client.set_nodelay(true), gateway.set_nodelay(true)));
            drop(copy_bidirectional(&mut client, &mut gateway).await);
            return;
        }
    }
}
