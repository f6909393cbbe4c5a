use fastrand::Rng;

use super::*;

/// A stack as it is: newest first, what calls what, and where.
#[derive(Debug, Default)]
struct Truth {
    native: Vec<Activation>,
    loops: Vec<RawLoop>,
    order: Vec<Merged>,
    /// The native frame of each loop.
    runs: Vec<usize>,
    python: usize,
    top: u64,
}

impl Truth {
    fn new() -> Self {
        let top = 0x7f00_0000_0000;
        Self {
            top,
            ..Self::default()
        }
    }

    /// A native function that was called before all that is there.
    fn native(&mut self, role: Role, size: u64) {
        self.order.push(Merged::Native(self.native.len()));
        self.native.push(Activation {
            sp: RemoteAddr::new(self.top),
            caller_sp: Some(RemoteAddr::new(self.top + size)),
            role,
        });
        self.top += size;
    }

    /// A loop that runs so many Python frames and keeps something on its stack.
    fn run(&mut self, frames: usize, size: u64, at: u64) {
        let python = self.python..self.python + frames;
        self.order.extend(python.clone().map(Merged::Python));
        self.python = python.end;
        self.runs.push(self.native.len());
        self.loops.push(RawLoop {
            frames,
            within: Some(RemoteAddr::new(self.top + at % size)),
        });
        self.native(Role::Loop, size);
    }

    /// C functions, callbacks, and a root, by chance. Every loop runs at least
    /// `least` frames.
    fn random(rng: &mut Rng, least: usize) -> Self {
        let mut truth = Self::new();
        let size = |rng: &mut Rng| rng.u64(1..40) * 8;
        for _ in 0..rng.usize(0..4) {
            let bytes = size(rng);
            truth.native(Role::Other, bytes);
        }
        for _ in 0..rng.usize(0..12) {
            let (frames, bytes) = (rng.usize(least..4), size(rng));
            truth.run(frames, bytes, rng.u64(..));
            for _ in 0..rng.usize(0..4) {
                let role = [Role::Machinery, Role::Other][rng.usize(0..2)];
                let bytes = size(rng);
                truth.native(role, bytes);
            }
        }
        let bytes = size(rng);
        truth.native(Role::Startup, bytes);
        truth
    }

    /// Forgets where the loops lie, as CPython to 3.9 does.
    fn forget_positions(&mut self) {
        self.loops.iter_mut().for_each(|own| own.within = None);
    }

    #[track_caller]
    fn is_found(&self) {
        let merge = merge(&self.native, true, &self.loops);
        assert_eq!(merge.order, self.order, "{self:#?}");
        assert_eq!(merge.loops, self.runs, "{self:#?}");
        assert!(!merge.partial, "{self:#?}");
    }
}

/// Whatever came of it, every frame is there once, each kind in its order.
#[track_caller]
fn is_whole(merge: &Merge, native: usize, loops: &[RawLoop]) {
    let python: usize = loops.iter().map(|own| own.frames).sum();
    let (mut natives, mut pythons) = (Vec::new(), Vec::new());
    for frame in &merge.order {
        match frame {
            Merged::Native(index) => natives.push(*index),
            Merged::Python(index) => pythons.push(*index),
        }
    }
    assert!(natives.into_iter().eq(0..native), "{merge:?}");
    assert!(pythons.into_iter().eq(0..python), "{merge:?}");
    assert!(merge.loops.is_sorted() && merge.loops.iter().all(|index| *index < native));
}

/// Sixty callbacks from C, each run by a loop of its own with several frames, are put between the native frames that make them, by position and by order.
#[test]
fn callbacks() {
    let mut truth = Truth::new();
    truth.native(Role::Other, 32);
    for level in 0..60 {
        truth.run(1 + level % 3, 400, 8 * level as u64);
        truth.native(Role::Machinery, 64);
        truth.native(Role::Other, 128);
        truth.native(Role::Machinery, 64);
    }
    truth.run(2, 400, 0);
    truth.native(Role::Startup, 500);
    truth.is_found();
    truth.forget_positions();
    truth.is_found();
}

/// A whole native stack is merged into what happened, whether CPython says where its loops lie or not.
#[test]
fn whole_stacks() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..5_000 {
        Truth::random(&mut rng, 0).is_found();
        let mut truth = Truth::random(&mut rng, 1);
        truth.forget_positions();
        truth.is_found();
    }
}

/// A loop that has not begun its Python frame takes none of another's, and is nothing amiss; a native loop below it that runs nothing is.
#[test]
fn begun_loops() {
    for positions in [true, false] {
        for rooted in [true, false] {
            let mut truth = Truth::new();
            truth.native(Role::Loop, 100);
            truth.native(Role::Machinery, 50);
            truth.run(2, 100, 16);
            truth.run(1, 100, 16);
            if !positions {
                truth.forget_positions();
            }
            let merged = merge(&truth.native, rooted, &truth.loops);
            assert_eq!(merged.order, truth.order);
            assert!(!merged.partial);
        }
    }
    let mut truth = Truth::new();
    truth.run(1, 100, 0);
    truth.native(Role::Loop, 100);
    truth.run(1, 100, 0);
    let merged = merge(&truth.native, true, &truth.loops);
    assert_eq!(merged.order, truth.order);
    assert!(merged.partial);
}

