//! The control page, byte for byte: `struct vchan_interface` of Xen's `public/io/libxenvchan.h`.
//!
//! Names are the header's. *Left* is the ring that the client fills and the server reads, *right* the other one. All
//! values are little endian. The constants are offsets in bytes into the control page.

use thiserror::Error;

/// Size of a page, of the control page and of everything that is granted.
pub const PAGE_SIZE: usize = 4096;

/// `left.cons`, u32, stored by the server: how far it has read the left ring.
pub const LEFT_CONS: usize = 0;
/// `left.prod`, u32, stored by the client: how far it has filled the left ring.
pub const LEFT_PROD: usize = 4;
/// `right.cons`, u32, stored by the client: how far it has read the right ring.
pub const RIGHT_CONS: usize = 8;
/// `right.prod`, u32, stored by the server: how far it has filled the right ring.
pub const RIGHT_PROD: usize = 12;
/// `left_order`, u16, stored once by the server: the left ring holds 2^order bytes.
pub const LEFT_ORDER: usize = 16;
/// `right_order`, u16, stored once by the server: the right ring holds 2^order bytes.
pub const RIGHT_ORDER: usize = 18;
/// `cli_live`, u8: [`LIVE_WAITING`] by the server at first, then the client's [`LIVE_OPEN`] and [`LIVE_CLOSED`].
pub const CLI_LIVE: usize = 20;
/// `srv_live`, u8: the server's [`LIVE_OPEN`] or [`LIVE_CLOSED`].
pub const SRV_LIVE: usize = 21;
/// `cli_notify`, u8: [`NOTIFY_WRITE`] and [`NOTIFY_READ`], set by the server, tested and cleared by the client.
pub const CLI_NOTIFY: usize = 22;
/// `srv_notify`, u8: [`NOTIFY_WRITE`] and [`NOTIFY_READ`], set by the client, tested and cleared by the server.
pub const SRV_NOTIFY: usize = 23;
/// `grants`, u32 each, stored once by the server: the pages of the left ring, then those of the right ring.
pub const GRANTS: usize = 24;

/// Live byte of a side that has closed the channel.
pub const LIVE_CLOSED: u8 = 0;
/// Live byte of a side that has the channel open.
pub const LIVE_OPEN: u8 = 1;
/// `cli_live` as the server makes it: no client has connected yet.
pub const LIVE_WAITING: u8 = 2;

/// `VCHAN_NOTIFY_WRITE`: send an event after data was written.
pub const NOTIFY_WRITE: u8 = 1;
/// `VCHAN_NOTIFY_READ`: send an event after data was consumed.
pub const NOTIFY_READ: u8 = 2;

/// Smallest order: a ring of 1 KiB.
pub const MIN_ORDER: u16 = 10;
/// Largest order: a ring of 1 MiB.
pub const MAX_ORDER: u16 = 20;
/// Pages of the largest ring.
pub const MAX_RING_PAGES: usize = 1 << (MAX_ORDER - PAGE_ORDER);

const PAGE_ORDER: u16 = 12;
const HALF_PAGE_ORDER: u16 = 11;

/// A field of the control page that only the peer may store to, or that only we may: where a broken peer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// [`LEFT_CONS`].
    LeftCons,
    /// [`LEFT_PROD`].
    LeftProd,
    /// [`RIGHT_CONS`].
    RightCons,
    /// [`RIGHT_PROD`].
    RightProd,
    /// [`CLI_LIVE`].
    CliLive,
    /// [`SRV_LIVE`].
    SrvLive,
}

impl Field {
    /// Offset in the control page.
    pub const fn offset(self) -> usize {
        match self {
            Field::LeftCons => LEFT_CONS,
            Field::LeftProd => LEFT_PROD,
            Field::RightCons => RIGHT_CONS,
            Field::RightProd => RIGHT_PROD,
            Field::CliLive => CLI_LIVE,
            Field::SrvLive => SRV_LIVE,
        }
    }
}

impl core::fmt::Display for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Field::LeftCons => "left.cons",
            Field::LeftProd => "left.prod",
            Field::RightCons => "right.cons",
            Field::RightProd => "right.prod",
            Field::CliLive => "cli_live",
            Field::SrvLive => "srv_live",
        })
    }
}

/// Which end of the channel we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns the pages, publishes the keys, reads the left ring.
    Server,
    /// Maps the pages, fills the left ring.
    Client,
}

