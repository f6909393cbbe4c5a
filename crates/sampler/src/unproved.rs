use firefinch_cpython::{Place, RawStack, Unproved};
use firefinch_profile::{LossReason, ProcessId, Profile, Sample};

use crate::deferred::Number;
use crate::lane::{Lanes, ThreadKey, state};
use crate::state::Activity;
use crate::target::Target;

/// A stack some calls of which were never seen before, with the names that it had when it
/// was copied: its code objects may be gone when its calls become known.
#[derive(Debug)]
pub(crate) struct UnprovedStack {
    raw: Unproved,
    /// Newest first, as the frames.
    places: Vec<Place>,
    /// The same of what is sure of it, oldest first.
    sure: Option<Vec<Place>>,
}

impl UnprovedStack {
    /// With the places of its frames and of those that are sure, newest first.
    pub(crate) fn new(raw: Unproved, places: Vec<Place>, sure: Option<Vec<Place>>) -> Self {
        let sure = sure.map(|mut sure| {
            sure.reverse();
            sure
        });
        Self { raw, places, sure }
    }

    pub(crate) fn raw(&mut self) -> &mut Unproved {
        &mut self.raw
    }

    pub(crate) fn stack(&self) -> &RawStack {
        self.raw.stack()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// What is shown if no more is ever told of it.
    pub(crate) fn rest(&self) -> Option<Vec<Place>> {
        self.sure.clone()
    }
}

/// What is known of a look whose stack waits to be believed.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) time_ns: u64,
    pub(crate) thread: ThreadKey,
    pub(crate) activity: Activity,
    pub(crate) holds_gil: bool,
}

/// The looks at a process whose stacks wait to be believed.
///
/// Which calls a program makes is learnt by looking at it, so the first stacks of a
/// recording wait for later ones. Dropping them, or looking at other moments instead, would
/// show what was learnt first, which is what the program does most: of one that scans text
/// for a quarter of its time, recorded for six seconds at 100 Hz, that showed 29 to 39 %.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    looks: Vec<Look>,
    /// Of all of them.
    frames: usize,
    next: Number,
}

#[derive(Debug)]
struct Look {
    number: Number,
    seen: Seen,
    /// Once it is known.
    weight_ns: Option<u64>,
    stack: UnprovedStack,
    /// Its places, oldest first, once it is believed.
    proved: Option<Vec<Place>>,
}

/// Stacks that wait at once, and their frames, each of which takes some 200 bytes; more
/// than that is no learning any more.
const MOST: usize = 4096;
const MOST_FRAMES: usize = 1 << 18;

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// Has a stack wait, under the number that its weight is told with; `None` if there are
    /// too many.
    pub(crate) fn wait(&mut self, seen: Seen, stack: UnprovedStack) -> Option<Number> {
        let frames = self.frames + stack.places.len();
        if self.looks.len() >= MOST || frames > MOST_FRAMES {
            return None;
        }
        self.frames = frames;
        let number = self.next;
        self.next += 1;
        self.looks.push(Look {
            number,
            seen,
            weight_ns: None,
            stack,
            proved: None,
        });
        Some(number)
    }

    /// Enters in the profile what is believed by now, and the last time what is sure of
    /// the others.
    pub(crate) fn settle(
        &mut self,
        is_last: bool,
        target: &mut Target,
        lanes: &mut Lanes,
        process: &mut dyn FnMut(&Target, &mut Profile) -> ProcessId,
        profile: &mut Profile,
    ) {
        for (number, weight_ns) in lanes.weights() {
            // They were numbered in this order.
            if let Ok(at) = self.looks.binary_search_by_key(&number, |look| look.number)
                && let Some(look) = self.looks.get_mut(at)
            {
                look.weight_ns = Some(weight_ns);
            }
        }
        self.looks.retain_mut(|look| {
            // Looks that got no processor time are none.
            if look.weight_ns == Some(0) {
                return false;
            }
            if look.proved.is_none() {
                if is_last {
                    look.stack.raw().ask_again();
                }
                match target.prove(&mut look.stack) {
                    Proof::None if is_last => match look.stack.rest() {
                        Some(rest) => look.proved = Some(rest),
                        None => {
                            profile.lose(LossReason::Torn, 1);
                            return false;
                        }
                    },
                    Proof::None => return true,
                    Proof::Gone => {
                        profile.lose(LossReason::BadData, 1);
                        return false;
                    }
                    Proof::Of(places) => look.proved = Some(places),
                }
            }
            let (Some(weight_ns), Some(places)) = (look.weight_ns, &look.proved) else {
                return true;
            };
            let stack = lanes.whole_stack(target.stack_of(places), profile);
            if let Some(stack) = stack {
                let process = process(target, profile);
                let thread = lanes.thread_of(&look.seen.thread, process, profile);
                let state = state(look.seen.activity, profile);
                profile.add_sample(Sample {
                    time_ns: look.seen.time_ns,
                    thread,
                    stack,
                    weight_ns,
                    state,
                    holds_gil: look.seen.holds_gil,
                });
            }
            false
        });
        let frames = self.looks.iter().map(|look| look.stack.places.len());
        self.frames = frames.sum();
    }

    /// Nothing can be told any more: what still waits is lost.
    pub(crate) fn end(&mut self, profile: &mut Profile) {
        self.frames = 0;
        for look in self.looks.drain(..) {
            if look.weight_ns != Some(0) {
                profile.lose(LossReason::Torn, 1);
            }
        }
    }
}

/// Whether a stack is believed by now.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Not yet.
    None,
    /// It is, but one of its code objects has gone since.
    Gone,
    /// It is: its places, oldest first.
    Of(Vec<Place>),
}
