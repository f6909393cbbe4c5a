use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_process::Process;

use super::Target;
use crate::attach::{AttachError, Found, Stacks, find_runtime};
use crate::fold::Shown;
use crate::native::Library;
use crate::native_stacks::NativeStacks;

/// For what a process is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) stacks: Stacks,
    shown: Shown,
    kernel: bool,
    addresses: bool,
    /// Most processes of a tree have the same files mapped.
    library: Arc<Library>,
}

/// For so long the threads of one that may just have been forked are looked at
/// anew: what they were in its parent is there until the interpreter has tidied
/// up (Modules/posixmodule.c, `PyOS_AfterFork_Child`).
const TIDYING: Duration = Duration::from_millis(200);

/// A descendant is attached to for what its ancestor is, and may have just been forked.
impl Target {
    /// What the descendants of this process are attached to for.
    pub(crate) fn wishes_for_descendants(&self) -> Wishes {
        Wishes {
            stacks: self.wanted_of_the_next(),
            shown: self.native.shown(),
            kernel: self.native.shows_kernel(),
            addresses: self.native.keeps_addresses(),
            library: Arc::clone(self.native.library()),
        }
    }

    /// Attaches to what may be a fork of another process, and may have nothing of
    /// its own yet.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub(crate) fn attach_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
    ) -> Result<Self, AttachError> {
        let found = find_runtime(process, wishes.stacks, Duration::ZERO)?;
        Self::of_descendant(process, wishes, found)
    }

    /// The same without looking for an interpreter first.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub(crate) fn attach_native_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
    ) -> Result<Self, AttachError> {
        Self::of_descendant(process, wishes, (process.memory()?, None))
    }

    fn of_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
        found: Found,
    ) -> Result<Self, AttachError> {
        let native = NativeStacks::sharing(&wishes.library);
        let mut target = Self::of(Arc::clone(process), wishes.stacks, native, found)?;
        target.show(wishes.shown);
        target.show_kernel(wishes.kernel);
        target.keep_addresses(wishes.addresses);
        target.untidy_until = Some(Instant::now() + TIDYING);
        Ok(target)
    }

    /// Whether one of its threads is known to be this process's own, or nothing
    /// speaks for Python.
    pub(crate) fn has_own_threads(&self) -> bool {
        let mut threads = self.threads.list().iter();
        self.python.is_none()
            || threads.any(|thread| thread.python.is_some() && thread.tid.is_some())
    }
}
