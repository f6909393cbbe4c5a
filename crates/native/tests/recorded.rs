//! Stacks recorded on another processor, at every instruction of a program.

use std::path::Path;
use std::sync::Arc;

use firefinch_memory::{RemoteAddr, Snapshot};
use firefinch_native::arch::aarch64::{AARCH64, FP, LR, SP};
use firefinch_native::{
    CodeAddress, DebugPlaces, InstructionPointer, Limits, MappedFile, Mapping, Modules,
    ObjectBytes, Objects, Origin, Registers, ReturnAddress, StackCopy, Symbolizer, Unwinder,
};

/// A program in one file, linked to a fixed address.
struct Recording {
    elf: Vec<u8>,
    /// The lowest stack address recorded, and the registers and words that
    /// changed of each step.
    base: u64,
    steps: Vec<Step>,
}

struct Step {
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
    changed: Vec<(usize, u64)>,
}

struct OneFile(Vec<u8>);

impl Objects for OneFile {
    fn object(&self, _: &Origin) -> Option<ObjectBytes> {
        Some(ObjectBytes::new(self.0.clone()))
    }
}

/// The program is linked to this address, in one segment.
const START: u64 = 0x40_0000;

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("hexadecimal")
}

impl Recording {
    fn load(name: &str) -> Self {
        let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
        let file = |extension| captures.join(format!("{name}.{extension}"));
        let text = std::fs::read_to_string(file("steps")).expect("recorded");
        let mut lines = text.lines();
        let first = lines.next().expect("a first line");
        let step = |line: &str| {
            let mut words = line.split(' ');
            let mut register = || hex(words.next().expect("a register"));
            let (pc, sp, fp, lr) = (register(), register(), register(), register());
            let changed = words.map(|word| {
                let (offset, value) = word.split_once(':').expect("a pair");
                (usize::try_from(hex(offset)).expect("small"), hex(value))
            });
            let changed = changed.collect();
            Step {
                pc,
                sp,
                fp,
                lr,
                changed,
            }
        };
        Self {
            elf: std::fs::read(file("elf")).expect("recorded"),
            base: hex(first.split(' ').next().expect("an address")),
            steps: lines.map(step).collect(),
        }
    }

    fn modules(&self) -> Modules {
        let program = Mapping {
            start: RemoteAddr::new(START),
            end: RemoteAddr::new(START + 0x1000),
            offset: 0,
            origin: Origin::File(MappedFile {
                path: Path::new("/program").into(),
                device: 0,
                inode: 0,
                build_id: None,
            }),
        };
        let objects = Arc::new(OneFile(self.elf.clone()));
        Modules::new(&AARCH64, vec![program], objects)
    }

    /// The instruction at an address, 0 if the program has none there.
    fn instruction(&self, pc: u64) -> u32 {
        let at = pc
            .checked_sub(START)
            .and_then(|at| usize::try_from(at).ok());
        let code = at.and_then(|at| self.elf.get(at..)?.first_chunk());
        code.map_or(0, |code| u32::from_le_bytes(*code))
    }
}

/// The frames as the instructions executed made them: a call adds one, a
/// return takes one away, and so do signals.
#[derive(Default)]
struct Shadow(Vec<CodeAddress>);

const SYSTEM_CALL: u32 = 0xd400_0001;
const SIGNAL_RETURN: u32 = 0xd280_1168;
const RETURN: u32 = 0xd65f_03c0;
const RETURN_SIGNED: u32 = 0xd65f_0bff;

/// Where a `bl` at `pc` goes.
fn call_target(instruction: u32, pc: u64) -> Option<u64> {
    if instruction >> 26 != 0b10_0101 {
        return None;
    }
    // 26 bits with a sign, in units of four bytes.
    let offset = i64::from((instruction << 6).cast_signed() >> 6) * 4;
    Some(pc.wrapping_add_signed(offset))
}

fn returns_to(pc: u64) -> CodeAddress {
    CodeAddress::Return(ReturnAddress::new(RemoteAddr::new(pc)).expect("not null"))
}