/// What a truncated native stack still has is merged as it is, and the Python frames of what it lacks follow.
#[test]
fn truncated_stacks() {
    let mut rng = Rng::with_seed(2);
    for turn in 0..5_000 {
        let mut truth = Truth::random(&mut rng, 1);
        let kept = rng.usize(..=truth.native.len());
        let mut order = truth.order.clone();
        order.retain(|frame| !matches!(frame, Merged::Native(index) if *index >= kept));
        truth.native.truncate(kept);
        // Where the oldest frame that is left ends nobody knows.
        if let Some(oldest) = truth.native.last_mut() {
            oldest.caller_sp = None;
        }
        if turn % 2 == 0 {
            truth.forget_positions();
        }
        let merged = merge(&truth.native, false, &truth.loops);
        assert_eq!(merged.order, order, "{truth:#?}");
        let found = truth.runs.iter().filter(|run| **run < kept);
        assert!(merged.loops.iter().eq(found));
        assert_eq!(merged.partial, merged.loops.len() < truth.loops.len());
    }
}

/// A loop is found by its position where the name of its function is not known, but not in a frame of which nothing is known.
#[test]
fn nameless_loops() {
    let mut truth = Truth::new();
    truth.run(2, 100, 99);
    truth.run(1, 100, 0);
    truth.native(Role::Startup, 10);
    truth.native[0].role = Role::Other;
    truth.is_found();
    truth.native.truncate(1);
    truth.native[0].caller_sp = None;
    let merged = merge(&truth.native, false, &truth.loops);
    is_whole(&merged, 1, &truth.loops);
    assert_eq!(merged.order[0], Merged::Native(0));
    assert!(merged.partial);
}

/// A signal handler on a stack of its own, above or below, hides no loop.
#[test]
fn other_stacks() {
    let mut truth = Truth::new();
    truth.native(Role::Other, 64);
    truth.native(Role::Other, 64);
    truth.run(2, 100, 8);
    truth.native(Role::Startup, 64);
    for at in [0x1000, 0x7fff_0000_0000] {
        truth.native[0].sp = RemoteAddr::new(at);
        truth.native[0].caller_sp = Some(truth.native[1].sp);
        truth.is_found();
    }
}

/// Two loops in one native frame, which unwinding without information may give, leave the merge partial and no frame out.
#[test]
fn swallowed_loops() {
    let mut truth = Truth::new();
    truth.run(2, 100, 8);
    truth.run(1, 100, 8);
    truth.native(Role::Startup, 64);
    truth.native[0].caller_sp = truth.native[1].caller_sp;
    truth.native.remove(1);
    let merged = merge(&truth.native, true, &truth.loops);
    let python = (0..3).map(Merged::Python);
    let expected: Vec<Merged> = python.chain((0..2).map(Merged::Native)).collect();
    assert_eq!(merged.order, expected);
    assert!(merged.partial);
}

/// Python frames without any native stack are all there.
#[test]
fn no_native_stack() {
    let mut truth = Truth::new();
    truth.run(2, 100, 8);
    truth.run(1, 100, 8);
    let merged = merge(&[], false, &truth.loops);
    is_whole(&merged, 0, &truth.loops);
    assert!(merged.partial);
    assert!(!merge(&[], false, &[]).partial);
}

/// Whatever addresses, roles and loops are given, every frame comes out once and in its order.
#[test]
fn hostile_values() {
    let mut rng = Rng::with_seed(3);
    for _ in 0..20_000 {
        let addr = |rng: &mut Rng| match rng.u8(0..4) {
            0 => RemoteAddr::new(rng.u64(..)),
            1 => RemoteAddr::new(u64::MAX),
            _ => RemoteAddr::new(rng.u64(0..64)),
        };
        let roles = [Role::Loop, Role::Other, Role::Machinery, Role::Startup];
        let count = rng.usize(0..10);
        let activation = |_| Activation {
            sp: addr(&mut rng),
            caller_sp: Some(addr(&mut rng)).filter(|_| rng.u8(0..5) > 0),
            role: roles[rng.usize(0..4)],
        };
        let native: Vec<Activation> = (0..count).map(activation).collect();
        let count = rng.usize(0..10);
        let any = |_| RawLoop {
            frames: rng.usize(0..3),
            within: Some(addr(&mut rng)).filter(|_| rng.bool()),
        };
        let loops: Vec<RawLoop> = (0..count).map(any).collect();
        let merged = merge(&native, rng.bool(), &loops);
        is_whole(&merged, native.len(), &loops);
    }
}
