use std::sync::{Mutex, MutexGuard, PoisonError};

/// Holds up others that ask for this until it is dropped: with a processor each
/// for target and firefinch a stack moves while it is read, with one between
/// them it hardly does.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing behind.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
