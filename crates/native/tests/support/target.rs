use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use firefinch_memory::{Memory, RemoteAddr};
use firefinch_native::arch::x86_64;
use firefinch_native::{
    DebugPlaces, Frame, InstructionPointer, Limits, Modules, NameSource, Outcome, Registers,
    StackCopy, Symbol, Symbolizer, Unwinder,
};
use firefinch_process::{Pid, Process, ProcessMemory};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd;

use super::build::Program;
use super::files::{Files, mappings};

/// A program that has stopped itself.
pub(crate) struct Target {
    child: Child,
    pub(crate) process: Process,
    pub(crate) memory: ProcessMemory,
}

/// A thread's registers and the stack they point to.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) pc: u64,
    pub(crate) registers: Registers,
    pub(crate) stack_start: u64,
    pub(crate) stack: Vec<u8>,
}

impl Target {
    /// Starts a program and waits until it has raised SIGSTOP.
    pub(crate) fn start(program: &Program) -> Self {
        Self::run(&mut Command::new(&program.path))
    }

    /// Starts a command and waits until it has raised SIGSTOP.
    pub(crate) fn run(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("it starts");
        let id = i32::try_from(child.id()).expect("a pid");
        let status = waitpid(unistd::Pid::from_raw(id), Some(WaitPidFlag::WUNTRACED));
        assert!(
            matches!(status, Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))),
            "{status:?}"
        );
        let process = Process::open(Pid::new(id).expect("positive")).expect("alive");
        let memory = process.memory().expect("readable");
        Self {
            child,
            process,
            memory,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid().get()
    }

    /// The threads' numbers, the first thread first.
    pub(crate) fn threads(&self) -> Vec<i32> {
        let threads = self.process.threads().expect("alive");
        let mut threads: Vec<i32> = threads.iter().map(|tid| tid.get()).collect();
        threads.sort_unstable();
        threads
    }

    /// The modules as they are mapped now.
    pub(crate) fn modules(&self) -> (Modules, Arc<Files>) {
        let (mappings, files) = mappings(&self.process);
        let files = Arc::new(files);
        let modules = Modules::new(&x86_64::X86_64, mappings, files.clone());
        (modules, files)
    }

    /// The functions of a thread's stack, newest first, of the program itself
    /// and not of libraries; debug files are looked for below `debug_root`.
    pub(crate) fn symbols(&self, debug_root: Option<PathBuf>) -> (Vec<Symbol>, Arc<Files>) {
        let (mappings, mut files) = mappings(&self.process);
        files.debug_root = debug_root;
        let files = Arc::new(files);
        let modules = Modules::new(&x86_64::X86_64, mappings, files.clone());
        let mut unwinder = Unwinder::new(modules, Limits::default());
        let (frames, _) = self.sample(self.pid()).unwind(&mut unwinder, &self.memory);
        let places = DebugPlaces {
            debuginfod_caches: vec!["/cache".into()],
        };
        let mut symbolizer = Symbolizer::new(&x86_64::X86_64, places);
        let mut symbols = Vec::new();
        for frame in frames {
            let located = unwinder.modules().locate(frame.address.lookup());
            let located = located.expect("code");
            if located.module.name() == "program" {
                // The tables alone know as much of the function that is called,
                // and are as good before and after the rest was read.
                let address = located.address.expect("in a file");
                let brief = symbolizer.function(located.module, address, &*files);
                let found = symbolizer.resolve(located.module, located.address, &*files);
                assert_eq!((&brief.file, brief.line), (&None, None));
                if brief.source != NameSource::Nothing {
                    assert_eq!(Some(&brief.name), found.last().map(|symbol| &symbol.name));
                }
                assert_eq!(symbolizer.function(located.module, address, &*files), brief);
                symbols.extend(found.iter().cloned());
            }
        }
        (symbols, files)
    }

    pub(crate) fn unwinder(&self) -> Unwinder {
        Unwinder::new(self.modules().0, Limits::default())
    }

    /// The same; debug files are looked for below `debug_root`.
    pub(crate) fn unwinder_with(&self, debug_root: PathBuf) -> Unwinder {
        let (mappings, mut files) = mappings(&self.process);
        files.debug_root = Some(debug_root);
        let modules = Modules::new(&x86_64::X86_64, mappings, Arc::new(files));
        Unwinder::new(modules, Limits::default())
    }

    /// Traces a thread for as long as `look` takes.
    pub(crate) fn traced<T>(&self, tid: i32, look: impl FnOnce() -> T) -> T {
        let tid = unistd::Pid::from_raw(tid);
        ptrace::seize(tid, ptrace::Options::empty()).expect("ours");
        waitpid(tid, Some(WaitPidFlag::__WALL)).expect("it is stopped");
        let result = look();
        ptrace::detach(tid, None).expect("still stopped");
        result
    }

    /// Registers and stack, `bytes` of it at most, of a stopped thread that we trace.
    pub(crate) fn sample_traced(&self, tid: i32, bytes: u64) -> Sample {
        let regs = ptrace::getregs(unistd::Pid::from_raw(tid)).expect("traced");
        let words = [
            regs.r15,
            regs.r14,
            regs.r13,
            regs.r12,
            regs.rbp,
            regs.rbx,
            regs.r11,
            regs.r10,
            regs.r9,
            regs.r8,
            regs.rax,
            regs.rcx,
            regs.rdx,
            regs.rsi,
            regs.rdi,
            regs.orig_rax,
            regs.rip,
            regs.cs,
            regs.eflags,
            regs.rsp,
            regs.ss,
            regs.fs_base,
            regs.gs_base,
            regs.ds,
            regs.es,
            regs.fs,
            regs.gs,
        ];
        let image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let registers = x86_64::registers_from_prstatus(&image).expect("whole");
        let mut len = bytes;
        let start = RemoteAddr::new(regs.rsp);
        let stack = loop {
            match self.memory.read_vec(start, len, 1 << 24) {
                Ok(stack) => break stack,
                Err(error) => assert!(len > 64, "{error}"),
            }
            len -= len.min(512);
        };
        Sample {
            pc: regs.rip,
            registers,
            stack_start: regs.rsp,
            stack,
        }
    }

    /// Registers and stack of a thread, all of the stack that is mapped up to 1 MB.
    pub(crate) fn sample(&self, tid: i32) -> Sample {
        self.traced(tid, || {
            let first = self.sample_traced(tid, 4096);
            let maps = self.process.maps().expect("alive");
            let sp = RemoteAddr::new(first.stack_start);
            let stack = maps.iter().find(|m| m.contains(sp)).expect("mapped");
            let len = stack.end.get() - first.stack_start;
            self.sample_traced(tid, len.min(1 << 20))
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sample {
    /// Unwinds it, with the target's memory for what is not in the copy.
    pub(crate) fn unwind(
        &self,
        unwinder: &mut Unwinder,
        outside: &dyn Memory,
    ) -> (Vec<Frame>, Outcome) {
        let mut frames = Vec::new();
        let stack = StackCopy {
            start: RemoteAddr::new(self.stack_start),
            bytes: &self.stack,
        };
        let pc = InstructionPointer::new(RemoteAddr::new(self.pc));
        let outcome = unwinder.unwind(pc, &self.registers, stack, outside, &mut frames);
        (frames, outcome)
    }
}

/// The frames' addresses.
pub(crate) fn addresses(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|f| f.address.addr().get()).collect()
}

/// Compares two stacks, and says only where they differ first.
#[track_caller]
pub(crate) fn assert_same(ours: &[u64], theirs: &[u64]) {
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let rest = |stack: &[u64]| {
        let rest = stack.get(same..).unwrap_or_default();
        format!("{:#x?}", rest.get(..4).unwrap_or(rest))
    };
    let (ours, theirs) = (rest(ours), rest(theirs));
    assert_eq!(ours, theirs, "from frame {same} on");
}
