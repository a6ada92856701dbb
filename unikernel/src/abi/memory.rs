//! `sys_malloc`, `sys_realloc`, `sys_free`.

use alloc::alloc::{alloc, dealloc, realloc};
use core::alloc::Layout;
use core::ptr::null_mut;

/// A block of `size` bytes aligned to `align`; null when there is none, or for no bytes, or a bad alignment.
///
/// # Safety
/// Always safe to call; what comes back is used by the rules of C.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_malloc(size: usize, align: usize) -> *mut u8 {
    match Layout::from_size_align(size, align) {
        // SAFETY: the layout has bytes.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => null_mut(),
    }
}

/// The block `block`, of `size` bytes aligned to `align`, made `new_size` bytes long, perhaps elsewhere; null, and the block as
/// it was, when that cannot be.
///
/// # Safety
/// `block` comes from [`sys_malloc`] or this with the same `size` and `align`, and was not freed.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_realloc(
    block: *mut u8,
    size: usize,
    align: usize,
    new_size: usize,
) -> *mut u8 {
    match (
        Layout::from_size_align(size, align),
        Layout::from_size_align(new_size, align),
    ) {
        // SAFETY: the caller vouches for the block; the new layout is one, and has bytes.
        (Ok(layout), Ok(_)) if new_size > 0 => unsafe { realloc(block, layout, new_size) },
        _ => null_mut(),
    }
}

/// Gives a block back; null is none.
///
/// # Safety
/// As for [`sys_realloc`]; the block is used no more.
#[cfg_attr(xen_guest, unsafe(no_mangle))]
pub unsafe extern "C" fn sys_free(block: *mut u8, size: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(size, align)
        && !block.is_null()
    {
        // SAFETY: the caller vouches for the block and its layout.
        unsafe { dealloc(block, layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_bytes_when_it_grows() {
        // SAFETY: one block, used as the calls say.
        unsafe {
            let block = sys_malloc(3, 8);
            block.copy_from(b"abc".as_ptr(), 3);
            let block = sys_realloc(block, 3, 8, 5000);
            assert_eq!(core::slice::from_raw_parts(block, 3), b"abc");
            sys_free(block, 5000, 8);
        }
    }

    #[test]
    fn what_no_layout_can_be_is_null() {
        // SAFETY: nothing is allocated.
        unsafe {
            assert!(sys_malloc(0, 8).is_null());
            assert!(sys_malloc(8, 3).is_null());
            assert!(sys_malloc(usize::MAX, 8).is_null());
            sys_free(null_mut(), 8, 8);
        }
    }
}
