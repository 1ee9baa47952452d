//! Free ports for servers and for programs under test.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// The ports to choose from. Linux uses ports from 32768 for outgoing connections; below that, no
/// connection takes the port of a server that is down.
const RANGE: Range<u16> = 12_000..32_000;

/// Returns a port of the loopback interface that is free now.
///
/// No two calls in a process return the same port. Other processes start at another, random port.
///
/// # Panics
///
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = fastrand::u16(RANGE);
    // The first call sets the start; later ones change nothing.
    let _ = NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
    let next = |port: u16| {
        if port + 1 < RANGE.end {
            port + 1
        } else {
            RANGE.start
        }
    };
    for _ in RANGE {
        let tried = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |port| {
                Some(next(port))
            })
            .expect("the closure never returns `None`");
        if TcpListener::bind(("127.0.0.1", tried)).is_ok() {
            return tried;
        }
    }
    panic!("no port of the loopback interface is free in {RANGE:?}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_returned_twice() {
        let ports: BTreeSet<u16> = (0..2000).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 2000);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn a_port_in_use_is_skipped() {
        // The other test binds ports at the same time, so one attempt may fail.
        let next = || TcpListener::bind(("127.0.0.1", free_port() + 1));
        let mine = (0..100)
            .find_map(|_| next().ok())
            .expect("one port can be bound");
        let taken = mine.local_addr().expect("the port is bound").port();
        assert!((0..10).all(|_| free_port() != taken));
    }
}
