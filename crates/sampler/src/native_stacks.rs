use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::RawStack;
use firefinch_memory::RemoteAddr;
use firefinch_process::{AccessError, Process, ProcessMemory};

use crate::fold::Shown;
use crate::kernel::KernelStacks;
use crate::lost::Lost;
use crate::merged::Runs;
use crate::named_later::NamedLater;
use crate::native::{Library, Nameless, Origin};
use crate::native_reader::NativeReader;
use crate::python::Python;
use crate::tally::Tally;
use crate::threads::Threads;

/// The native stacks of one target, merged with those of Python.
#[derive(Debug, Default)]
pub(crate) struct NativeStacks {
    /// Of the program that runs now, if its native stacks are wanted.
    reader: Option<NativeReader>,
    shown: Shown,
    /// Whether the kernel's frames are read too.
    kernel: bool,
    /// Whether frames without a name tell their address.
    addresses: bool,
    /// What is known of object files.
    library: Arc<Library>,
    /// Without what the present reader knows of the quality.
    tally: Tally,
}

impl NativeStacks {
    /// Those of a target of which object files may be known already.
    pub(crate) fn sharing(library: &Arc<Library>) -> Self {
        Self {
            library: Arc::clone(library),
            ..Self::default()
        }
    }

    /// Those of the next program in the same process; of this one there are no
    /// more.
    pub(crate) fn begin_anew(&mut self) -> Self {
        self.end();
        Self {
            reader: None,
            shown: self.shown,
            kernel: self.kernel,
            addresses: self.addresses,
            library: Arc::clone(&self.library),
            tally: self.tally.clone(),
        }
    }

    /// What is known of object files.
    pub(crate) fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// Whether they are read.
    pub(crate) fn are_read(&self) -> bool {
        self.reader.is_some()
    }

    /// Reads them from now on.
    pub(crate) fn begin(
        &mut self,
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
    ) -> Result<(), AccessError> {
        self.end();
        let mut reader = NativeReader::new(process, memory, &self.library)?;
        reader.native.show(self.shown);
        reader.native.keep_addresses(self.addresses);
        reader.kernel = KernelStacks::new(self.kernel);
        self.reader = Some(reader);
        Ok(())
    }

