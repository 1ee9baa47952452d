//! A TCP proxy that records what crosses it, and that leads to another server on request.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A proxy for a server of this machine. It ends with its value; open connections do not.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: AtomicU16,
    /// Connections of an earlier generation forward nothing.
    generation: AtomicU32,
    ended: AtomicBool,
    recorded: Mutex<Vec<u8>>,
    fault: Mutex<Option<(Vec<u8>, Fault)>>,
    /// Notified when `fault` changes.
    fault_changed: Condvar,
    faults: AtomicUsize,
}

/// A fault of single connections; see [`Proxy::break_on`].
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection is closed.
    Close,
    /// The connection stays open, and the receiver gets nothing more.
    Silence,
    /// The connection stops in this direction until the next change of the fault.
    Hold,
}

impl Proxy {
    /// Starts a proxy for the server at a port.
    ///
    /// # Panics
    ///
    /// If no port is free.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("the port is bound").port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
            generation: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            recorded: Mutex::default(),
            fault: Mutex::default(),
            fault_changed: Condvar::new(),
            faults: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                // A server that is down resets the client's connection.
                let _ = forward(&accepting, client);
            }
        });
        Self { port, shared }
    }

    /// Returns the port of the proxy.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the number of bytes that were recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        let recorded = &self.shared.recorded;
        let recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.len()
    }

    /// Returns whether the bytes crossed the proxy in one direction, in one connection.
    #[must_use]
    pub fn has_seen(&self, bytes: &[u8]) -> bool {
        let recorded = &self.shared.recorded;
        let recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.windows(bytes.len()).any(|found| found == bytes)
    }

    /// Leads new connections to the server at another port. The old ones stay open and silent, like
    /// those to a machine that was lost.
    pub fn lead_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Breaks each connection over which these bytes are sent, at most 256, until
    /// [`repair`](Self::repair).
    pub fn break_on(&self, bytes: &[u8], fault: Fault) {
        *self.shared.fault() = Some((bytes.to_owned(), fault));
        self.shared.fault_changed.notify_all();
    }

    /// Breaks no further connections.
    pub fn repair(&self) {
        *self.shared.fault() = None;
        self.shared.fault_changed.notify_all();
    }

    /// Returns the number of connections that were broken.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Option<(Vec<u8>, Fault)>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fault that the bytes cause, if any. The first `known` of them were there before.
    /// Waits for the end of [`Fault::Hold`].
    fn fault_on(&self, sent: &[u8], known: usize) -> Option<Fault> {
        let fault = self.fault();
        let (bytes, kind) = fault.clone()?;
        let sent = &sent[(known + 1).saturating_sub(bytes.len())..];
        if !sent.windows(bytes.len()).any(|found| found == bytes) {
            return None;
        }
        self.faults.fetch_add(1, Ordering::SeqCst);
        if matches!(kind, Fault::Hold) {
            let is_same = |it: &mut Option<(Vec<u8>, Fault)>| {
                it.as_ref().is_some_and(|(held, _)| *held == bytes)
            };
            drop(self.fault_changed.wait_while(fault, is_same));
        }
        Some(kind)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // Wakes the listener.
    }
}

fn forward(shared: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
    let target = shared.target.load(Ordering::SeqCst);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || pump(&shared, from, to));
    }
    Ok(())
}

/// Forwards one direction of a connection.
fn pump(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let generation = shared.generation.load(Ordering::SeqCst);
    let (mut buffer, mut rest, mut is_silent) = ([0; 16 << 10], Vec::new(), false);
    while let Ok(count) = from.read(&mut buffer) {
        let is_current = !is_silent && shared.generation.load(Ordering::SeqCst) == generation;
        if !is_current && count > 0 {
            continue;
        }
        if is_current {
            match record(shared, &mut rest, &buffer[..count]) {
                None | Some(Fault::Hold) => {}
                Some(Fault::Close) => {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    break;
                }
                Some(Fault::Silence) => {
                    is_silent = true;
                    continue;
                }
            }
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The number of bytes before a chunk that are recorded with it again.
const OVERLAP: usize = 256;

/// Records a chunk after the end of the chunk before, so that what spans both is found. Returns the
/// fault that it causes.
fn record(shared: &Shared, rest: &mut Vec<u8>, chunk: &[u8]) -> Option<Fault> {
    let known = rest.len();
    rest.extend_from_slice(chunk);
    let fault = shared.fault_on(rest, known);
    let mut recorded = shared
        .recorded
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    recorded.extend_from_slice(rest);
    recorded.push(0);
    let start = rest.len().saturating_sub(OVERLAP);
    rest.drain(..start);
    fault
}