impl Shadow {
    /// Goes from one step to the next. A system call or a signal may take the
    /// first instruction after it along, as the emulator does not stop between.
    fn go(&mut self, recording: &Recording, before: u64, step: &Step) {
        let after = step.pc;
        let in_handler = self.interrupted().is_some();
        // The handler may have signed it already.
        let lr = step.lr & ((1 << 48) - 1);
        if !in_handler && recording.instruction(lr) == SIGNAL_RETURN {
            // The signal came before the instruction was executed.
            let pc = InstructionPointer::new(RemoteAddr::new(before));
            self.0.push(CodeAddress::Instruction(pc));
            let lr = InstructionPointer::new(RemoteAddr::new(lr));
            self.0.push(CodeAddress::Instruction(lr));
        } else if recording.instruction(before) != SYSTEM_CALL {
            self.execute(recording, before, after);
        } else if let Some(CodeAddress::Instruction(pc)) = self.0.last().copied() {
            self.0.pop();
            self.execute_unless_there(recording, pc.addr().get(), after);
        } else {
            self.execute_unless_there(recording, before + 4, after);
        }
    }

    fn interrupted(&self) -> Option<&CodeAddress> {
        let mut frames = self.0.iter();
        frames.find(|f| matches!(f, CodeAddress::Instruction(_)))
    }

    fn execute_unless_there(&mut self, recording: &Recording, pc: u64, after: u64) {
        if pc != after {
            self.execute(recording, pc, after);
        }
    }

    fn execute(&mut self, recording: &Recording, pc: u64, after: u64) {
        let instruction = recording.instruction(pc);
        if call_target(instruction, pc) == Some(after) {
            self.0.push(returns_to(pc + 4));
        } else if instruction == RETURN || instruction == RETURN_SIGNED {
            self.0.pop();
        }
    }
}

/// At every instruction of a program for aarch64 the frames are those that its calls, returns and signals made, whether it keeps frame pointers, signs return addresses, or neither.
#[test]
fn aarch64() {
    for name in ["aarch64-plain", "aarch64-pointers", "aarch64-signed"] {
        let recording = Recording::load(name);
        let mut unwinder = Unwinder::new(recording.modules(), Limits::default());
        let mut stack = vec![0; 16384];
        let mut shadow = Shadow::default();
        let mut frames = Vec::new();
        let mut signals = 0;
        for (at, step) in recording.steps.iter().enumerate() {
            for (offset, value) in &step.changed {
                stack[*offset..offset + 8].copy_from_slice(&value.to_le_bytes());
            }
            if let Some(before) = at.checked_sub(1) {
                let before = recording.steps[before].pc;
                shadow.go(&recording, before, step);
            }
            let mut registers = Registers::new();
            for (register, value) in [(SP, step.sp), (FP, step.fp), (LR, step.lr)] {
                registers.set(register, value);
            }
            let used = usize::try_from(step.sp - recording.base).expect("inside");
            let copy = StackCopy {
                start: RemoteAddr::new(step.sp),
                bytes: &stack[used..],
            };
            let pc = InstructionPointer::new(RemoteAddr::new(step.pc));
            let nothing = Snapshot::new();
            let outcome = unwinder.unwind(pc, &registers, copy, &nothing, &mut frames);
            let found: Vec<_> = frames.iter().map(|f| f.address).collect();
            let mut expected = vec![CodeAddress::Instruction(pc)];
            expected.extend(shadow.0.iter().rev());
            assert_eq!(found, expected, "{name}, step {at}: {outcome:?}");
            assert!(outcome.is_certain(), "{name}, step {at}: {outcome:?}");
            assert_eq!(outcome.outside_reads, 0);
            signals += usize::from(
                shadow
                    .0
                    .iter()
                    .any(|f| matches!(f, CodeAddress::Instruction(_))),
            );
        }
        assert!(recording.steps.len() > 100 && signals > 10, "{signals}");
    }
}

/// The recorded program's functions have their names.
#[test]
fn aarch64_names() {
    let recording = Recording::load("aarch64-plain");
    let modules = recording.modules();
    let mut symbolizer = Symbolizer::new(&AARCH64, DebugPlaces::default());
    let mut names = Vec::new();
    for step in &recording.steps {
        let located = modules.locate(RemoteAddr::new(step.pc)).expect("code");
        let found = symbolizer.resolve(located.module, located.address, modules.objects());
        if names.last() != Some(&found[0].name) {
            names.push(found[0].name.clone());
        }
    }
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(names[..5], ["_start", "begin", "dynamic", "large", "saves"]);
    assert!(names.contains(&"restorer"));
}
