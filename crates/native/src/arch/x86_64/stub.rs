//! Linkers' stubs.

use iced_x86::{FlowControl, Mnemonic, OpKind};

use super::RSP;
use super::decode::decode;
use crate::ImageAddress;
use crate::arch::StubTarget;
use crate::image::{Code, Stub};
use crate::unwind::{Recovery, Rule};

/// The size of an entry. Those that only jump have half of that if indirect jumps
/// need no landing place.
const SIZE: u64 = 16;

/// `push offset(%rip)`, with which the first entry starts where the others get their
/// functions found at their first call. Static programs have none.
const FIRST: [u8; 2] = [0xff, 0x35];

/// Whether the entries of a section only jump, which starts at this address.
fn only_jumps(code: &mut Code<'_>, stub: Stub, section: u64) -> bool {
    stub == Stub::PltJump || !code.at(section).starts_with(&FIRST)
}

/// GNU ld describes its stubs itself, but in static programs; other linkers do not.
/// An entry of `.plt` is 16 bytes: a jump (6), a push (5), a jump to the first entry,
/// which pushes (6) on top of that and jumps. Others only jump.
pub(super) fn rule(code: &mut Code<'_>, stub: Stub, address: u64, offset: u64) -> Rule {
    let pushed = match offset {
        _ if only_jumps(code, stub, address.wrapping_sub(offset)) => 0,
        0..SIZE => 1 + u8::from(offset >= 6),
        _ => u8::from(offset % SIZE >= 11),
    };
    Rule::stub(RSP, i32::from(pushed) * 8 + 8, Recovery::AtCfa(-8))
}

/// What the stub at an address jumps to, which lies `offset` bytes into its section.
///
/// GNU ld and lld write `jmp *slot(%rip)`, after `endbr64` where that is wanted; then
/// `.plt` has only `endbr64; push $number; jmp first`. mold's load the number into R11
/// before they jump.
pub(super) fn target(
    code: &mut Code<'_>,
    stub: Stub,
    address: u64,
    offset: u64,
) -> Option<StubTarget> {
    let sizes: &[u64] = match only_jumps(code, stub, address.wrapping_sub(offset)) {
        true => &[SIZE / 2, SIZE],
        false => &[SIZE],
    };
    let starts = sizes.iter().map(|size| address.checked_sub(offset % size));
    let mut starts = starts.flatten();
    starts.find_map(|start| entry(code, start))
}

fn entry(code: &mut Code<'_>, start: u64) -> Option<StubTarget> {
    let end = start.checked_add(SIZE)?;
    let mut number = None;
    let mut at = start;
    while at < end {
        let instruction = decode(code, at);
        match instruction.mnemonic() {
            Mnemonic::Endbr64 => {}
            Mnemonic::Mov if instruction.op0_kind() == OpKind::Register => {}
            Mnemonic::Push if instruction.op0_kind() != OpKind::Memory => {
                number = u32::try_from(instruction.try_immediate(0).ok()?).ok();
            }
            Mnemonic::Jmp => {
                let is_slot = instruction.flow_control() == FlowControl::IndirectBranch
                    && instruction.is_ip_rel_memory_operand();
                let slot = || ImageAddress::new(instruction.ip_rel_memory_address());
                return match is_slot {
                    true => Some(StubTarget::Slot(slot())),
                    false => number.map(StubTarget::Numbered),
                };
            }
            _ => return None,
        }
        at = instruction.next_ip();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(stub: Stub, offset: u64, code: &[u8]) -> Option<StubTarget> {
        let start = 0x1000;
        target(&mut Code::copied(start, code), stub, start + offset, offset)
    }

    /// The entries that linkers write tell their slot or number, at each of their instructions; code that is none of them does not, nor any part of one.
    #[test]
    fn entries() {
        let slot = |slot| Some(StubTarget::Slot(ImageAddress::new(slot)));
        // jmp *0x2000(%rip); push $5; jmp first
        let plain = b"\xff\x25\x00\x20\x00\x00\x68\x05\x00\x00\x00\xe9\xe0\xff\xff\xff";
        for at in [0, 6, 11] {
            assert_eq!(found(Stub::Plt, at, plain), slot(0x3006));
            assert_eq!(found(Stub::PltJump, at, plain), slot(0x3006));
        }
        // endbr64; push $5; bnd jmp first; nop
        let numbered = b"\xf3\x0f\x1e\xfa\x68\x05\x00\x00\x00\xf2\xe9\xe1\xff\xff\xff\x90";
        let number = Some(StubTarget::Numbered(5));
        for at in [0, 4, 9] {
            assert_eq!(found(Stub::Plt, at, numbered), number);
        }
        // endbr64; bnd jmp *0x2000(%rip); nop
        let second = b"\xf3\x0f\x1e\xfa\xf2\xff\x25\x00\x20\x00\x00\x0f\x1f\x44\x00\x00";
        for at in [0, 4] {
            assert_eq!(found(Stub::PltJump, at, second), slot(0x300b));
        }
        // Twice jmp *0x2000(%rip); xchg %ax,%ax
        let short = b"\xff\x25\x00\x20\x00\x00\x66\x90\xff\x25\x00\x20\x00\x00\x66\x90";
        assert_eq!(found(Stub::PltJump, 0, short), slot(0x3006));
        assert_eq!(found(Stub::PltJump, 8, short), slot(0x300e));
        // endbr64; mov $5, %r11d; jmp *0x2000(%rip)
        let mold = b"\xf3\x0f\x1e\xfa\x41\xbb\x05\x00\x00\x00\xff\x25\x00\x20\x00\x00";
        assert_eq!(found(Stub::Plt, 10, mold), slot(0x3010));
        // The first entry: push 0x2000(%rip); jmp *0x2008(%rip); nop
        let first = b"\xff\x35\x00\x20\x00\x00\xff\x25\x08\x20\x00\x00\x0f\x1f\x40\x00";
        assert_eq!(found(Stub::Plt, 0, first), None);
        assert_eq!(found(Stub::Plt, 0, &[0x90; 16]), None);
        for end in 0..16 {
            let whole = slot(0x3006).filter(|_| end >= 6);
            assert_eq!(found(Stub::Plt, 0, &plain[..end]), whole);
            assert_eq!(
                found(Stub::Plt, 0, &numbered[..end]),
                number.filter(|_| end == 15)
            );
        }
    }

    /// What an entry has pushed is known at each instruction, and that a section without a first entry pushes nothing.
    #[test]
    fn pushed() {
        let cfa = |code: &[u8], offset: u64| {
            let mut code = Code::copied(0x1000, code);
            let found = rule(&mut code, Stub::Plt, 0x1000 + offset, offset);
            let of = |cfa| Rule::stub(RSP, cfa, Recovery::AtCfa(-8));
            [8, 16, 24].into_iter().find(|cfa| of(*cfa) == found)
        };
        let mut lazy = b"\xff\x35\x00\x20\x00\x00\xff\x25\x08\x20\x00\x00\x0f\x1f\x40\x00".to_vec();
        lazy.extend(b"\xff\x25\x00\x20\x00\x00\x68\x05\x00\x00\x00\xe9\xe0\xff\xff\xff");
        let pushed = [(0, 16), (6, 24), (16, 8), (22, 8), (27, 16)];
        for (offset, expected) in pushed {
            assert_eq!(cfa(&lazy, offset), Some(expected), "{offset}");
        }
        let fixed = b"\xff\x25\x00\x20\x00\x00\x66\x90\xff\x25\x00\x20\x00\x00\x66\x90";
        assert_eq!([cfa(fixed, 0), cfa(fixed, 8)], [Some(8); 2]);
    }
}
