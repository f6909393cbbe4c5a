//! Looking through writable memory where no symbol helps.

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::{ElfImage, FindError};
use crate::layout::{DebugOffsetsHeader, Field, Layout, Version};
use crate::runtime::Runtime;

/// Read at a time.
const BLOCK: usize = 1 << 20;
/// By how much blocks overlap, so that what is looked for lies wholly in one: more than
/// [`DebugOffsetsHeader::SIZE`] or the text of a version.
const OVERLAP: usize = 64;
/// Pointers to what looks like an interpreter; a process has one.
const MAX_POINTERS: usize = 256;
/// The most that is searched of one image; an interpreter's own data are some
/// 600 KB, an embedder's may be larger.
const MAX_SEARCH: u64 = 256 << 20;

/// Calls `look` with each block of the image's writable memory until it finds something.
fn each_block<T>(
    memory: &dyn Memory,
    elf: &ElfImage,
    mut look: impl FnMut(RemoteAddr, &[u8]) -> Option<T>,
) -> Option<T> {
    let mut budget = MAX_SEARCH;
    for (start, size) in &elf.writable {
        let size = (*size).min(budget);
        budget -= size;
        let mut at = 0;
        while at < size {
            let len = usize::try_from(size - at).map_or(BLOCK, |rest| rest.min(BLOCK));
            let addr = start.offset(at);
            let mut block = vec![0; len];
            if memory.read(addr, &mut block).is_ok()
                && let Some(found) = look(addr, &block)
            {
                return Some(found);
            }
            let is_last = at + len as u64 == size;
            at += (if is_last { len } else { len - OVERLAP }) as u64;
        }
    }
    None
}

/// The address of `_PyRuntime` by the cookie that opens it.
pub(super) fn cookie(memory: &dyn Memory, elf: &ElfImage) -> Option<RemoteAddr> {
    each_block(memory, elf, |addr, block| {
        let cookies = block
            .chunks_exact(8)
            .enumerate()
            .filter(|(_, word)| *word == DebugOffsetsHeader::COOKIE);
        for (index, _) in cookies {
            let at = index * 8;
            let header = Bytes(block).slice(at, DebugOffsetsHeader::SIZE);
            if header.is_some_and(|header| DebugOffsetsHeader::parse(header).is_some()) {
                return Some(addr.offset(at as u64));
            }
        }
        None
    })
}

/// The interpreter's version by the text that `Py_GetVersion` made.
pub(super) fn version(memory: &dyn Memory, elf: &ElfImage) -> Option<Version> {
    each_block(memory, elf, |_, block| Version::scan(block))
}

/// Words in writable memory that point to something with a thread that points back.
pub(super) fn interpreter_pointers(
    memory: &dyn Memory,
    elf: &ElfImage,
    layout: &Layout,
) -> Vec<RemoteAddr> {
    let (Ok(thread_head), Ok(back)) = (
        layout.need(Field::InterpTstateHead),
        layout.need(Field::TstateInterp),
    ) else {
        return Vec::new();
    };
    let points_back = |interpreter: RemoteAddr| {
        let thread = memory
            .read_ptr(interpreter.offset(thread_head as u64))
            .ok()?;
        let same = memory.read_ptr(thread.offset(back as u64)).ok()? == interpreter;
        (same && !thread.is_null()).then_some(())
    };
    let mut found = Vec::new();
    each_block(memory, elf, |addr, block| {
        for (index, word) in block.chunks_exact(8).enumerate() {
            let Some(pointer) = Bytes(word).ptr(0) else {
                continue;
            };
            // User space, aligned, and not a small number.
            let plausible = (0x1_0000..1 << 47).contains(&pointer.get()) && pointer.is_aligned(8);
            let at = addr.offset(index as u64 * 8);
            if plausible && points_back(pointer).is_some() && found.last() < Some(&at) {
                found.push(at);
            }
        }
        (found.len() >= MAX_POINTERS).then_some(())
    });
    found
}

/// Whether what `runtime` points to has the shape of an interpreter: a thread
/// that points back, and a dict of modules whose type is called so (which
/// tells builds with larger object headers apart).
pub(super) fn check_shape(memory: &dyn Memory, runtime: &Runtime) -> Result<(), FindError> {
    let layout = &runtime.layout;
    let unreadable = |_| FindError::Unrecognised(runtime.version);
    let at = |base: RemoteAddr, field| -> Result<RemoteAddr, FindError> {
        memory
            .read_ptr(base.offset(layout.need(field)? as u64))
            .map_err(unreadable)
    };
    let not_ready = FindError::NotReady(Some(runtime.version));
    let interpreter = memory.read_ptr(runtime.head).map_err(unreadable)?;
    if interpreter.is_null() {
        return Err(not_ready);
    }
    let thread = at(interpreter, Field::InterpTstateHead)?;
    if thread.is_null() {
        return Err(not_ready);
    }
    if at(thread, Field::TstateInterp)? != interpreter {
        return Err(FindError::Unrecognised(runtime.version));
    }
    let modules = at(interpreter, Field::InterpModules)?;
    if modules.is_null() {
        return Err(not_ready);
    }
    let name = at(at(modules, Field::ObjectType)?, Field::TypeName)?;
    let mut text = [0; 5];
    memory.read(name, &mut text).map_err(unreadable)?;
    if &text != b"dict\0" {
        return Err(FindError::Unrecognised(runtime.version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;

    /// A cookie is found wherever it lies, across the end of a block and behind one that
    /// is cut off or no header.
    #[test]
    fn cookies_lie_anywhere() {
        let mut header = DebugOffsetsHeader::COOKIE.to_vec();
        header.extend(0x030d_00f0_u64.to_le_bytes());
        header.extend(0_u64.to_le_bytes());
        let start = RemoteAddr::new(0x10_0000);
        for at in [0, BLOCK - 64, BLOCK - 16, BLOCK - 8, BLOCK, 2 * BLOCK - 72] {
            let mut data = vec![0; 2 * BLOCK];
            data[at..at + 24].copy_from_slice(&header);
            if at > BLOCK {
                // One that is none, and one that only begins.
                data[BLOCK - 8..BLOCK].copy_from_slice(&header[..8]);
            }
            let mut memory = Snapshot::new();
            memory.insert(start, data);
            let elf = ElfImage {
                bias: 0,
                writable: vec![(start, 2 * BLOCK as u64)],
                dynamic: None,
            };
            assert_eq!(cookie(&memory, &elf), Some(start.offset(at as u64)), "{at}");
        }
    }
}
