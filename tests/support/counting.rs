//! An allocator that tells how much is allocated.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator; what it gives and takes back, bytes, is told to the function.
pub struct Counting(pub fn(i64));

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.0)(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        (self.0)(layout.size() as i64);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        (self.0)(-(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new exist at the same time while bytes are moved.
        (self.0)(size as i64);
        let new = unsafe { System.realloc(pointer, layout, size) };
        (self.0)(-(layout.size() as i64));
        new
    }
}
