//! Looking for a caller on the stack.
//!
//! Of a blocked thread the kernel shows SP and the instruction pointer alone.
//! Programs built with frame pointers say in their unwind information that a
//! caller is found by that register, and nothing below has saved it. And a
//! function that describes itself nowhere and never returns has no code that
//! leads to its caller: those that call `main` and start threads in musl.

use std::sync::Arc;

use firefinch_memory::RemoteAddr;

use super::Frame;
use super::walk::Walk;
use crate::address::{CodeAddress, ImageAddress};
use crate::arch::Call;
use crate::image::Code;
use crate::module::Module;

/// How far above SP a frame pointer is looked for. Larger frames are of
/// functions with large buffers, which are few.
const MAX_DISTANCE: u64 = 16 << 10;

/// The same for a return address, without a frame pointer to confirm it.
const MAX_ROOM: u64 = 512;

/// How far above who throws it an exception is looked for to be caught.
const MAX_LANDING: u64 = 64 << 10;

/// Candidates that are tried.
const MAX_CANDIDATES: usize = 16;

/// What may lead to a frame's caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// The frame pointer.
    FramePointer(u64),
    /// The return address, and SP after the return.
    Return { pc: u64, sp: u64 },
}

/// A function that runs.
struct Running {
    module: Arc<Module>,
    start: ImageAddress,
    at: ImageAddress,
}

/// The frame pointer of a frame, by how much stack its function's code uses:
/// there has to be a frame record that the function may return by.
pub(super) fn by_frame_size(walk: &mut Walk<'_>, frame: &Frame) -> Option<Candidate> {
    let running = running(walk, frame)?;
    let image = running.module.image(walk.modules.objects(), walk.arch);
    let mut code = Code::of(image.ok()?);
    let size = (walk.arch.below_frame_pointer)(&mut code, running.start, running.at)?;
    let fp = frame.sp.get().checked_add(size)?;
    let (_, pc) = record(walk, fp)?;
    // The call may have been of a function that has jumped to this one.
    is_after_call(walk, pc).then_some(Candidate::FramePointer(fp))
}

/// What may be frame records above a frame's SP, nearest first: values that
/// point up the stack, each below what the function may return to.
pub(super) fn frame_pointers(walk: &mut Walk<'_>, frame: &Frame) -> Vec<Candidate> {
    let running = running(walk, frame);
    let mut found = Vec::new();
    let Some(first) = frame.sp.get().checked_next_multiple_of(8) else {
        return found;
    };
    for fp in (first..first.saturating_add(MAX_DISTANCE)).step_by(8) {
        // Beyond the copy of the stack there is nothing to find.
        let Some((caller_fp, pc)) = record(walk, fp) else {
            break;
        };
        if caller_fp > fp
            && caller_fp.is_multiple_of(8)
            && walk.modules.is_code(RemoteAddr::new(pc))
            && is_called_before(walk, running.as_ref(), pc)
        {
            found.push(Candidate::FramePointer(fp));
            if found.len() == MAX_CANDIDATES {
                break;
            }
        }
    }
    found
}

/// What may be return addresses of a frame whose function describes itself
/// nowhere, nearest first. Whatever is called there, it may have jumped to this
/// function.
pub(super) fn return_addresses(walk: &mut Walk<'_>, frame: &Frame) -> Vec<Candidate> {
    let mut found = Vec::new();
    let Some(first) = frame.sp.get().checked_next_multiple_of(8) else {
        return found;
    };
    for at in (first..first.saturating_add(MAX_ROOM)).step_by(8) {
        let Ok(pc) = walk.memory.u64(RemoteAddr::new(at)) else {
            break;
        };
        if is_after_call(walk, pc) {
            let sp = at.wrapping_add(8);
            found.push(Candidate::Return { pc, sp });
        }
    }
    found.truncate(MAX_CANDIDATES);
    found
}

/// Where the return address to a frame stands above it: SP after a return by it,
/// nearest first.
pub(super) fn returns_by(walk: &mut Walk<'_>, caller: &Frame) -> Vec<u64> {
    let (pc, sp) = (caller.address.addr().get(), caller.sp.get());
    let mut found = Vec::new();
    for at in (sp..sp.saturating_add(MAX_LANDING)).step_by(8) {
        let Ok(value) = walk.memory.u64(RemoteAddr::new(at)) else {
            break;
        };
        if value & walk.arch.pointer_mask == pc {
            found.push(at.wrapping_add(8));
            if found.len() == MAX_CANDIDATES {
                break;
            }
        }
    }
    found
}

/// Whether a frame may have been called from where the other one stands.
pub(super) fn may_be_called(walk: &Walk<'_>, frame: &Frame, caller: &Frame) -> bool {
    is_called_before(
        walk,
        running(walk, frame).as_ref(),
        caller.address.addr().get(),
    )
}

fn is_after_call(walk: &Walk<'_>, pc: u64) -> bool {
    matches!(
        walk.call_before(RemoteAddr::new(pc)),
        Some(Call::To(_) | Call::Somewhere)
    )
}

fn running(walk: &Walk<'_>, frame: &Frame) -> Option<Running> {
    let located = walk.modules.locate(frame.address.lookup())?;
    let lookup = located.address?;
    let start = located
        .module
        .function_start(walk.modules.objects(), walk.arch, lookup)?;
    let at = match frame.address {
        CodeAddress::Instruction(_) => lookup,
        CodeAddress::Return(_) => ImageAddress::new(lookup.get().wrapping_add(1)),
    };
    Some(Running {
        module: Arc::clone(located.module),
        start,
        at,
    })
}

/// The caller's frame pointer and the return address, if the stack has them.
fn record(walk: &mut Walk<'_>, fp: u64) -> Option<(u64, u64)> {
    let at = RemoteAddr::new(fp);
    let caller_fp = walk.memory.u64(at).ok()?;
    let pc = walk.memory.u64(at.offset(8)).ok()?;
    Some((caller_fp, pc & walk.arch.pointer_mask))
}

/// Whether the call before a return address may have been one of a function. A
/// direct call of another one is none, unless it is of a linker's stub.
fn is_called_before(walk: &Walk<'_>, running: Option<&Running>, pc: u64) -> bool {
    match walk.call_before(RemoteAddr::new(pc)) {
        Some(Call::Somewhere) => true,
        Some(Call::To(target)) => {
            let target = ImageAddress::new(target);
            let before = RemoteAddr::new(pc.wrapping_sub(1));
            let (Some(running), Some(located)) = (running, walk.modules.locate(before)) else {
                return false;
            };
            let image = located.module.image(walk.modules.objects(), walk.arch);
            let is_stub = image.is_ok_and(|image| image.stub_at(target).is_some());
            is_stub || (Arc::ptr_eq(located.module, &running.module) && target == running.start)
        }
        Some(Call::None) | None => false,
    }
}
