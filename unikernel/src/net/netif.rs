//! The shared rings of a network interface (`io/ring.h`, `io/netif.h`): numbers and layouts, no behaviour.

/// `RING_IDX req_prod`: written by the front end.
pub const REQ_PROD: usize = 0;
/// `RING_IDX req_event`: written by the back end, which wants an event when `req_prod` reaches it.
pub const REQ_EVENT: usize = 4;
/// `RING_IDX rsp_prod`: written by the back end.
pub const RSP_PROD: usize = 8;
/// `RING_IDX rsp_event`: written by the front end.
pub const RSP_EVENT: usize = 12;
/// Where the slots begin.
pub const RING: usize = 64;
/// Slots of either ring: the largest power of two that fits in its page.
pub const SLOTS: u32 = 256;

/// The checksum field holds the sum of the pseudo header alone (`NETTXF_csum_blank`).
pub const NETTXF_CSUM_BLANK: u16 = 1;
/// The sender vouches for the data (`NETTXF_data_validated`).
pub const NETTXF_DATA_VALIDATED: u16 = 2;
/// The frame goes on in the next slot (`NETTXF_more_data`).
pub const NETTXF_MORE_DATA: u16 = 4;
/// The next slot is a [`netif_extra_info`] (`NETTXF_extra_info`).
pub const NETTXF_EXTRA_INFO: u16 = 8;

/// The data has been verified, or its sender is on the same host (`NETRXF_data_validated`).
pub const NETRXF_DATA_VALIDATED: u16 = 1;
/// The checksum field holds the sum of the pseudo header alone (`NETRXF_csum_blank`).
pub const NETRXF_CSUM_BLANK: u16 = 2;
/// The frame goes on in the next slot (`NETRXF_more_data`).
pub const NETRXF_MORE_DATA: u16 = 4;
/// The next slot is a [`netif_extra_info`] (`NETRXF_extra_info`).
pub const NETRXF_EXTRA_INFO: u16 = 8;

/// The slot held extra information, and has no id (`NETIF_RSP_NULL`).
pub const NETIF_RSP_NULL: i16 = 1;

/// The extra information tells how to segment the frame (`XEN_NETIF_EXTRA_TYPE_GSO`).
pub const XEN_NETIF_EXTRA_TYPE_GSO: u8 = 1;
/// Another extra slot follows (`XEN_NETIF_EXTRA_FLAG_MORE`).
pub const XEN_NETIF_EXTRA_FLAG_MORE: u8 = 1;
/// TCP over IPv4 (`XEN_NETIF_GSO_TYPE_TCPV4`).
pub const XEN_NETIF_GSO_TYPE_TCPV4: u8 = 1;

/// Slots of one frame that every back end takes (`XEN_NETIF_NR_SLOTS_MIN`), extra information not counted.
pub const XEN_NETIF_NR_SLOTS_MIN: usize = 18;

/// A part of a frame to send.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct netif_tx_request {
    /// The page.
    pub gref: u32,
    /// Where in it the part begins.
    pub offset: u16,
    /// `NETTXF_*`.
    pub flags: u16,
    /// Comes back in the response.
    pub id: u16,
    /// Bytes: of the whole frame in its first slot, of the part alone in the others.
    pub size: u16,
}

/// What became of a part that was sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct netif_tx_response {
    /// Of the request.
    pub id: u16,
    /// `NETIF_RSP_*`.
    pub status: i16,
}

/// A page to receive into.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct netif_rx_request {
    /// Comes back in the response.
    pub id: u16,
    /// Not used.
    pub pad: u16,
    /// The page.
    pub gref: u32,
}

/// A part of a frame that came.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct netif_rx_response {
    /// Of the request.
    pub id: u16,
    /// Where in the page the part begins.
    pub offset: u16,
    /// `NETRXF_*`.
    pub flags: u16,
    /// Bytes, or a negative `NETIF_RSP_*`.
    pub status: i16,
}

/// What is to be known about a frame beside its bytes; takes a slot of its own after the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct netif_extra_info {
    /// `XEN_NETIF_EXTRA_TYPE_*`.
    pub r#type: u8,
    /// `XEN_NETIF_EXTRA_FLAG_*`.
    pub flags: u8,
    /// For `XEN_NETIF_EXTRA_TYPE_GSO`: bytes of payload in each segment.
    pub gso_size: u16,
    /// `XEN_NETIF_GSO_TYPE_*`.
    pub gso_type: u8,
    /// Not used.
    pub pad: u8,
    /// Not used so far.
    pub gso_features: u16,
}

const _: () = {
    assert!(size_of::<netif_tx_request>() == 12);
    assert!(size_of::<netif_tx_response>() == 4);
    assert!(size_of::<netif_rx_request>() == 8);
    assert!(size_of::<netif_rx_response>() == 8);
    assert!(size_of::<netif_extra_info>() == 8);
    assert!(RING + SLOTS as usize * size_of::<netif_tx_request>() <= crate::xen_abi::PAGE_SIZE);
};

impl netif_tx_request {
    /// As it stands in the ring.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.gref.to_le_bytes());
        let rest = [self.offset, self.flags, self.id, self.size];
        for (place, field) in bytes[4..].chunks_exact_mut(2).zip(rest) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

impl netif_tx_response {
    /// From the ring.
    pub fn from_bytes([a, b, c, d]: [u8; 4]) -> Self {
        Self {
            id: u16::from_le_bytes([a, b]),
            status: i16::from_le_bytes([c, d]),
        }
    }
}

impl netif_rx_request {
    /// As it stands in the ring.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[4..].copy_from_slice(&self.gref.to_le_bytes());
        bytes
    }
}

impl netif_rx_response {
    /// From the ring.
    pub fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self {
            id: u16::from_le_bytes([a, b]),
            offset: u16::from_le_bytes([c, d]),
            flags: u16::from_le_bytes([e, f]),
            status: i16::from_le_bytes([g, h]),
        }
    }
}

impl netif_extra_info {
    /// As it stands in the ring.
    pub fn to_bytes(self) -> [u8; 8] {
        let [size_low, size_high] = self.gso_size.to_le_bytes();
        let [features_low, features_high] = self.gso_features.to_le_bytes();
        [
            self.r#type,
            self.flags,
            size_low,
            size_high,
            self.gso_type,
            self.pad,
            features_low,
            features_high,
        ]
    }

    /// From the ring.
    pub fn from_bytes([kind, flags, c, d, gso_type, pad, g, h]: [u8; 8]) -> Self {
        Self {
            r#type: kind,
            flags,
            gso_size: u16::from_le_bytes([c, d]),
            gso_type,
            pad,
            gso_features: u16::from_le_bytes([g, h]),
        }
    }
}
