//! The [`Transport`] of a domain: the xenstore page (`xenstore_domain_interface` of `io/xs_wire.h`) and its event channel.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use super::{Transport, TransportError};
use crate::events::Port;
use crate::memory::Shared;
use crate::xen_abi::xenstore_domain_interface as xs;

/// The two rings of the page. Our own indexes are kept here and only told to the other side.
pub struct XenstorePage {
    page: Shared,
    port: Port,
    req_prod: Cell<u32>,
    rsp_cons: Cell<u32>,
    seen: Cell<u64>,
}

const CORRUPT: TransportError = TransportError("xenstored's ring index is out of range");

impl XenstorePage {
    /// Takes over the page where the toolstack left it: the indexes need not start at 0.
    pub fn new(page: Shared, port: Port) -> Self {
        Self {
            req_prod: Cell::new(page.load_u32(xs::REQ_PROD, Ordering::Relaxed)),
            rsp_cons: Cell::new(page.load_u32(xs::RSP_CONS, Ordering::Relaxed)),
            page,
            port,
            seen: Cell::new(0),
        }
    }
}

impl Transport for XenstorePage {
    fn try_read(&self, out: &mut [u8]) -> Result<usize, TransportError> {
        let cons = self.rsp_cons.get();
        // Acquire: xenstored has written the bytes before its index covers them.
        let prod = self.page.load_u32(xs::RSP_PROD, Ordering::Acquire);
        let ready = prod.wrapping_sub(cons) as usize;
        if ready > xs::RING_SIZE {
            return Err(CORRUPT);
        }
        let position = cons as usize % xs::RING_SIZE;
        let count = ready.min(out.len()).min(xs::RING_SIZE - position);
        let (out, _) = out.split_at_mut(count);
        self.page.read(xs::RSP + position, out);
        self.rsp_cons.set(cons.wrapping_add(count as u32));
        // Release: the bytes are read before their room is free.
        self.page
            .store_u32(xs::RSP_CONS, self.rsp_cons.get(), Ordering::Release);
        Ok(count)
    }

    fn try_write(&self, data: &[u8]) -> Result<usize, TransportError> {
        let prod = self.req_prod.get();
        // Acquire: xenstored has read the bytes before it frees their room.
        let cons = self.page.load_u32(xs::REQ_CONS, Ordering::Acquire);
        let unread = prod.wrapping_sub(cons) as usize;
        if unread > xs::RING_SIZE {
            return Err(CORRUPT);
        }
        let position = prod as usize % xs::RING_SIZE;
        let count = data
            .len()
            .min(xs::RING_SIZE - unread)
            .min(xs::RING_SIZE - position);
        let (data, _) = data.split_at(count);
        self.page.write(xs::REQ + position, data);
        self.req_prod.set(prod.wrapping_add(count as u32));
        // Release: the bytes are in the ring before the index covers them.
        self.page
            .store_u32(xs::REQ_PROD, self.req_prod.get(), Ordering::Release);
        Ok(count)
    }

    fn notify(&self) {
        self.port.notify();
    }

    async fn wait(&self) {
        self.port.wait(self.seen.get()).await;
        self.seen.set(self.port.event_count());
    }
}
