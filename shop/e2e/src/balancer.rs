//! What stands before several gateways: each connection goes to one that says it is ready.

use std::collections::BTreeSet;
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

/// Which ports are ready.
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
    /// A balancer to these ports of this machine.
    pub async fn to(ports: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ready = Arc::<Ready>::default();
        let mut tasks = JoinSet::new();
        for port in ports {
            tasks.spawn(look(*port, Arc::clone(&ready)));
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

/// Keeps in mind whether who listens there is ready.
async fn look(port: u16, ready: Arc<Ready>) {
    let gateway = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
    loop {
        let answer = gateway.ask(&Call::get("/readyz")).await;
        if answer.is_ok_and(|answer| answer.status == 200) {
            ready.ports().insert(port);
        } else {
            ready.ports().remove(&port);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Carries one connection to its end.
async fn connection(mut client: TcpStream, to: Option<u16>) {
    let Some(port) = to else {
        return; // Nobody is ready: it is closed at once.
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if let Ok(mut gateway) = TcpStream::connect(address).await {
        drop((client.set_nodelay(true), gateway.set_nodelay(true)));
        drop(copy_bidirectional(&mut client, &mut gateway).await);
    }
}
