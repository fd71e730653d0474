//! Ports that nobody uses.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range that systems take the ports of outgoing connections from: one of those must not get in the
/// way of a program that is restarted on its port.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free on every address, and that this process has not handed out before.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    // Processes that run at the same time start at different places.
    let place = u16::try_from(std::process::id().wrapping_mul(7_919) % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let port = FIRST + (place + next % COUNT) % COUNT;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT)
}
