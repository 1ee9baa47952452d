//! Ports for servers and for the programs under test.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux gives to outgoing connections (32768 and up): a port that is free while its owner
/// is down is not taken by somebody's connection meanwhile.
const RANGE: Range<u16> = 12_000..32_000;

/// A port of the loopback that is free now. No other call in this process gets the same, and calls in others
/// start from elsewhere.
///
/// # Panics
///
/// If all of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = fastrand::u16(RANGE);
    // Only the first call decides where to begin.
    let _ = NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
    let turn = |port: u16| {
        if port + 1 < RANGE.end {
            port + 1
        } else {
            RANGE.start
        }
    };
    for _ in RANGE {
        let tried = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |port| {
                Some(turn(port))
            })
            .expect("there is always a next one");
        if TcpListener::bind(("127.0.0.1", tried)).is_ok() {
            return tried;
        }
    }
    panic!("the loopback has no free port in {RANGE:?}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nobody_gets_the_same_port_twice() {
        let ports: BTreeSet<u16> = (0..2000).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 2000);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        // The other test binds ports as well.
        let next = || TcpListener::bind(("127.0.0.1", free_port() + 1));
        let mine = (0..100)
            .find_map(|_| next().ok())
            .expect("one of them is free");
        let taken = mine.local_addr().expect("it is bound").port();
        assert!((0..10).all(|_| free_port() != taken));
    }
}