/// Where a ring's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingLocation {
    /// In the control page itself, from this offset on: order 10 at 1024, order 11 at 2048.
    InPage {
        /// Offset of the ring's first byte.
        offset: usize,
    },
    /// In pages of its own, whose references stand in [`GRANTS`].
    External {
        /// How many pages.
        pages: usize,
    },
}

/// The two rings of a channel. A value of this type is legal: no ring lies over another one or over the grant list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    left_order: u16,
    right_order: u16,
}

/// A pair of ring orders, or of ring sizes, that vchan has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// An order outside [`MIN_ORDER`]`..=`[`MAX_ORDER`].
    #[error("ring order {0} is outside 10..=20 (1 KiB to 1 MiB)")]
    Order(u16),
    /// Both rings claim the same place in the control page.
    #[error(
        "both rings have order {0} and claim the same place in the control page; make one of them larger"
    )]
    SamePlace(u16),
    /// The grant list would run into the ring that lies in the control page.
    #[error(
        "orders {left} and {right}: the list of grants would run into the ring in the control page; use at least 2 KiB for the small ring"
    )]
    GrantsOverlap {
        /// Order of the left ring.
        left: u16,
        /// Order of the right ring.
        right: u16,
    },
    /// A ring of more than 1 MiB was asked for.
    #[error("a ring of {0} bytes was asked for; the largest holds 1 MiB (1048576 bytes)")]
    TooLarge(usize),
}

impl Layout {
    /// Checks a pair of orders. A client calls it on its own copy of the server's claim.
    pub const fn new(left_order: u16, right_order: u16) -> Result<Self, LayoutError> {
        if left_order < MIN_ORDER || left_order > MAX_ORDER {
            return Err(LayoutError::Order(left_order));
        }
        if right_order < MIN_ORDER || right_order > MAX_ORDER {
            return Err(LayoutError::Order(right_order));
        }
        if left_order == right_order && left_order < PAGE_ORDER {
            return Err(LayoutError::SamePlace(left_order));
        }
        let layout = Layout {
            left_order,
            right_order,
        };
        let list_end = GRANTS + 4 * (layout.left_pages() + layout.right_pages());
        if list_end > layout.first_in_page_byte() {
            return Err(LayoutError::GrantsOverlap {
                left: left_order,
                right: right_order,
            });
        }
        Ok(layout)
    }

    /// The smallest rings that hold `left_min` and `right_min` bytes, chosen as `libxenvchan_server_init` chooses: in
    /// the control page where they fit, else in whole pages. Zero means "as small as possible"; (0, 0) gives orders
    /// 10 and 11, a left ring of 1 KiB and a right one of 2 KiB.
    pub const fn for_sizes(left_min: usize, right_min: usize) -> Result<Self, LayoutError> {
        const KIB: usize = 1 << MIN_ORDER;
        const TWO_KIB: usize = 1 << HALF_PAGE_ORDER;
        let largest = 1 << MAX_ORDER;
        if left_min > largest {
            return Err(LayoutError::TooLarge(left_min));
        }
        if right_min > largest {
            return Err(LayoutError::TooLarge(right_min));
        }
        if left_min <= KIB && right_min <= TWO_KIB {
            Layout::new(MIN_ORDER, HALF_PAGE_ORDER)
        } else if left_min <= TWO_KIB && right_min <= KIB {
            Layout::new(HALF_PAGE_ORDER, MIN_ORDER)
        } else if left_min <= TWO_KIB {
            Layout::new(HALF_PAGE_ORDER, order_in_pages(right_min))
        } else if right_min <= TWO_KIB {
            Layout::new(order_in_pages(left_min), HALF_PAGE_ORDER)
        } else {
            Layout::new(order_in_pages(left_min), order_in_pages(right_min))
        }
    }

    /// Order of the ring that the client fills.
    pub const fn left_order(&self) -> u16 {
        self.left_order
    }

    /// Order of the ring that the server fills.
    pub const fn right_order(&self) -> u16 {
        self.right_order
    }

    /// Bytes that the left ring holds.
    pub const fn left_size(&self) -> u32 {
        1 << self.left_order
    }

    /// Bytes that the right ring holds.
    pub const fn right_size(&self) -> u32 {
        1 << self.right_order
    }

    /// Where the left ring lies.
    pub const fn left(&self) -> RingLocation {
        location(self.left_order)
    }

    /// Where the right ring lies.
    pub const fn right(&self) -> RingLocation {
        location(self.right_order)
    }

    /// Pages of the left ring outside the control page, which is also its number of grants.
    pub const fn left_pages(&self) -> usize {
        external_pages(self.left_order)
    }

