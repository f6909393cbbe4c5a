//! One accessor function of CPython, read as machine code.
//!
//! To 3.6 the list of interpreters starts at a static variable that stripped
//! files do not name, but the exported `PyInterpreterState_Head`
//! (`Python/pystate.c`) does nothing but return it.

use firefinch_memory::{Bytes, Memory, RemoteAddr};

/// More than any compiler puts before the load, even without optimisation.
const MAX_CODE: usize = 48;

/// The variable that a function of the form `return variable;` returns.
pub(super) fn returned_variable(memory: &dyn Memory, function: RemoteAddr) -> Option<RemoteAddr> {
    let mut code = [0; MAX_CODE];
    memory.read(function, &mut code).ok()?;
    x86_64(&code, function).or_else(|| aarch64(&code, function))
}

/// `mov rax, [rip + disp32]`
fn x86_64(code: &[u8], at: RemoteAddr) -> Option<RemoteAddr> {
    let start = code.windows(3).position(|w| w == [0x48, 0x8b, 0x05])?;
    let displacement = Bytes(code).i32(start + 3)?;
    let next = at.offset(start as u64 + 7);
    Some(next.offset(i64::from(displacement).cast_unsigned()))
}

/// `adrp xN, page` … `ldr x0, [xN, #offset]`, with an `add` between or not.
fn aarch64(code: &[u8], at: RemoteAddr) -> Option<RemoteAddr> {
    let mut page = None;
    let mut added = 0;
    for (index, word) in code.chunks_exact(4).enumerate() {
        let word = Bytes(word).u32(0)?;
        if word & 0x9f00_0000 == 0x9000_0000 {
            let pages = u64::from((word >> 5) & 0x7_ffff) << 2 | u64::from((word >> 29) & 3);
            // Sign-extend 21 bits, in pages.
            let pages = (pages << 43).cast_signed() >> 43;
            let here = (at.get() + index as u64 * 4) & !0xfff;
            page = Some(RemoteAddr::new(
                here.wrapping_add((pages << 12).cast_unsigned()),
            ));
            added = 0;
        } else if word & 0xffc0_0000 == 0x9100_0000 {
            added += u64::from((word >> 10) & 0xfff);
        } else if word & 0xffc0_0000 == 0xf940_0000 {
            let offset = u64::from((word >> 10) & 0xfff) * 8;
            return Some(page?.offset(added + offset));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load is found behind `endbr64`, and the displacement may be negative.
    #[test]
    fn x86_64_load() {
        let code = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xc3,
        ];
        let found = x86_64(&code, RemoteAddr::new(0x1000)).unwrap();
        assert_eq!(found.get(), 0x1000 + 11 - 7);
    }

    /// `adrp x0, +2 pages; ldr x0, [x0, #16]; ret`.
    #[test]
    fn aarch64_load() {
        let mut code = Vec::new();
        for word in [0xd000_0000_u32, 0xf940_0800, 0xd65f_03c0] {
            code.extend(word.to_le_bytes());
        }
        let found = aarch64(&code, RemoteAddr::new(0x40_0004)).unwrap();
        assert_eq!(found.get(), 0x40_2010);
    }
}
