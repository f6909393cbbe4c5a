use std::collections::BTreeSet;

use firefinch_native::arch::x86_64;
use firefinch_native::{Mapping, Objects};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use object::{Object, ObjectSection};

use super::files::Files;
use super::target::Sample;

/// Another unwinder, with the same modules.
pub(crate) struct Oracle {
    unwinder: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
}

impl Oracle {
    pub(crate) fn new(mappings: &[Mapping], files: &Files) -> Self {
        let mut unwinder = UnwinderX86_64::new();
        let mut seen = BTreeSet::new();
        for mapping in mappings {
            if !seen.insert(mapping.origin.clone()) {
                continue;
            }
            let Some(bytes) = files.object(&mapping.origin) else {
                continue;
            };
            let mut whole = Vec::new();
            assert!(bytes.each_piece(|piece| whole.extend(piece)));
            let elf = object::File::parse(&whole[..]).expect("an object file");
            let section = |name| {
                let section = elf.section_by_name(name)?;
                let range = section.address()..section.address() + section.size();
                Some((range, section.data().ok()?.to_vec()))
            };
            let (text_svma, text) = section(".text").unzip();
            let (eh_frame_svma, eh_frame) = section(".eh_frame").unzip();
            let (eh_frame_hdr_svma, eh_frame_hdr) = section(".eh_frame_hdr").unzip();
            let image = firefinch_native::Image::parse(bytes.clone()).expect("sound");
            let len = mapping.end.get() - mapping.start.get();
            let bias = image.load_bias(mapping.start.get(), mapping.offset, len);
            unwinder.add_module(Module::new(
                format!("{:?}", mapping.origin),
                mapping.start.get()..mapping.end.get(),
                bias.expect("mapped"),
                ExplicitModuleSectionInfo {
                    base_svma: 0,
                    text_svma,
                    text,
                    eh_frame_svma,
                    eh_frame,
                    eh_frame_hdr_svma,
                    eh_frame_hdr,
                    ..Default::default()
                },
            ));
        }
        Self {
            unwinder,
            cache: CacheX86_64::new(),
        }
    }

    /// The addresses of a stack, newest first, if it finds the stack's root.
    pub(crate) fn unwind(&mut self, sample: &Sample) -> Option<Vec<u64>> {
        let register = |r| sample.registers.get(r).expect("all are known");
        let regs = UnwindRegsX86_64::new(sample.pc, register(x86_64::RSP), register(x86_64::RBP));
        let mut read = |addr: u64| {
            let at = usize::try_from(addr.wrapping_sub(sample.stack_start)).map_err(|_| ())?;
            let bytes = sample.stack.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or(())
        };
        let mut iter = self
            .unwinder
            .iter_frames(sample.pc, regs, &mut self.cache, &mut read);
        let mut found = Vec::new();
        while let Some(address) = iter.next().ok()? {
            found.push(address.address());
        }
        Some(found)
    }
}
