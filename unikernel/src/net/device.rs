//! The interface as smoltcp sees it: both rings, and private copies of the frames on their way. Pure.

use alloc::vec;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};

use smoltcp::phy::{
    Device, DeviceCapabilities, Medium, PacketMeta, RxToken, SegmentationCapabilities, TxToken,
};
use smoltcp::time::{Duration, Instant};

use super::netif::XEN_NETIF_GSO_TYPE_TCPV4;
use super::offload::{self, ChecksumOffload};
use super::pace::Pace;
use super::ring::Violation;
use super::rx::Receiver;
use super::tx::{FRAME_MAX, Segmentation, Transmitter};
use crate::xen_abi::PAGE_SIZE;

/// `struct ethhdr`.
const ETHERNET_HEADER: usize = 14;
/// As much of a frame to send as headers can take. It is zeroed, so that no byte of an earlier frame stays between them.
const HEADERS: usize = 128;
/// Advertisements that are kept between two polls.
const ADVERTISEMENTS_MAX: usize = 4;
/// The longest frame that a back end hands over: 64 KiB, an Ethernet header, a VLAN tag.
const RECEIVED_MAX: usize = (64 << 10) + ETHERNET_HEADER + 4;

/// Questions to a DHCP server: of its own accord smoltcp waits, but a server that takes back what it has offered, or leases for no
/// time, is asked again at once, for ever. A question that is not sent is one without an answer.
const DHCP_QUESTIONS: Pace = Pace::new(8, Duration::from_secs(5));

/// What the back end can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Frames of several slots.
    pub sg: bool,
    /// Blank checksums that it takes.
    pub checksum: ChecksumOffload,
    /// It cuts long segments of TCP over IPv4. Over IPv6 smoltcp 0.14 drops what is longer than the MTU before any device
    /// sees it, so that it is not told of a back end that could cut it.
    pub gso_tcpv4: bool,
}

/// What was counted, both rings together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that were not sent: too long, too many questions to a DHCP server, or the back end failed.
    pub tx_dropped: u64,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames received with a wrong checksum.
    pub rx_checksum: u64,
    /// Frames received that were empty, too long, or marked as failed.
    pub rx_dropped: u64,
}

/// A connected interface.
#[derive(Debug)]
pub struct NetDevice {
    sending: Sending,
    receiver: Receiver,
    features: Features,
    mtu: u16,
    received: Vec<u8>,
    /// Frames that smoltcp has no use for and SLAAC may have.
    advertisements: Vec<Vec<u8>>,
    violation: Option<Violation>,
    bad_checksums: u64,
}

#[derive(Debug)]
struct Sending {
    transmitter: Transmitter,
    checksum: ChecksumOffload,
    scratch: Vec<u8>,
    /// A frame waits for room.
    starved: bool,
    dropped: u64,
    dhcp_questions: Pace,
    /// When smoltcp asked last for something to send with.
    now: Instant,
}

impl NetDevice {
    /// An interface over two rings; `mtu` counts no Ethernet header.
    pub fn new(transmitter: Transmitter, receiver: Receiver, features: Features, mtu: u16) -> Self {
        Self {
            sending: Sending {
                transmitter,
                checksum: features.checksum,
                scratch: Vec::new(),
                starved: false,
                dropped: 0,
                dhcp_questions: DHCP_QUESTIONS,
                now: Instant::ZERO,
            },
            receiver,
            features,
            // Without several slots a frame is a page at most.
            mtu: if features.sg {
                mtu.min((FRAME_MAX - ETHERNET_HEADER) as u16)
            } else {
                mtu.min((PAGE_SIZE - ETHERNET_HEADER) as u16)
            },
            received: vec![0; RECEIVED_MAX],
            advertisements: Vec::new(),
            violation: None,
            bad_checksums: 0,
        }
    }

    /// What the back end did that the protocol does not allow. Nothing is sent or received any more then.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Shows the back end what was sent, and the pages that wait; whether it wants an event for that.
    #[must_use = "a back end that sleeps waits for the event"]
    pub fn publish(&mut self) -> bool {
        // Both, whatever the first one says.
        self.sending.transmitter.publish() | self.receiver.publish()
    }

    /// Asks for the events that the next poll waits for; whether something is there already.
    #[must_use = "who sleeps in spite of news may sleep for ever"]
    pub fn arm(&mut self) -> bool {
        let received = self.receiver.arm();
        let sent = match self.sending.starved {
            true => self.sending.transmitter.arm(),
            false => Ok(false),
        };
        self.note(received).unwrap_or(false) | self.note(sent).unwrap_or(false)
    }

