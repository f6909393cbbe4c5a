use std::sync::Arc;

use firefinch_cpython::{Place, RawLoop};
use firefinch_native::Status;

use crate::fold::{Fold, Shown};
use crate::native::{Activation, Merged, NativePlace, NativeStack, Role, merge};

/// One frame of a stack of Python and native frames.
#[derive(Clone, Debug)]
pub(crate) enum MergedFrame {
    /// A Python frame.
    Python(Place),
    /// A function at a native address, by its place among those there: several
    /// where some were inlined.
    Native(Arc<NativePlace>, usize),
}

/// The Python frames that a native stack runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Newest first.
    places: Vec<Place>,
    /// Newest first; together they run all of the places.
    loops: Vec<RawLoop>,
}

impl Runs {
    /// Adds those of a thread state that are older than all before, where they
    /// stand, oldest first, and the loops that run them, newest first.
    pub(crate) fn add(&mut self, places: &[Place], loops: &[RawLoop]) {
        self.places.extend(places.iter().rev().cloned());
        self.loops.extend_from_slice(loops);
    }
}

/// A thread's merged stack, kept from one look at it to the next.
#[derive(Debug, Default)]
pub(crate) struct MergedStack {
    /// Oldest first.
    frames: Vec<MergedFrame>,
    next: Vec<MergedFrame>,
    activations: Vec<Activation>,
}

impl MergedStack {
    pub(crate) fn frames(&self) -> &[MergedFrame] {
        &self.frames
    }

    /// Takes in what was read now: how many of the oldest frames are as before,
    /// and whether some could not be matched.
    pub(crate) fn update(
        &mut self,
        native: &NativeStack,
        runs: &Runs,
        shown: Shown,
        kernel: Option<&Arc<NativePlace>>,
    ) -> (usize, bool) {
        let frames = &native.frames;
        self.activations.clear();
        self.activations.extend(frames.iter().map(Activation::from));
        let rooted = native.outcome.status == Status::Rooted;
        let merged = merge(&self.activations, rooted, &runs.loops);
        self.next.clear();
        let fold = Fold::new(frames, &merged.loops);
        // A thread that is only starting would have no stack at all.
        let nothing = runs.places.is_empty() && (0..frames.len()).all(|index| fold.hides(index));
        let all = shown == Shown::All || nothing;
        for each in merged.order.iter().rev() {
            match *each {
                Merged::Python(index) => {
                    let place = runs.places.get(index).cloned();
                    self.next.extend(place.map(MergedFrame::Python));
                }
                Merged::Native(index) if all || !fold.hides(index) => {
                    let Some(frame) = frames.get(index) else {
                        continue;
                    };
                    // Of what is inlined only what does some work.
                    let place = &frame.place;
                    let called = place.symbols.len().saturating_sub(1);
                    let works = |at: &usize| place.roles.get(*at) == Some(&Role::Other);
                    let is_shown = |at: &usize| all || *at == called || works(at);
                    let functions = (0..place.symbols.len()).rev().filter(is_shown);
                    let function = |at| MergedFrame::Native(Arc::clone(&frame.place), at);
                    self.next.extend(functions.map(function));
                }
                Merged::Native(_) => {}
            }
        }
        if let Some(place) = kernel {
            let functions = (0..place.symbols.len()).rev();
            let function = |at| MergedFrame::Native(Arc::clone(place), at);
            self.next.extend(functions.map(function));
        }
        let pairs = self.frames.iter().zip(&self.next);
        let unchanged = pairs.take_while(|(old, new)| old.is(new)).count();
        std::mem::swap(&mut self.frames, &mut self.next);
        (unchanged, merged.partial)
    }
}

impl MergedFrame {
    /// Whether it is the same place; one address has one.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Python(a), Self::Python(b)) => Arc::ptr_eq(&a.code, &b.code) && a.line == b.line,
            (Self::Native(a, at), Self::Native(b, bt)) => Arc::ptr_eq(a, b) && at == bt,
            _ => false,
        }
    }
}
