use std::ops::Range;

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use crate::layout::Field;
use crate::runtime::{Interpreter, Runtime};

/// Where one global interpreter lock is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lock {
    /// `struct _gil_runtime_state` (`Include/internal/pycore_gil.h`), from 3.7 on.
    State {
        last_holder: RemoteAddr,
        locked: RemoteAddr,
        span: Range<u64>,
    },
    /// To 3.6 the holder itself: `_PyThreadState_Current`, null while free.
    Holder(RemoteAddr),
}

/// Holder and state are neighbours in every version (`pycore_gil.h`, 3.7 to
/// 3.15): a pointer and an `int` beside it.
const NEIGHBOURS: usize = 16;

/// The lock that an interpreter's threads run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gil(Lock);

impl Gil {
    /// The lock of `interpreter`; `None` for a free-threaded build or where it
    /// cannot be found.
    pub fn of(runtime: &Runtime, memory: &dyn Memory, interpreter: Interpreter) -> Option<Self> {
        let layout = &runtime.layout;
        if layout.build().is_free_threaded() {
            return None;
        }
        if layout.get(Field::GilLocked).is_none() {
            return runtime.current_thread.map(|at| Self(Lock::Holder(at)));
        }
        let base = if let Some(pointer) = layout.get(Field::InterpGilPtr) {
            memory
                .read_ptr(interpreter.addr.offset(pointer as u64))
                .ok()?
        } else {
            let offset = layout.get(Field::RuntimeGil)?;
            runtime.address?.offset(offset as u64)
        };
        let size = layout.get(Field::GilSize)? as u64;
        Some(Self(Lock::State {
            last_holder: base.offset(layout.get(Field::GilLastHolder)? as u64),
            locked: base.offset(layout.get(Field::GilLocked)? as u64),
            span: base.get()..base.get().checked_add(size)?,
        }))
    }

    /// The thread state that holds the lock now, if any does.
    pub fn holder(&self, memory: &dyn Memory) -> Option<RemoteAddr> {
        let holder = match &self.0 {
            Lock::Holder(at) => memory.read_ptr(*at).ok()?,
            Lock::State {
                last_holder,
                locked,
                ..
            } => {
                // They stand side by side: one read has both of one moment.
                let first = (*last_holder).min(*locked);
                let mut bytes = [0; NEIGHBOURS];
                memory.read(first, &mut bytes).ok()?;
                let view = Bytes(&bytes);
                let at = |addr: &RemoteAddr| usize::try_from(addr.checked_sub(first)?).ok();
                if view.i32(at(locked)?)? <= 0 {
                    return None;
                }
                view.ptr(at(last_holder)?)?
            }
        };
        (!holder.is_null()).then_some(holder)
    }

    /// Whether a futex at `addr` is part of the lock: who waits there waits for it.
    pub fn contains(&self, addr: RemoteAddr) -> bool {
        match &self.0 {
            Lock::State { span, .. } => span.contains(&addr.get()),
            Lock::Holder(_) => false,
        }
    }
}
