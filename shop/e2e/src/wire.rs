//! A TCP proxy between services and a server: it hands everything on, until it is told to cut, delay or swallow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Handed on.
    Clear,
    /// Handed on late, by so many milliseconds each time.
    Late(u64),
    /// Swallowed in both directions; connections stay open.
    Swallowed,
    /// What the server says is swallowed; what it is told is not.
    Deaf,
    /// What the server is told is swallowed; what it says is not.
    Mute,
}

/// A proxy; dropped, it is gone, and its connections with it.
pub struct Wire {
    port: u16,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    carried: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// A proxy to a port of this machine.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (weather, now) = watch::channel(Weather::Clear);
        let (cuts, cut) = watch::channel(0);
        let carried = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&carried);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let mut cut = cut.clone();
                cut.mark_unchanged(); // Earlier cuts are not its business.
                tokio::spawn(connection(
                    client,
                    server,
                    now.clone(),
                    cut,
                    Arc::clone(&counted),
                ));
            }
        });
        Self {
            port,
            weather,
            cuts,
            carried,
            accepting,
        }
    }

    /// Where to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts all connections there are.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Bytes that it has carried.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn connection(
    client: TcpStream,
    server: u16,
    weather: watch::Receiver<Weather>,
    mut cut: watch::Receiver<u64>,
    carried: Arc<AtomicU64>,
) {
    let address = SocketAddr::from(([127, 0, 0, 1], server));
    let Ok(server) = TcpStream::connect(address).await else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = carry(
        from_client,
        to_server,
        weather.clone(),
        false,
        Arc::clone(&carried),
    );
    let back = carry(from_server, to_client, weather, true, carried);
    tokio::select! {
        biased;
        _ = cut.changed() => {}
        () = there => {}
        () = back => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    back: bool,
    carried: Arc<AtomicU64>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let now = *weather.borrow();
        match now {
            Weather::Clear => {}
            Weather::Late(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Weather::Swallowed => continue,
            Weather::Deaf if back => continue,
            Weather::Mute if !back => continue,
            Weather::Deaf | Weather::Mute => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
        carried.fetch_add(count as u64, Ordering::Relaxed);
    }
}
