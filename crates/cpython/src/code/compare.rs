use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};

use super::resolved::Proof;
use super::{CodeCache, CodeError};

/// Code objects that begin this close to one another, in bytes, are copied together.
const NEAR: u64 = 2048;
/// As many as are compared at a time: with what lies between them they take 1 MiB.
const BATCH: usize = 512;

impl CodeCache {
    /// Compares these code objects, in the order of their addresses, with what
    /// they were decoded from, and decodes those that are new.
    pub(super) fn compare(
        &mut self,
        memory: &dyn Memory,
        codes: &[RemoteAddr],
        now: Proof,
    ) -> Result<(), CodeError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut batches = codes.chunks(BATCH);
        let done = batches.try_for_each(|codes| {
            self.copy(memory, codes, &mut scratch)?;
            let bytes = scratch.chunks_exact(self.layout.span);
            for (code, bytes) in codes.iter().zip(bytes) {
                match self.entries.get_mut(code) {
                    Some(entry) if *entry.fingerprint == *bytes => entry.proof = now,
                    _ => {
                        let entry = self.decode(memory, *code, bytes, now)?;
                        self.kept.add(&entry.code.lines);
                        if let Some(before) = self.entries.insert(*code, entry) {
                            self.kept.remove(&before.code.lines);
                        }
                    }
                }
            }
            Ok(())
        });
        self.scratch = scratch;
        done
    }

    /// Copies what identifies each code object. Objects made together lie
    /// together, and a range of a page costs no more than one of a few bytes.
    fn copy(
        &self,
        memory: &dyn Memory,
        codes: &[RemoteAddr],
        scratch: &mut Vec<u8>,
    ) -> Result<(), CodeError> {
        let span = self.layout.span;
        let start = |code: &RemoteAddr| code.offset(self.layout.first as u64);
        let near = |a: &RemoteAddr, b: &RemoteAddr| {
            let between = b.checked_sub(*a);
            between.is_some_and(|between| between < NEAR)
        };
        let groups: Vec<&[RemoteAddr]> = codes.chunk_by(near).collect();
        let lens = groups.iter().map(|group| {
            let reach = group.first().zip(group.last());
            let reach = reach.and_then(|(first, last)| last.checked_sub(*first));
            usize::try_from(reach.unwrap_or(0)).unwrap_or(0) + span
        });
        let lens: Vec<usize> = lens.collect();
        let mut bytes = vec![0; lens.iter().sum()];
        let mut rest = bytes.as_mut_slice();
        let mut ranges = Vec::with_capacity(groups.len());
        for (group, len) in groups.iter().zip(&lens) {
            let (buf, after) = rest.split_at_mut(*len);
            rest = after;
            let addr = group.first().map(start).unwrap_or_default();
            ranges.push(Range { addr, buf });
        }
        let done = memory.read_scattered(&mut ranges);
        scratch.clear();
        scratch.resize(codes.len() * span, 0);
        let mut slots = scratch.chunks_exact_mut(span);
        let mut group_bytes = bytes.as_slice();
        for (index, (group, len)) in groups.iter().zip(&lens).enumerate() {
            let (copied, after) = group_bytes.split_at(*len);
            group_bytes = after;
            let first = group.first().copied().unwrap_or_default();
            for (code, slot) in group.iter().zip(&mut slots) {
                let skip = code.checked_sub(first);
                let skip = skip.and_then(|skip| usize::try_from(skip).ok());
                let found = skip.and_then(|skip| Bytes(copied).slice(skip, span));
                match found.filter(|_| index < done) {
                    Some(found) => slot.copy_from_slice(found),
                    // Between two of them there may be a gap.
                    None => memory
                        .read(start(code), slot)
                        .map_err(|_| CodeError::NotCode(*code))?,
                }
            }
        }
        Ok(())
    }
}