    /// Sends a frame that did not come from smoltcp, if there is room.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.has_room() {
            Slot::new(&mut self.sending).consume(bytes.len(), |frame| frame.copy_from_slice(bytes));
        }
    }

    /// The routers' advertisements since the last call.
    pub fn take_advertisements(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.advertisements)
    }

    /// Whether a frame waits for room.
    pub fn is_starved(&self) -> bool {
        self.sending.starved
    }

    /// What was counted.
    pub fn counters(&self) -> DeviceCounters {
        let tx = self.sending.transmitter.counters();
        let rx = self.receiver.counters();
        DeviceCounters {
            tx_frames: tx.frames,
            tx_bytes: tx.bytes,
            tx_dropped: tx.failed + self.sending.dropped,
            rx_frames: rx.frames,
            rx_bytes: rx.bytes,
            rx_checksum: self.bad_checksums,
            rx_dropped: rx.failed + rx.misfits,
        }
    }

    /// Keeps the first violation.
    fn note<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(violation) => {
                self.violation.get_or_insert(violation);
                None
            }
        }
    }

    /// Whether a frame of the longest kind that smoltcp may send can be sent.
    fn has_room(&mut self) -> bool {
        let longest = match self.features.gso_tcpv4 {
            true => FRAME_MAX,
            false => usize::from(self.mtu) + ETHERNET_HEADER,
        };
        if self.violation.is_some() {
            return false;
        }
        if !self.sending.transmitter.has_room(longest) {
            let reclaimed = self.sending.transmitter.reclaim();
            self.note(reclaimed);
            self.sending.starved = !self.sending.transmitter.has_room(longest);
        }
        !self.sending.starved && self.violation.is_none()
    }

    /// The next frame whose checksum is right; its length.
    fn next_frame(&mut self) -> Option<usize> {
        loop {
            let received = self.receiver.receive(&mut self.received);
            let frame = self.note(received)??;
            let bytes = self.received.get(..frame.len)?;
            if !frame.vouched && !offload::verify(bytes) {
                self.bad_checksums += 1;
                continue;
            }
            if offload::may_be_advertisement(bytes)
                && self.advertisements.len() < ADVERTISEMENTS_MAX
            {
                self.advertisements.push(bytes.to_vec());
            }
            return Some(frame.len);
        }
    }
}

impl Device for NetDevice {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Frame<'_>, Slot<'_>)> {
        self.sending.now = now;
        // smoltcp may answer, so a frame waits where it is until there is room for an answer.
        if !self.has_room() {
            return None;
        }
        let len = self.next_frame()?;
        let bytes = self.received.get(..len)?;
        Some((Frame { bytes }, Slot::new(&mut self.sending)))
    }

    fn transmit(&mut self, now: Instant) -> Option<Slot<'_>> {
        self.sending.now = now;
        self.has_room().then(|| Slot::new(&mut self.sending))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.mtu) + ETHERNET_HEADER;
        capabilities.checksum = offload::capabilities();
        let mut segmentation = SegmentationCapabilities::default();
        // A long segment goes with a blank checksum.
        segmentation.tcpv4 = (self.features.gso_tcpv4 && self.features.checksum.ipv4)
            .then_some(NonZeroUsize::new(FRAME_MAX))
            .flatten();
        capabilities.segmentation = segmentation;
        capabilities
    }
}

/// A frame that came.
pub struct Frame<'a> {
    bytes: &'a [u8],
}

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.bytes)
    }
}

/// Room for a frame to send.
pub struct Slot<'a> {
    sending: &'a mut Sending,
    segment: Option<NonZeroU16>,
}

impl<'a> Slot<'a> {
    fn new(sending: &'a mut Sending) -> Self {
        Self {
            sending,
            segment: None,
        }
    }
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Sending {
            transmitter,
            checksum,
            scratch,
            dropped,
            dhcp_questions,
            now,
            ..
        } = self.sending;
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        let (frame, _) = scratch.split_at_mut(len);
        frame[..len.min(HEADERS)].fill(0);
        let result = f(frame);
        let flags = offload::finish(frame, *checksum);
        let segmentation = self.segment.map(|size| Segmentation {
            size: size.get(),
            gso_type: XEN_NETIF_GSO_TYPE_TCPV4,
        });
        let too_many = offload::is_dhcp_question(frame) && !dhcp_questions.allows(*now);
        if too_many || !transmitter.send(frame, flags, segmentation) {
            *dropped += 1;
        }
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}
