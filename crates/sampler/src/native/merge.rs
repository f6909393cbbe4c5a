//! Joins a native stack with the Python frames that its evaluation loops run.
//!
//! - *By position*: a loop keeps something at an address on the machine stack
//!   ([`RawLoop::within`]), and the native frame that holds this address runs
//!   it, whatever its name.
//! - *By order* where CPython keeps no such thing: the native frames of the
//!   evaluation function and the loops are the same calls in the same order.
//!   They are told off from the oldest if that is known, else from the newest.
//!
//! Whatever the native stack is, the Python frames come out as they went in.

use firefinch_cpython::RawLoop;
use firefinch_memory::RemoteAddr;

use super::{NativeFrame, Role};

/// One native frame, as far as merging goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its stack pointer.
    pub sp: RemoteAddr,
    /// The stack pointer of its caller.
    pub caller_sp: Option<RemoteAddr>,
    /// What it is by its name.
    pub role: Role,
}

/// A frame of the merged stack, by its place in what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// A Python frame.
    Python(usize),
    /// A native frame.
    Native(usize),
}

/// A merged stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Newest first: all native and all Python frames, each once. The native
    /// frame of a loop follows the Python frames that it runs.
    pub order: Vec<Merged>,
    /// The native frames that run loops, newest first. Those joined by position
    /// are loops even if they have no name: parts of the evaluation function
    /// that a compiler has put elsewhere often have none.
    pub loops: Vec<usize>,
    /// Whether there are Python frames without a native frame of their own that
    /// runs them, or native loops that run no Python frame known here. (The
    /// newest may: it has just begun or is about to end.)
    pub partial: bool,
}

impl From<&NativeFrame> for Activation {
    fn from(frame: &NativeFrame) -> Self {
        Self {
            sp: frame.sp,
            caller_sp: frame.caller_sp,
            role: frame.place.role,
        }
    }
}

/// Merges a native stack, newest frame first, with the loops that run all of a
/// thread's Python frames, newest first. `rooted` says that the native stack
/// goes down to its root.
pub fn merge(native: &[Activation], rooted: bool, loops: &[RawLoop]) -> Merge {
    let mut runs = by_position(native, loops);
    by_order(native, rooted, loops, &mut runs);
    arrange(native, loops, &runs)
}

/// For each loop the native frame that holds its address.
fn by_position(native: &[Activation], loops: &[RawLoop]) -> Vec<Option<usize>> {
    // In order, unless a signal handler runs on a stack of its own.
    let mut by_address: Vec<usize> = (0..native.len()).collect();
    by_address.sort_by_key(|index| native[*index].sp);
    let mut newer = None;
    let find = |own: &RawLoop| {
        let within = own.within?;
        let above = by_address.partition_point(|index| native[*index].sp <= within);
        let index = *by_address.get(above.checked_sub(1)?)?;
        let frame = &native[index];
        let holds = match frame.caller_sp {
            Some(end) => within < end,
            // How far it reaches is not known, only that a loop of its own must.
            None => frame.role == Role::Loop && newer != Some(index),
        };
        if !holds || newer.is_some_and(|newer| index < newer) {
            return None;
        }
        newer = Some(index);
        newer
    };
    loops.iter().map(find).collect()
}

/// Joins by order what lies between the loops that were joined by position.
fn by_order(native: &[Activation], rooted: bool, loops: &[RawLoop], runs: &mut [Option<usize>]) {
    let joint = |(index, run): (usize, &Option<usize>)| run.map(|native| (index, native));
    let mut joints: Vec<(usize, usize)> = runs.iter().enumerate().filter_map(joint).collect();
    joints.push((loops.len(), native.len()));
    let (mut first_loop, mut first_native) = (0, 0);
    for (index, (next_loop, next_native)) in joints.iter().enumerate() {
        let own = (first_loop..*next_loop).filter(|at| loops[*at].within.is_none());
        let own: Vec<usize> = own.collect();
        let evals = (first_native..*next_native).filter(|at| native[*at].role == Role::Loop);
        let evals: Vec<usize> = evals.collect();
        // More native loops than others: the newest one has no Python frame yet.
        let from_oldest = rooted || index + 1 < joints.len() || evals.len() > own.len();
        let pairs = own.len().min(evals.len());
        let (own, evals) = match from_oldest {
            true => (&own[own.len() - pairs..], &evals[evals.len() - pairs..]),
            false => (&own[..pairs], &evals[..pairs]),
        };
        for (own, eval) in own.iter().zip(evals) {
            runs[*own] = Some(*eval);
        }
        (first_loop, first_native) = (next_loop + 1, next_native + 1);
    }
}

/// Puts the Python frames of each loop before the native frame that runs it; if
/// there is none, as far down as the order of Python frames allows: what is
/// missing of a native stack is most often its older part.
fn arrange(native: &[Activation], loops: &[RawLoop], runs: &[Option<usize>]) -> Merge {
    let python: usize = loops.iter().map(|own| own.frames).sum();
    let mut merge = Merge {
        order: Vec::with_capacity(native.len() + python),
        ..Merge::default()
    };
    // Python frames whose place is not known yet.
    let mut waiting = 0;
    let (mut next_python, mut next_native) = (0, 0);
    for (own, run) in loops.iter().zip(runs) {
        waiting += own.frames;
        let Some(run) = *run else {
            merge.partial |= own.frames > 0;
            continue;
        };
        match merge.loops.last() == Some(&run) {
            // It was found in place of a frame of their own.
            true => merge.partial = true,
            false => merge.loops.push(run),
        }
        merge.order.extend((next_native..run).map(Merged::Native));
        next_native = run;
        let frames = next_python..next_python + waiting;
        next_python = frames.end;
        merge.order.extend(frames.map(Merged::Python));
        waiting = 0;
    }
    let rest = next_native..native.len();
    merge.order.extend(rest.map(Merged::Native));
    let rest = next_python..next_python + waiting;
    merge.order.extend(rest.map(Merged::Python));
    merge.partial |= is_eval_missing(native, &merge.loops);
    merge
}

/// Whether a loop runs no Python frame that is known, though it is not the newest.
fn is_eval_missing(native: &[Activation], loops: &[usize]) -> bool {
    let evals = native.iter().enumerate();
    let evals = evals.filter(|(_, frame)| frame.role == Role::Loop);
    let mut unknown = evals.filter(|(index, _)| loops.binary_search(index).is_err());
    let Some((newest, _)) = unknown.next() else {
        return false;
    };
    unknown.next().is_some() || loops.first().is_some_and(|first| *first < newest)
}

#[cfg(test)]
mod tests;
