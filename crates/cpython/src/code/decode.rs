use std::sync::Arc;

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::cache::Entry;
use super::resolved::Proof;
use super::{CodeCache, CodeError, CodeObject};
use crate::lines::LineTable;
use crate::object::Objects;

/// Characters of a function's name; of generated ones some have hundreds.
const MAX_NAME: u32 = 8192;
/// Characters of a file's name: `PATH_MAX`.
const MAX_PATH: u32 = 4096;

impl CodeCache {
    pub(super) fn decode(
        &mut self,
        memory: &dyn Memory,
        code: RemoteAddr,
        bytes: &[u8],
        proof: Proof,
    ) -> Result<Entry, CodeError> {
        let not_code = CodeError::NotCode(code);
        let offsets = self.layout.clone();
        let view = Bytes(bytes);
        let pointer = |offset: usize| view.ptr(offset - offsets.first).ok_or(not_code);
        self.check_type(memory, code, pointer(offsets.object_type)?)?;
        let layout = self.objects.clone();
        let objects = Objects::new(memory, &layout);
        let name = objects.text_cut(pointer(offsets.name)?, MAX_NAME)?;
        let filename = objects.text_cut(pointer(offsets.filename)?, MAX_PATH)?;
        let qualified_name = match offsets.qualified_name {
            Some(offset) => Some(self.share(objects.text_cut(pointer(offset)?, MAX_NAME)?)),
            None => None,
        };
        let first_line = view
            .i32(offsets.first_line - offsets.first)
            .ok_or(not_code)?;
        // A generated function may claim a first line of zero or less.
        let first_line = u32::try_from(first_line).unwrap_or(0);
        // Without its line table a function still has a name: it costs the lines.
        let table = objects.bytes_within(pointer(offsets.line_table)?, self.kept.longest())?;
        let lines = table.ok().and_then(|table| {
            let lines = LineTable::decode(offsets.encoding, &table, first_line);
            self.kept.has_room(&lines, table.len()).then_some(lines)
        });
        let len = match offsets.bytecode_object {
            Some(offset) => {
                let bytecode = pointer(offset)?;
                let size = memory.read_u64(bytecode.offset(offsets.object_size as u64))?;
                u32::try_from(size).map_err(|_| not_code)?
            }
            None => lines.as_ref().map_or(u32::MAX, LineTable::code_len),
        };
        let lines = lines.unwrap_or_default();
        Ok(Entry {
            fingerprint: bytes.into(),
            proof,
            code: Arc::new(CodeObject {
                name: self.share(name),
                qualified_name,
                filename: self.share(filename),
                first_line,
                lines,
            }),
            len,
            copies: Vec::new(),
            is_used: true,
        })
    }

    /// `kind` must be the type named "code"; it is the same for all.
    fn check_type(
        &mut self,
        memory: &dyn Memory,
        code: RemoteAddr,
        kind: RemoteAddr,
    ) -> Result<(), CodeError> {
        if self.code_type == Some(kind) {
            return Ok(());
        }
        let name = memory.read_ptr(kind.offset(self.layout.type_name as u64))?;
        let mut text = [0; 5];
        memory.read(name, &mut text)?;
        if &text != b"code\0" {
            return Err(CodeError::NotCode(code));
        }
        self.code_type = Some(kind);
        Ok(())
    }

    fn share(&mut self, text: String) -> Arc<str> {
        if let Some((known, ())) = self.texts.get_key_value(text.as_str()) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text), ());
        text
    }
}
