use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys::{self, REGISTERS_LEN};
use crate::{Errno, StopFailure, Tid};

/// A thread that stands still as long as the work of a
/// [`visit`](crate::Stopper::visit) lasts.
#[derive(Debug)]
pub struct StoppedThread<'a> {
    tid: Tid,
    /// It stands still for its tracer only, which is one thread of ours.
    _not_to_be_sent: PhantomData<&'a *mut ()>,
}

/// What a visit finds: the thread standing still, or why it does not.
pub type Visit<'a> = Result<StoppedThread<'a>, StopFailure>;

impl StoppedThread<'_> {
    pub(crate) fn new(tid: Tid) -> Self {
        Self {
            tid,
            _not_to_be_sent: PhantomData,
        }
    }

    /// Its number in our PID namespace.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Its general registers as the kernel gives them (`NT_PRSTATUS` of
    /// PTRACE_GETREGSET): `struct user_regs_struct` on x86_64, `struct
    /// user_pt_regs` on aarch64. One system call.
    ///
    /// # Errors
    /// ESRCH if it has been killed. ENOTSUP if it runs 32-bit code, whose
    /// registers are others.
    pub fn registers(&self) -> Result<[u8; REGISTERS_LEN], Errno> {
        sys::registers(self.tid).map_err(|error| Errno::from(&error))
    }
}

/// Work to be done by the tracer on a thread that stands still, or does not.
pub(crate) struct Work(Box<dyn FnOnce(Visit<'_>) + Send>);

/// Where the result of the work is found once it is done.
#[derive(Debug)]
pub(crate) struct Outcome<T>(Arc<Mutex<Option<Caught<T>>>>);

/// A result, or the panic that there was instead.
type Caught<T> = Result<T, Box<dyn Any + Send>>;

impl Work {
    pub(crate) fn new<T: Send + 'static>(
        work: impl FnOnce(Visit<'_>) -> T + Send + 'static,
    ) -> (Self, Outcome<T>) {
        let ours = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&ours);
        let run = Box::new(move |visit: Visit<'_>| {
            // What the work owns is gone with it, so nobody sees it broken.
            let result = catch_unwind(AssertUnwindSafe(|| work(visit)));
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        (Self(run), Outcome(ours))
    }

    /// Does it. A panic is left to whoever asks for the outcome.
    pub(crate) fn run(self, visit: Visit<'_>) {
        (self.0)(visit);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

impl<T> Outcome<T> {
    /// What the work gave; `None` if it has not been done. Panics if it has.
    pub(crate) fn take(self) -> Option<T> {
        let mut result = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result.take()? {
            Ok(value) => Some(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