    /// Pages of the right ring outside the control page, which is also its number of grants.
    pub const fn right_pages(&self) -> usize {
        external_pages(self.right_order)
    }

    const fn first_in_page_byte(&self) -> usize {
        let smaller = if self.left_order < self.right_order {
            self.left_order
        } else {
            self.right_order
        };
        match location(smaller) {
            RingLocation::InPage { offset } => offset,
            RingLocation::External { .. } => PAGE_SIZE,
        }
    }
}

impl Default for Layout {
    /// Orders 10 and 11, what libxenvchan's server makes when asked for sizes 0 and 0.
    fn default() -> Self {
        Layout {
            left_order: MIN_ORDER,
            right_order: HALF_PAGE_ORDER,
        }
    }
}

const fn location(order: u16) -> RingLocation {
    if order < PAGE_ORDER {
        // An in-page ring starts at the offset that equals its size.
        RingLocation::InPage { offset: 1 << order }
    } else {
        RingLocation::External {
            pages: external_pages(order),
        }
    }
}

const fn external_pages(order: u16) -> usize {
    if order < PAGE_ORDER {
        0
    } else {
        1 << (order - PAGE_ORDER)
    }
}

const fn order_in_pages(min: usize) -> u16 {
    let mut order = PAGE_ORDER;
    while (1 << order) < min {
        order += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    // R5 of FAULTS.md.
    #[test]
    fn every_pair_of_orders_is_judged() {
        for left in 0..=64 {
            for right in 0..=64 {
                let legal = (10..=20).contains(&left)
                    && (10..=20).contains(&right)
                    && !matches!((left, right), (10, 10) | (11, 11) | (10, 20) | (20, 10));
                assert_eq!(Layout::new(left, right).is_ok(), legal, "({left}, {right})");
            }
        }
    }

    #[test]
    fn refusals_name_their_cause() {
        assert_eq!(Layout::new(9, 12), Err(LayoutError::Order(9)));
        assert_eq!(Layout::new(12, 21), Err(LayoutError::Order(21)));
        assert_eq!(Layout::new(u16::MAX, 12), Err(LayoutError::Order(u16::MAX)));
        assert_eq!(Layout::new(10, 10), Err(LayoutError::SamePlace(10)));
        assert_eq!(Layout::new(11, 11), Err(LayoutError::SamePlace(11)));
        for (left, right) in [(10, 20), (20, 10)] {
            assert_eq!(
                Layout::new(left, right),
                Err(LayoutError::GrantsOverlap { left, right })
            );
        }
    }

    #[test]
    fn sizes_are_chosen_as_libxenvchan_chooses() {
        for ((left, right), orders) in [
            ((0, 0), (10, 11)),
            ((1024, 2048), (10, 11)),
            ((1025, 1024), (11, 10)),
            ((2048, 1024), (11, 10)),
            ((2048, 1025), (11, 12)),
            ((1, 4096), (11, 12)),
            ((1, 2049), (11, 12)),
            ((2049, 1), (12, 11)),
            ((4097, 2048), (13, 11)),
            ((4096, 4096), (12, 12)),
            ((65536, 65537), (16, 17)),
            ((1 << 20, 1 << 20), (20, 20)),
            ((1 << 20, 0), (20, 11)),
        ] {
            let layout = Layout::for_sizes(left, right).unwrap();
            assert_eq!(
                (layout.left_order(), layout.right_order()),
                orders,
                "({left}, {right})"
            );
            assert!(layout.left_size() as usize >= left && layout.right_size() as usize >= right);
        }
        let over = (1 << 20) + 1;
        assert_eq!(Layout::for_sizes(over, 0), Err(LayoutError::TooLarge(over)));
        assert_eq!(
            Layout::for_sizes(0, usize::MAX),
            Err(LayoutError::TooLarge(usize::MAX))
        );
    }

    #[test]
    fn the_default_is_the_smallest() {
        assert_eq!(Ok(Layout::default()), Layout::for_sizes(0, 0));
    }

    #[test]
    fn rings_lie_where_the_header_says() {
        let small = Layout::new(10, 11).unwrap();
        assert_eq!(small.left(), RingLocation::InPage { offset: 1024 });
        assert_eq!(small.right(), RingLocation::InPage { offset: 2048 });
        let large = Layout::new(20, 12).unwrap();
        assert_eq!(
            large.left(),
            RingLocation::External {
                pages: MAX_RING_PAGES
            }
        );
        assert_eq!(large.right(), RingLocation::External { pages: 1 });
    }
}
