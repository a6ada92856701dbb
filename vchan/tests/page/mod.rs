//! The control page, as a peer that breaks the protocol has it.

use vchan::in_process::{Host, Memory, block_on};
use vchan::platform::{Access, Rendezvous};

/// A second mapping of the control page, through which a test plays a broken peer.
pub fn control_page(host: &Host) -> Memory {
    let meeting = host.meeting("edge");
    let ring_ref = block_on(meeting.keys()).unwrap().ring_ref;
    let ring_ref = vchan::keys::parse(&ring_ref).unwrap();
    meeting.map_ring(&[ring_ref], Access::ReadWrite).unwrap()
}
