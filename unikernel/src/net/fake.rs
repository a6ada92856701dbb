//! A back end in ordinary memory, for the tests: it reads the rings from the other side, as netback does, and misbehaves on
//! request.

extern crate std;

use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::Ordering;

use super::buffers::Buffers;
use super::netif::*;
use super::ring::FrontRing;
use super::rx::Receiver;
use super::tx::{Segmentation, Transmitter};
use crate::memory::Shared;
use crate::xen_abi::PAGE_SIZE;

/// References of the pages to send from start here, those to receive into at [`RX_REFERENCES`].
const TX_REFERENCES: u32 = 1000;
const RX_REFERENCES: u32 = 2000;

/// A frame on its way, with what its slots said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub bytes: Vec<u8>,
    /// `NETTXF_*` of its first slot.
    pub flags: u16,
    pub segmentation: Option<Segmentation>,
    /// Ids of its slots; `None` for extra information.
    pub ids: Vec<Option<u16>>,
}

/// The memory that both sides share.
#[derive(Clone, Copy)]
struct Memory {
    pages: usize,
    tx: Shared,
    rx: Shared,
    tx_pages: Shared,
    rx_pages: Shared,
}

std::thread_local! {
    /// Memory of back ends that are gone: it is never given back, since views of it may live on, and a test makes thousands.
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

impl Memory {
    /// Zeroed.
    fn new(pages: usize) -> Self {
        let spare = SPARE.with_borrow_mut(|spare| {
            let place = spare.iter().position(|memory| memory.pages == pages)?;
            Some(spare.swap_remove(place))
        });
        let Some(memory) = spare else {
            return Self {
                pages,
                tx: Shared::leaked(1),
                rx: Shared::leaked(1),
                tx_pages: Shared::leaked(pages),
                rx_pages: Shared::leaked(pages),
            };
        };
        for view in [memory.tx, memory.rx, memory.tx_pages, memory.rx_pages] {
            let page = [0; PAGE_SIZE];
            (0..view.len() / PAGE_SIZE).for_each(|number| view.write(number * PAGE_SIZE, &page));
        }
        memory
    }
}

/// The back end's side.
pub struct Backend {
    memory: Memory,
    pub tx: Shared,
    pub rx: Shared,
    tx_pages: Shared,
    pub rx_pages: Shared,
    pub tx_req_cons: u32,
    pub tx_rsp_prod: u32,
    pub rx_req_cons: u32,
    pub rx_rsp_prod: u32,
    /// Events that the front end would have got.
    pub events: u32,
}

/// Both sides, with `pages` pages each way and all indexes at `index`.
pub fn connected(pages: usize, index: u32) -> (Backend, Transmitter, Receiver) {
    let memory = Memory::new(pages);
    let backend = Backend {
        memory,
        tx: memory.tx,
        rx: memory.rx,
        tx_pages: memory.tx_pages,
        rx_pages: memory.rx_pages,
        tx_req_cons: index,
        tx_rsp_prod: index,
        rx_req_cons: index,
        rx_rsp_prod: index,
        events: 0,
    };
    let references = |first: u32| (first..first + pages as u32).collect();
    let transmitter = Transmitter::on(
        FrontRing::starting_at(backend.tx, index),
        Buffers::new(backend.tx_pages, references(TX_REFERENCES)),
    );
    let receiver = Receiver::on(
        FrontRing::starting_at(backend.rx, index),
        Buffers::new(backend.rx_pages, references(RX_REFERENCES)),
    );
    (backend, transmitter, receiver)
}

impl Drop for Backend {
    fn drop(&mut self) {
        SPARE.with_borrow_mut(|spare| spare.push(self.memory));
    }
}

fn slot(index: u32, size: usize) -> usize {
    RING + (index % SLOTS) as usize * size
}

fn u16_at(page: &Shared, offset: usize) -> u16 {
    page.load_u16(offset, Ordering::Relaxed)
}

impl Backend {
    fn tx_request(&self, index: u32) -> netif_tx_request {
        let at = slot(index, 12);
        netif_tx_request {
            gref: self.tx.load_u32(at, Ordering::Relaxed),
            offset: u16_at(&self.tx, at + 4),
            flags: u16_at(&self.tx, at + 6),
            id: u16_at(&self.tx, at + 8),
            size: u16_at(&self.tx, at + 10),
        }
    }

    /// Requests to send that were published.
    pub fn tx_waiting(&self) -> u32 {
        let prod = self.tx.load_u32(REQ_PROD, Ordering::Acquire);
        prod.wrapping_sub(self.tx_req_cons)
    }

    /// Takes the next frame, as netback does: the first slot tells the whole size.
    pub fn take(&mut self) -> Option<Packet> {
        if self.tx_waiting() == 0 {
            return None;
        }
        let first = self.tx_request(self.tx_req_cons);
        self.tx_req_cons = self.tx_req_cons.wrapping_add(1);
        let mut ids = std::vec![Some(first.id)];
        let mut segmentation = None;
        if first.flags & NETTXF_EXTRA_INFO != 0 {
            let mut extra = [0; 8];
            self.tx.read(slot(self.tx_req_cons, 12), &mut extra);
            self.tx_req_cons = self.tx_req_cons.wrapping_add(1);
            let extra = netif_extra_info::from_bytes(extra);
            assert_eq!(extra.r#type, XEN_NETIF_EXTRA_TYPE_GSO);
            segmentation = Some(Segmentation {
                size: extra.gso_size,
                gso_type: extra.gso_type,
            });
            ids.push(None);
        }
        let mut requests = std::vec![first];
        while requests.last().unwrap().flags & NETTXF_MORE_DATA != 0 {
            let next = self.tx_request(self.tx_req_cons);
            self.tx_req_cons = self.tx_req_cons.wrapping_add(1);
            ids.push(Some(next.id));
            requests.push(next);
        }
        assert!(requests.len() <= XEN_NETIF_NR_SLOTS_MIN);
        let others: u16 = requests[1..].iter().map(|request| request.size).sum();
        requests[0].size -= others;
        let mut bytes = Vec::new();
        for request in requests {
            let mut part = std::vec![0; usize::from(request.size)];
            assert!(usize::from(request.offset) + part.len() <= PAGE_SIZE);
            let page = (request.gref - TX_REFERENCES) as usize;
            self.tx_pages
                .read(page * PAGE_SIZE + usize::from(request.offset), &mut part);
            bytes.extend(part);
        }
        Some(Packet {
            bytes,
            flags: first.flags,
            segmentation,
            ids,
        })
    }

    /// Answers one slot of a frame that was taken.
    pub fn answer_slot(&mut self, id: u16, status: i16) {
        let at = slot(self.tx_rsp_prod, 12);
        self.tx.store_u16(at, id, Ordering::Relaxed);
        self.tx.store_u16(at + 2, status as u16, Ordering::Relaxed);
        self.tx_rsp_prod = self.tx_rsp_prod.wrapping_add(1);
    }

    /// Answers all slots of a frame. For extra information the id says nothing, as with netback.
    pub fn answer(&mut self, packet: &Packet) {
        for id in &packet.ids {
            match id {
                Some(id) => self.answer_slot(*id, 0),
                None => self.answer_slot(0xffff, NETIF_RSP_NULL),
            }
        }
    }

    /// Shows the front end the responses to what it sent.
    pub fn publish_tx(&mut self) {
        Self::publish(&self.tx, self.tx_rsp_prod, &mut self.events);
    }

    /// Shows the front end what came for it.
    pub fn publish_rx(&mut self) {
        Self::publish(&self.rx, self.rx_rsp_prod, &mut self.events);
    }

    fn publish(page: &Shared, new: u32, events: &mut u32) {
        let old = page.load_u32(RSP_PROD, Ordering::Relaxed);
        page.store_u32(RSP_PROD, new, Ordering::SeqCst);
        let event = page.load_u32(RSP_EVENT, Ordering::SeqCst);
        if new.wrapping_sub(event) < new.wrapping_sub(old) {
            *events += 1;
        }
    }

    /// Before it sleeps: asks for an event at the next request of either ring.
    pub fn sleep(&self) {
        for (page, cons) in [(&self.tx, self.tx_req_cons), (&self.rx, self.rx_req_cons)] {
            page.store_u32(REQ_EVENT, cons.wrapping_add(1), Ordering::SeqCst);
        }
    }

    /// Pages that wait for frames.
    pub fn rx_room(&self) -> u32 {
        let prod = self.rx.load_u32(REQ_PROD, Ordering::Acquire);
        prod.wrapping_sub(self.rx_req_cons)
    }

    /// The next page that waits: its id and its place in the memory to receive into.
    fn rx_request(&mut self) -> (u16, usize) {
        let at = slot(self.rx_req_cons, 8);
        self.rx_req_cons = self.rx_req_cons.wrapping_add(1);
        let gref = self.rx.load_u32(at + 4, Ordering::Relaxed);
        let page = (gref - RX_REFERENCES) as usize;
        (u16_at(&self.rx, at), page * PAGE_SIZE)
    }

    /// Writes a response for the slot whose request was taken last but `back`.
    pub fn respond(&mut self, response: netif_rx_response) {
        let at = slot(self.rx_rsp_prod, 8);
        let fields = [
            response.id,
            response.offset,
            response.flags,
            response.status as u16,
        ];
        for (number, field) in fields.into_iter().enumerate() {
            self.rx.store_u16(at + number * 2, field, Ordering::Relaxed);
        }
        self.rx_rsp_prod = self.rx_rsp_prod.wrapping_add(1);
    }

    /// Delivers a frame in parts of the given lengths (the last takes the rest), the first at `offset`; `extra` puts extra
    /// information after its first slot. `false` when too few pages wait.
    pub fn deliver(
        &mut self,
        frame: &[u8],
        part_len: usize,
        offset: u16,
        flags: u16,
        extra: bool,
    ) -> bool {
        let part_len = part_len.clamp(1, PAGE_SIZE - usize::from(offset));
        let parts: Vec<&[u8]> = frame.chunks(part_len).collect();
        if self.rx_room() < (parts.len() + usize::from(extra)) as u32 {
            return false;
        }
        for (number, part) in parts.iter().enumerate() {
            let (id, place) = self.rx_request();
            self.rx_pages.write(place + usize::from(offset), part);
            let mut response = netif_rx_response {
                id,
                offset,
                flags: 0,
                status: part.len() as i16,
            };
            if number + 1 < parts.len() {
                response.flags |= NETRXF_MORE_DATA;
            }
            if number == 0 {
                response.flags |= flags;
                if extra {
                    response.flags |= NETRXF_EXTRA_INFO;
                }
            }
            self.respond(response);
            if number == 0 && extra {
                self.extra();
            }
        }
        true
    }

    fn extra(&mut self) {
        self.rx_request();
        let extra = netif_extra_info {
            r#type: XEN_NETIF_EXTRA_TYPE_GSO,
            gso_size: 1448,
            gso_type: XEN_NETIF_GSO_TYPE_TCPV4,
            ..netif_extra_info::default()
        };
        self.rx.write(slot(self.rx_rsp_prod, 8), &extra.to_bytes());
        self.rx_rsp_prod = self.rx_rsp_prod.wrapping_add(1);
    }

    /// Takes all frames that wait and answers them.
    pub fn take_all(&mut self) -> Vec<Packet> {
        let packets: Vec<Packet> = core::iter::from_fn(|| self.take()).collect();
        packets.iter().for_each(|packet| self.answer(packet));
        self.publish_tx();
        packets
    }

    /// Delivers what another front end sent, as a bridge would: a blank checksum stays blank. `false` when too few pages wait.
    #[cfg(test)]
    pub fn pass_on(&mut self, packet: &Packet) -> bool {
        let flags = match packet.flags & NETTXF_CSUM_BLANK {
            0 => 0,
            _ => NETRXF_CSUM_BLANK | NETRXF_DATA_VALIDATED,
        };
        let extra = packet.segmentation.is_some();
        let delivered = self.deliver(&packet.bytes, PAGE_SIZE, 0, flags, extra);
        self.publish_rx();
        delivered
    }
}
