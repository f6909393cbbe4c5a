use firefinch_native::Origin;

use crate::native::{NativeFrame, Role};

/// Which native frames are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Not the interpreter's own: its loop, how it calls, how it starts.
    #[default]
    Folded,
    /// All.
    All,
}

/// Which native frames of a stack are the interpreter's own business.
pub(crate) struct Fold<'a> {
    frames: &'a [NativeFrame],
    /// The frames that run Python frames, newest first.
    loops: &'a [usize],
    /// The file that these are in.
    interpreter: Option<&'a Origin>,
    /// From here on to the oldest they only start a thread.
    begun: usize,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(frames: &'a [NativeFrame], loops: &'a [usize]) -> Self {
        let mut begun = frames.len();
        for (index, frame) in frames.iter().enumerate().rev() {
            match frame.place.role {
                Role::Startup | Role::Machinery => begun = index,
                // Of a C library without symbols some have no name.
                Role::Other if frame.place.is_unnamed() => {}
                Role::Other | Role::Loop => break,
            }
        }
        let newest = loops.first().and_then(|newest| frames.get(*newest));
        Self {
            frames,
            loops,
            interpreter: newest.and_then(|frame| frame.place.origin.as_ref()),
            begun,
        }
    }

    /// Whether the frame is left out, by its place from the newest.
    pub(crate) fn hides(&self, index: usize) -> bool {
        let Some(frame) = self.frames.get(index) else {
            return true;
        };
        if index >= self.begun || self.loops.binary_search(&index).is_ok() {
            return true;
        }
        match frame.place.role {
            Role::Loop | Role::Machinery => true,
            Role::Startup => false,
            // Between loops those of an interpreter without symbols are most
            // likely machinery.
            Role::Other if self.is_trampoline(index) || self.is_wrapper(index) => true,
            Role::Other => {
                let below = self.loops.first().is_some_and(|newest| *newest < index);
                below && frame.place.is_unnamed() && self.interpreter == frame.place.origin.as_ref()
            }
        }
    }

    /// Whether it only hands its arguments on to what it has called, a function
    /// of the same name.
    fn is_wrapper(&self, index: usize) -> bool {
        let symbol = |index: usize| self.frames.get(index)?.place.symbols.last();
        let called = index.checked_sub(1).and_then(symbol);
        let (Some(own), Some(called)) = (symbol(index), called) else {
            return false;
        };
        own.wraps && own.name == called.name
    }

    /// Whether it is code made at run time that has called a loop by itself:
    /// CPython's for perf, whose name may still wait to be written
    /// (`-X perf_jit`). Whatever else is made calls Python by its interface.
    fn is_trampoline(&self, index: usize) -> bool {
        let of = |index: usize| self.frames.get(index);
        let made = of(index).is_some_and(|f| f.place.origin == Some(Origin::Anonymous));
        let callee = index.checked_sub(1);
        made && callee.is_some_and(|callee| self.loops.binary_search(&callee).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firefinch_memory::RemoteAddr;
    use firefinch_native::{CodeAddress, InstructionPointer, NameSource, Symbol, Via};

    use super::*;
    use crate::native::NativePlace;

    fn frame(name: &str, role: Role, origin: &Origin) -> NativeFrame {
        let source = match name.contains('+') {
            true => NameSource::Nothing,
            false => NameSource::SymbolTable,
        };
        let symbol = Symbol::named(name.into(), source);
        NativeFrame {
            address: CodeAddress::Instruction(InstructionPointer::new(RemoteAddr::NULL)),
            sp: RemoteAddr::NULL,
            caller_sp: None,
            via: Via::UnwindInfo,
            place: Arc::new(NativePlace {
                address: None,
                symbols: Arc::new([symbol]),
                module: "module".into(),
                origin: Some(origin.clone()),
                role,
                roles: Box::new([role]),
            }),
        }
    }

    fn shown(frames: &[NativeFrame], loops: &[usize]) -> Vec<usize> {
        let fold = Fold::new(frames, loops);
        let shown = |index: &usize| !fold.hides(*index);
        (0..frames.len()).filter(shown).collect()
    }

    /// What works for the program stays; loops, with or without a name, what calls, and how the thread was started go, and so does what is nameless in the interpreter below its newest loop.
    #[test]
    fn only_the_interpreters_own_is_left_out() {
        let (ours, theirs) = (&Origin::Anonymous, &Origin::Vdso);
        let frames = [
            frame("memcpy", Role::Other, theirs),
            frame("python+0x10", Role::Other, ours),
            frame("python+0x20", Role::Other, ours),
            frame("_PyObject_Call", Role::Machinery, ours),
            frame("python+0x30", Role::Other, ours),
            frame("libz+0x40", Role::Other, theirs),
            frame("list_sort_impl", Role::Other, ours),
            frame("_PyEval_EvalFrameDefault", Role::Loop, ours),
            frame("Py_RunMain", Role::Startup, ours),
            frame("libc+0x50", Role::Other, theirs),
            frame("_start", Role::Startup, ours),
        ];
        assert_eq!(shown(&frames, &[2, 7]), [0, 1, 5, 6]);
    }

    /// Code made at run time is left out where it calls a loop, and nowhere else.
    #[test]
    fn trampolines() {
        let (made, ours) = (&Origin::Anonymous, &Origin::Vdso);
        let frames = [
            frame("work+0x10", Role::Other, made),
            frame("_PyEval_EvalFrameDefault", Role::Loop, ours),
            frame("[anonymous]+0x20", Role::Other, made),
            frame("[anonymous]+0x30", Role::Other, made),
            frame("list_sort_impl", Role::Other, ours),
            frame("_PyEval_EvalFrameDefault", Role::Loop, ours),
            frame("[anonymous]+0x40", Role::Other, made),
            frame("Py_RunMain", Role::Startup, ours),
        ];
        assert_eq!(shown(&frames, &[1, 5]), [0, 3, 4]);
    }

    /// Of a program without an interpreter only how it starts is left out, not what is nameless above that, nor what has such a name and runs in the middle.
    #[test]
    fn other_programs() {
        let module = &Origin::Anonymous;
        let frames = [
            frame("program+0x10", Role::Other, module),
            frame("start_thread", Role::Startup, module),
            frame("work", Role::Other, module),
            frame("program+0x20", Role::Other, module),
            frame("start_thread", Role::Startup, module),
            frame("clone3", Role::Startup, module),
        ];
        assert_eq!(shown(&frames, &[]), [0, 1, 2, 3]);
    }
}
