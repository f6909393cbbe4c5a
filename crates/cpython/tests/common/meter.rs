//! How much memory something takes at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// What this thread holds, and the most that it held; in bytes.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// What asks for more at once ends the test, and not the machine that runs it.
const LONGEST: usize = 4 << 30;

/// The system's allocator, with an eye on how much each thread has of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(by: usize, sign: isize) {
    // Nothing is counted while a thread ends.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + by.cast_signed() * sign);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is the system allocator's with the same arguments, or gives null,
// and counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LONGEST {
            return std::ptr::null_mut();
        }
        count(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LONGEST {
            return std::ptr::null_mut();
        }
        count(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LONGEST {
            return std::ptr::null_mut();
        }
        count(size, 1);
        count(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// What `work` gives, and the most bytes that this thread held meanwhile beyond those
/// that it held before.
pub(crate) fn metered<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = work();
    (
        done,
        MOST.get().saturating_sub(before).max(0).cast_unsigned(),
    )
}
