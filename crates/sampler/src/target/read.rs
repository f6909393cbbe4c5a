use std::time::{Duration, Instant};

use firefinch_cpython::{Motion, Place};
use firefinch_process::Near;
use firefinch_profile::LossReason;

use super::Target;
use crate::lost::Lost;
use crate::stack::{Frames, KnownStack, Reading, Stack};
use crate::unproved::{Proof, UnprovedStack};

/// How often a moving stack is read before it is given up at this tick.
pub(crate) const ATTEMPTS: usize = 3;
/// How many moments are looked at for one that can be told by itself, however long that takes;
/// after the first ones from the thread's own CPU.
const FEW: usize = 24;
const FIRST: usize = 4;
/// For how long more of them are: a thread that others keep from its CPU, in the middle of a
/// call, has it again by then.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long we sleep there before the first look: by then our timer has had the thread stand
/// still wherever it was. And before later ones.
const NAP: Duration = Duration::from_micros(50);
const LONG_NAP: Duration = Duration::from_millis(2);

/// The stack of one thread.
impl Target {
    /// Whether the OS thread of the thread at `index` is that of another one,
    /// which has the merged stack of both.
    pub fn is_merged_elsewhere(&self, index: usize) -> bool {
        self.is_native() && !self.threads.is_first(index)
    }

    /// Reads the stack of the thread at `index`. That of a thread that has not run
    /// since it was last had is not read again. If stacks are native, `motion`
    /// makes no difference.
    ///
    /// # Errors
    /// [`Lost`]: a stack that was read was coherent.
    pub fn read(&mut self, index: usize, motion: Motion) -> Result<Reading, Lost> {
        let rest = self.threads.rest(index);
        let kept = self.threads.get_mut(index);
        let kept = kept.is_some_and(|thread| rest.is_some() && thread.stack.rest == rest);
        // Of one that is stopped now that was found out before: it may have run since.
        let rest = rest.filter(|_| motion != Motion::Stopped);
        let kept = kept && motion != Motion::Stopped;
        let unchanged = if kept {
            // Proved by the rest that it was read in.
            usize::MAX
        } else {
            if let Some(thread) = self.threads.get_mut(index) {
                thread.stack.rest = None;
                thread.stack.leaf = None;
            }
            let motion = match motion {
                Motion::Running if rest.is_some() => Motion::Resting,
                motion => motion,
            };
            let unchanged = match self.is_native() {
                true => self.read_native(index),
                false => self.read_python(index, motion),
            }?;
            if let Some(thread) = self.threads.get_mut(index) {
                thread.stack.rest = rest;
            }
            unchanged
        };
        let stack = self.threads.get_mut(index).map(|thread| &mut thread.stack);
        Ok(Reading {
            index,
            unchanged,
            leaf: stack.and_then(|stack| stack.leaf.take()),
        })
    }

    /// Reads it for whoever looks once: where a stack is torn, or waits to be believed or for
    /// another one, others are looked at until one can be told. Most of them from the thread's
    /// own CPU, where it does not move meanwhile: a look from another one at a program of
    /// nothing but coroutines hardly ever shows all of a stack.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_one(&mut self, index: usize, motion: Motion) -> Result<Reading, Lost> {
        let begun = Instant::now();
        let mut read = self.read(index, motion);
        let mut looks = 1;
        let mut near = None;
        // Another look at what stands still shows the same.
        while motion == Motion::Running
            && !self.is_native()
            && let Err(lost) = &read
            && matches!(lost.reason(), LossReason::Torn | LossReason::BadData)
            && (looks < FEW || begun.elapsed() < PATIENCE)
        {
            if looks >= FIRST
                && let Some(thread) = self.os_thread(index)
            {
                near.get_or_insert_with(Near::new).follow(thread);
                std::thread::sleep(if looks < FEW { NAP } else { LONG_NAP });
            }
            read = self.read(index, motion);
            looks += 1;
        }
        match read {
            Err(lost) if lost.is_unproved() => self.show_sure(index).ok_or(lost),
            read => read,
        }
    }

    /// What is sure of a stack that waits to be believed, as if that were all.
    fn show_sure(&mut self, index: usize) -> Option<Reading> {
        let mut unproved = self.take_unproved(index)?;
        let thread = self.threads.get_mut(index)?;
        let codes = &mut self.python.as_mut()?.codes;
        let raw = unproved.raw().sure()?;
        let unchanged = thread.stack.update(codes, &*self.memory, &raw).ok()?;
        Some(Reading {
            index,
            unchanged,
            leaf: None,
        })
    }

    /// What was read last of the thread. To name its files takes the file system of
    /// the target, which the target may be itself: better let it go before.
    pub fn stack(&mut self, reading: Reading) -> Stack<'_> {
        let stack = self.threads.get_mut(reading.index);
        let stack = stack.map(|thread| &thread.stack);
        let frames = stack.map_or(Frames::Python(&[]), KnownStack::frames);
        Stack {
            unchanged: reading.unchanged.min(frames.len()),
            holds_gil: stack.and_then(|stack| stack.holds_gil),
            frames,
            paths: self.python.as_mut().map(|python| &mut python.paths),
            process: &self.process,
        }
    }

    /// What was found instead of the stack of the thread at `index` when it was read last,
    /// if that waits to be believed.
    pub(crate) fn take_unproved(&mut self, index: usize) -> Option<UnprovedStack> {
        self.threads.get_mut(index)?.stack.unproved.take()
    }

    /// Whether a stack that was read before is believed by now.
    pub(crate) fn prove(&mut self, stack: &mut UnprovedStack) -> Proof {
        match &mut self.python {
            Some(python) => python.prove(&*self.memory, stack),
            None => Proof::None,
        }
    }

    /// A stack that was read before.
    pub(crate) fn stack_of<'a>(&'a mut self, places: &'a [Place]) -> Stack<'a> {
        Stack {
            unchanged: 0,
            holds_gil: None,
            frames: Frames::Python(places),
            paths: self.python.as_mut().map(|python| &mut python.paths),
            process: &self.process,
        }
    }

    /// Brings the Python stack of a thread up to date: how many of its oldest
    /// frames are as before.
    fn read_python(&mut self, index: usize, motion: Motion) -> Result<usize, Lost> {
        let (Some(thread), Some(python)) = (self.threads.get_mut(index), &mut self.python) else {
            return Ok(0);
        };
        let attempts = match motion {
            Motion::Running | Motion::Resting => ATTEMPTS,
            Motion::Stopped => 1,
        };
        let mut unchanged = python.read_stack(&*self.memory, thread, motion);
        for _ in 1..attempts {
            // A code object may be released between the two halves.
            let waits = |lost: Lost| lost.waits_for().is_some() || lost.is_unproved();
            let is_lost = unchanged.is_err_and(|lost| !waits(lost));
            if !is_lost {
                break;
            }
            unchanged = python.read_stack(&*self.memory, thread, motion);
        }
        unchanged
    }

    /// Brings the merged stack of a thread up to date: how many of its oldest
    /// frames are as before. Where only its Python stack can be had, that is it.
    pub(super) fn read_native(&mut self, index: usize) -> Result<usize, Lost> {
        let python = self.python.as_mut();
        let merged = self.native.read(index, &mut self.threads, python);
        let thread = self.threads.list().get(index);
        match merged {
            Err(lost) if thread.is_some_and(|thread| thread.python.is_some()) => {
                self.read_python(index, Motion::Running)?;
                self.native.count_alone(lost);
                let thread = self.threads.get_mut(index);
                Ok(thread.map_or(0, |thread| thread.stack.stand_alone()))
            }
            merged => merged,
        }
    }
}
