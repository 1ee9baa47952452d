//! A TCP proxy between services and a server that can cut, delay and swallow what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::background;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// The treatment of the bytes that a proxy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Forwards them at once.
    Everything,
    /// Forwards them after so many milliseconds.
    Delayed(u64),
    /// Discards them in both directions; connections stay open.
    Nothing,
    /// Discards the server's bytes and forwards the clients'.
    OnlyToServer,
    /// Discards the clients' bytes and forwards the server's.
    OnlyToClients,
}

/// A proxy. Dropping it closes its port and its connections.
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    forwarding: watch::Sender<Forwarding>,
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

/// The settings that each connection of a proxy follows.
#[derive(Clone)]
struct Line {
    server: Arc<AtomicU16>,
    forwarding: watch::Receiver<Forwarding>,
    cuts: watch::Receiver<u64>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub async fn to(server: u16) -> Self {
        let (forwarding, now) = watch::channel(Forwarding::Everything);
        let (cuts, cut) = watch::channel(0);
        let server = Arc::new(AtomicU16::new(server));
        let line = Line {
            server: Arc::clone(&server),
            forwarding: now,
            cuts: cut,
        };
        let (port, accepting) = background::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            (port, tokio::spawn(accept(listener, line)))
        })
        .await;
        Self {
            port,
            server,
            forwarding,
            cuts,
            accepting,
        }
    }

    /// The port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens to the bytes of open and for new connections.
    pub fn set(&self, forwarding: Forwarding) {
        self.forwarding.send_replace(forwarding);
    }

    /// Leads to another port of this machine, and closes all open connections.
    pub fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
        self.cut();
    }

    /// Closes all open connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, line: Line) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let mut line = line.clone();
        line.cuts.mark_unchanged(); // Earlier cuts do not concern this connection.
        tokio::spawn(connection(client, line));
    }
}

async fn connection(client: TcpStream, mut line: Line) {
    let address = SocketAddr::from(([127, 0, 0, 1], line.server.load(Ordering::SeqCst)));
    let Ok(server) = TcpStream::connect(address).await else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = carry(from_client, to_server, line.clone(), false);
    let back = carry(from_server, to_client, line.clone(), true);
    tokio::select! {
        biased;
        _ = line.cuts.changed() => {}
        () = there => {}
        () = back => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Line, back: bool) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let now = *line.forwarding.borrow();
        match now {
            Forwarding::Everything => {}
            Forwarding::Delayed(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Forwarding::Nothing => continue,
            Forwarding::OnlyToServer if back => continue,
            Forwarding::OnlyToClients if !back => continue,
            Forwarding::OnlyToServer | Forwarding::OnlyToClients => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