    /// Reads none any more.
    pub(crate) fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.tally.quality += reader.native.quality();
        }
    }

    /// Says which of their frames are shown.
    pub(crate) fn show(&mut self, shown: Shown) {
        self.shown = shown;
        if let Some(reader) = &mut self.reader {
            reader.native.show(shown);
        }
    }

    /// Says whether the kernel's frames of threads that wait are shown.
    pub(crate) fn show_kernel(&mut self, kernel: bool) {
        self.kernel = kernel;
        if let Some(reader) = &mut self.reader {
            reader.kernel = KernelStacks::new(kernel);
        }
    }

    /// Which frames are shown.
    pub(crate) fn shown(&self) -> Shown {
        self.shown
    }

    /// Whether frames without a name tell their address.
    pub(crate) fn keeps_addresses(&self) -> bool {
        self.addresses
    }

    /// Whether those of the kernel are.
    pub(crate) fn shows_kernel(&self) -> bool {
        self.kernel
    }

    /// Why the kernel's frames could not be had, if they could not.
    pub(crate) fn kernel_refused(&self) -> Option<&str> {
        self.reader.as_ref()?.kernel.refused()
    }

    /// Why names of code made at run time were not taken, if there were some.
    pub(crate) fn names_refused(&self) -> Option<&str> {
        self.reader.as_ref()?.native.names_refused()
    }

    /// Merges with the stacks of this interpreter from now on.
    pub(crate) fn merge_with(&mut self, python: &mut Python) {
        if let Some(reader) = &mut self.reader {
            let runtime = &python.runtime;
            reader
                .native
                .set_interpreter(runtime.location(), runtime.version);
            python.tell_loops();
        }
    }

    /// Gives running threads more time to stop, or less.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        if let Some(reader) = &mut self.reader {
            reader.set_patience(patience);
        }
    }

    /// The tick after this one comes at `moment`.
    pub(crate) fn expect(&mut self, moment: Instant) {
        if let Some(reader) = &mut self.reader {
            reader.expect(moment);
        }
    }

    /// How good they were so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        if let Some(reader) = &self.reader {
            tally.quality += reader.native.quality();
        }
        tally
    }

    /// Objects without names for functions that were shown, the most frequent
    /// first.
    pub(crate) fn without_symbols(&self) -> Vec<Nameless> {
        let Some(reader) = &self.reader else {
            return Vec::new();
        };
        let mut unnamed: Vec<_> = self.tally.unnamed.iter().collect();
        unnamed.sort_by_key(|(origin, (_, count))| (Reverse(*count), *origin));
        let nameless = |(origin, (name, _)): (&Origin, &(Arc<str>, u64))| {
            Some(Nameless {
                name: name.to_string(),
                build_id: reader.native.build_id(origin)?,
            })
        };
        unnamed.into_iter().filter_map(nameless).collect()
    }

    /// Looks for names once more.
    pub(crate) fn name_again(&mut self) -> NamedLater {
        let reader = self.reader.as_mut();
        let named = reader.map(|reader| reader.native.name_again());
        let named = named.unwrap_or_default();
        self.tally.rename(named.names());
        named
    }

    /// Has frames without a name tell their address.
    pub(crate) fn keep_addresses(&mut self, keep: bool) {
        self.addresses = keep;
        if let Some(reader) = &mut self.reader {
            reader.native.keep_addresses(keep);
        }
    }

    /// Whoever reads them from now on may be another thread of ours than until now.
    pub(crate) fn hand_over(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.hand_over();
        }
    }

    /// Counts anew.
    pub(crate) fn forget_tally(&mut self) {
        self.tally = Tally::default();
        if let Some(reader) = &mut self.reader {
            reader.native.forget_quality();
        }
    }

    /// Counts a Python stack that has to do without.
    pub(crate) fn count_alone(&mut self, lost: Lost) {
        self.tally.alone.add(lost.reason(), 1);
    }

    /// Brings the merged stack of the thread at `index` up to date: how many of
    /// its oldest frames are as before.
    pub(crate) fn read(
        &mut self,
        index: usize,
        threads: &mut Threads,
        mut python: Option<&mut Python>,
    ) -> Result<usize, Lost> {
        let (Some(reader), Some((watched, places))) = (&mut self.reader, threads.os_thread(index))
        else {
            return Err(Lost::NotCaptured);
        };
        let state = |place: &usize| Some((*place, threads.list().get(*place)?.python?.state));
        let (places, states): (Vec<usize>, Vec<RemoteAddr>) =
            places.iter().filter_map(state).unzip();
        let sight = reader.read(watched, python.as_deref_mut(), &states);
        let sight = sight.map_err(Lost::NotStopped)?;
        let native = reader.native.stack(sight.capture);
        let native = native.ok_or(Lost::NotCaptured)?;
        let raws: Result<Vec<RawStack>, _> = sight.python.into_iter().collect();
        let raws = raws.map_err(Lost::Stack)?.into_iter();
        let mut raws: Vec<(usize, RawStack)> = places.into_iter().zip(raws).collect();
        // The stack grows down: of several the newest is the lowest.
        raws.sort_by_key(|(_, raw)| raw.loops.first().and_then(|own| own.within));
        let mut runs = Runs::default();
        for (place, raw) in raws {
            if let (Some(python), Some(thread)) = (&mut python, threads.get_mut(place)) {
                let memory = reader.memory();
                let update = thread.stack.update(&mut python.codes, memory, &raw);
                update.map_err(Lost::Code)?;
                runs.add(thread.stack.places(), &raw.loops);
            }
        }
        let stack = threads.get_mut(index).map(|thread| &mut thread.stack);
        let stack = stack.ok_or(Lost::NotCaptured)?;
        let (unchanged, partial) = stack.merge(&native, &runs, self.shown, sight.kernel.as_ref());
        self.tally.count(stack.merged(), partial);
        Ok(unchanged)
    }
}
