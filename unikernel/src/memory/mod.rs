//! Memory of a PV guest, where page tables hold machine frames and change only through Xen.
//!
//! ```text
//!  0x0000_0000  nothing: a null pointer faults
//!  0x0032_0000  VIRT_BASE. Pseudo-physical frame n is mapped at VIRT_BASE + n * 4 KiB, all of the domain's memory:
//!               image (text, rodata, data, bss with the stack and its guard page), p2m list, start_info, xenstore page,
//!               console page, page tables, Xen's boot stack, module; then
//!               the heap, which grows upwards, and whole frames, which are handed out from the top down
//!  WINDOW       pages that are not this domain's memory: shared_info, the grant table, mapped grants
//!  0xffff_8000_0000_0000  Xen's
//! ```

mod address;
mod frames;
mod heap;
mod machine;
mod shared;
mod window;

pub use address::{Mfn, Pfn, VIRT_BASE, VirtAddr};
pub use frames::{FrameMap, OutOfFrames};
pub use heap::{Heap, HeapStats};
pub use machine::{Frames, Layout, Machine, NoMemory, heap_stats, machine};
pub use shared::Shared;
#[cfg(any(test, fuzzing))]
pub(crate) use shared::adversary;
pub use window::{Pages, Window};
