use std::time::{Duration, Instant};

use firefinch_memory::ReadError;
use firefinch_process::AccessError;

use super::Target;
use crate::attach::Stacks;
use crate::fold::Shown;
use crate::named_later::NamedLater;
use crate::native_summary::NativeSummary;

/// Its native stacks: whether there are any, what they show, and what they came to.
impl Target {
    /// Sees to it that native stacks are read if they are wanted.
    pub(super) fn prepare_native(&mut self) -> Result<(), AccessError> {
        let wanted = match self.wanted {
            Stacks::Python => false,
            Stacks::PythonOrNative => self.python.is_none(),
            Stacks::Merged => true,
        };
        match (wanted, self.native.are_read()) {
            (true, false) => self.native.begin(&self.process, &self.memory)?,
            (false, true) => self.native.end(),
            _ => {}
        }
        if let Some(python) = &mut self.python {
            self.native.merge_with(python);
        }
        Ok(())
    }

    /// Whether stacks have native frames. Then each running thread is stopped
    /// for its own read, and no other need be.
    pub fn is_native(&self) -> bool {
        self.native.are_read()
    }

    /// Says which native frames are shown.
    pub fn show(&mut self, shown: Shown) {
        self.native.show(shown);
    }

    /// Says whether the functions of the kernel that threads wait in are shown
    /// above native stacks; they are not unless this is called. Reading them
    /// takes CAP_SYS_ADMIN.
    pub fn show_kernel(&mut self, kernel: bool) {
        self.native.show_kernel(kernel);
    }

    /// Has native frames without a name tell their address: what is found by
    /// [`name_again`](Self::name_again) then has lines as well.
    pub fn keep_addresses(&mut self, keep: bool) {
        self.native.keep_addresses(keep);
    }

    /// How long a running thread may take to stop for its native stack: 20 ms
    /// unless this is called.
    pub fn set_patience(&mut self, patience: Duration) {
        self.native.set_patience(patience);
    }

    /// The tick after this one comes at `moment`.
    pub(crate) fn expect(&mut self, moment: Instant) {
        self.native.expect(moment);
    }

    /// Reads each stack once, within `limit`: the first look at a module's symbols
    /// may take a tenth of a second, which a recording is better without.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn prepare(&mut self, limit: Duration) -> Result<(), ReadError> {
        if !self.is_native() {
            return Ok(());
        }
        let begun = Instant::now();
        self.refresh()?;
        for index in 0..self.threads.list().len() {
            if begun.elapsed() >= limit {
                break;
            }
            // Whatever cannot be had now is counted when it is missed.
            let _ = self.read_native(index);
        }
        self.native.forget_tally();
        Ok(())
    }

    /// Whoever samples it from now on may be another thread of ours than until now.
    pub(crate) fn hand_over(&mut self) {
        self.native.hand_over();
    }

    /// What native stacks came to so far; `None` if there were none.
    pub fn native_summary(&self) -> Option<NativeSummary> {
        let tally = self.native.tally();
        (tally.quality.stacks > 0).then(|| NativeSummary {
            tally,
            with_python: self.python.is_some(),
            without_symbols: self.native.without_symbols(),
            kernel_refused: self.native.kernel_refused().map(str::to_owned),
            names_refused: self.native.names_refused().map(str::to_owned),
        })
    }

    /// Looks for names once more, as debug information may have come to be where
    /// it is looked for.
    pub fn name_again(&mut self) -> NamedLater {
        self.native.name_again()
    }
}
