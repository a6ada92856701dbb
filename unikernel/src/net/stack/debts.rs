//! What peers owe: acknowledgements, and the end of a connection that its owner has dropped.
//!
//! smoltcp gives a connection up when its peer is silent. A peer that answers, but never opens its window again, is not silent, and
//! would keep a connection and its buffers for ever.

use alloc::vec::Vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};

/// One connection's account.
#[derive(Debug)]
struct Debt {
    connection: SocketHandle,
    /// How long the peer may owe without paying anything.
    patience: Duration,
    /// Nobody holds the connection any more: the peer owes its end.
    farewell: bool,
    /// Bytes that were written. Wraps.
    written: usize,
    /// Bytes that were acknowledged, when we looked last.
    acknowledged: usize,
    /// When the peer began to owe, or paid something last; `None` while it owes nothing.
    since: Option<Instant>,
}

/// The accounts of all connections whose peers have to keep a deadline.
#[derive(Debug, Default)]
pub(super) struct Debts(Vec<Debt>);

impl Debts {
    /// Opens the account of a connection.
    pub(super) fn open(&mut self, connection: SocketHandle, patience: Duration) {
        self.0.push(Debt {
            connection,
            patience,
            farewell: false,
            written: 0,
            acknowledged: 0,
            since: None,
        });
    }

    /// Counts what was written on a connection.
    pub(super) fn write(&mut self, connection: SocketHandle, count: usize) {
        let known = self.0.iter_mut().find(|it| it.connection == connection);
        if let Some(debt) = known {
            debt.written = debt.written.wrapping_add(count);
        }
    }

    /// The owner of a connection has dropped it: from now on its peer has `patience`.
    pub(super) fn bid_farewell(&mut self, connection: SocketHandle, patience: Duration) {
        let index = self.0.iter().position(|it| it.connection == connection);
        let index = index.unwrap_or_else(|| {
            self.open(connection, patience);
            self.0.len() - 1
        });
        if let Some(debt) = self.0.get_mut(index) {
            (debt.patience, debt.farewell, debt.since) = (patience, true, None);
        }
    }

    /// Closes the account of a connection that has ended.
    pub(super) fn close(&mut self, connection: SocketHandle) {
        self.0.retain(|it| it.connection != connection);
    }

    /// Looks at what was paid, and breaks off what was owed for too long.
    pub(super) fn collect(&mut self, sockets: &mut SocketSet<'static>, now: Instant) {
        for debt in &mut self.0 {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(debt.connection);
            let acknowledged = debt.written.wrapping_sub(socket.send_queue());
            let owes = debt.farewell || socket.send_queue() > 0;
            if !owes || socket.state() == tcp::State::Closed {
                debt.since = None;
            } else if debt.since.is_none() || acknowledged != debt.acknowledged {
                debt.since = Some(now);
            }
            debt.acknowledged = acknowledged;
            if debt.since.is_some_and(|since| since + debt.patience <= now) {
                debt.since = None;
                socket.abort();
            }
        }
    }

    /// When a debt becomes too old next.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        let due = |debt: &Debt| Some(debt.since? + debt.patience);
        self.0.iter().filter_map(due).min()
    }
}
