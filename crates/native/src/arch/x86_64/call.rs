//! What stands before a return address.

use crate::arch::Call;

/// Recognizes a call instruction that ends at `after` by the bytes before it.
/// Jumps into the middle of an instruction are not considered, so what is no
/// call may look like one, and never the other way round.
pub(super) fn before(bytes: &[u8], after: u64) -> Call {
    if let Some([0xe8, displacement @ ..]) = bytes.last_chunk::<5>() {
        let displacement = i64::from(i32::from_le_bytes(*displacement));
        return Call::To(after.wrapping_add_signed(displacement));
    }
    // FF /2 by the length that its ModRM byte says, a prefix before it or not.
    let indirect = (2..=7).any(|len| {
        let Some(instruction) = bytes.len().checked_sub(len).and_then(|at| bytes.get(at..)) else {
            return false;
        };
        let &[0xff, modrm, ..] = instruction else {
            return false;
        };
        (modrm >> 3) & 7 == 2 && length(modrm, instruction.get(2).copied()) == Some(len)
    });
    match indirect {
        true => Call::Somewhere,
        false => Call::None,
    }
}

/// The length of an instruction of one byte with this ModRM byte and, if
/// there is one, this SIB byte.
fn length(modrm: u8, sib: Option<u8>) -> Option<usize> {
    let (mode, memory) = (modrm >> 6, modrm & 7);
    let has_sib = mode != 3 && memory == 4;
    let base = if has_sib { sib? & 7 } else { memory };
    let displacement = match mode {
        0 if base == 5 => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(2 + usize::from(has_sib) + displacement)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every form of a call is recognized, a direct one with its target, and other instructions are not.
    #[test]
    fn forms() {
        let calls: [&[u8]; 11] = [
            &[0xff, 0xd0],
            &[0x41, 0xff, 0xd4],
            &[0xff, 0x10],
            &[0xff, 0x50, 0x08],
            &[0xff, 0x90, 0, 1, 0, 0],
            &[0xff, 0x14, 0x24],
            &[0xff, 0x54, 0x24, 0x10],
            &[0xff, 0x94, 0x24, 0, 1, 0, 0],
            &[0xff, 0x15, 0, 1, 0, 0],
            &[0xff, 0x14, 0xc5, 0, 1, 0, 0],
            &[0x41, 0xff, 0x54, 0x24, 0x20],
        ];
        for call in calls {
            let mut bytes = vec![0x90; 16];
            bytes.extend(call);
            assert_eq!(before(&bytes, 0x1000), Call::Somewhere, "{call:x?}");
        }
        let direct = [0x90, 0x90, 0xe8, 0xfb, 0xff, 0xff, 0xff];
        assert_eq!(before(&direct, 0x1000), Call::To(0xffb));
        let others: [&[u8]; 6] = [
            &[],
            &[0x90; 16],
            &[0xff, 0xe0],
            &[0x0f, 0x05],
            &[0xff, 0x15, 0, 0, 0],
            &[0x48, 0x89, 0xe5],
        ];
        for other in others {
            assert_eq!(before(other, 0x1000), Call::None, "{other:x?}");
        }
    }
}
