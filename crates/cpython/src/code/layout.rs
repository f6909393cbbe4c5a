use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;

/// Where in a code object is what we want of it.
#[derive(Clone, Debug)]
pub(super) struct CodeLayout {
    pub(super) object_type: usize,
    pub(super) type_name: usize,
    pub(super) filename: usize,
    pub(super) name: usize,
    pub(super) qualified_name: Option<usize>,
    pub(super) first_line: usize,
    pub(super) line_table: usize,
    /// From 3.11 on the bytecode follows the object.
    pub(super) bytecode: Option<usize>,
    /// To 3.10 it is an object of its own, whose size is here.
    pub(super) bytecode_object: Option<usize>,
    pub(super) object_size: usize,
    pub(super) copies: Option<Copies>,
    pub(super) encoding: LineEncoding,
    /// The bytes that are read and compared.
    pub(super) first: usize,
    pub(super) span: usize,
}

/// Per-thread copies of the bytecode (`_PyCodeArray`, `Include/cpython/code.h`,
/// free-threaded builds from 3.14 on).
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    pub(super) array: usize,
    pub(super) size: usize,
    pub(super) entries: usize,
}

impl CodeLayout {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let object_type = layout.need(Field::ObjectType)?;
        let filename = layout.need(Field::CodeFilename)?;
        let name = layout.need(Field::CodeName)?;
        let qualified_name = layout.get(Field::CodeQualname);
        let first_line = layout.need(Field::CodeFirstlineno)?;
        let line_table = layout.need(Field::CodeLinetable)?;
        let copies = match layout.get(Field::CodeTlbc) {
            Some(array) => Some(Copies {
                array,
                size: layout.need(Field::TlbcSize)?,
                entries: layout.need(Field::TlbcEntries)?,
            }),
            None => None,
        };
        let compared = [
            Some(object_type),
            Some(filename),
            Some(name),
            qualified_name,
            Some(first_line),
            Some(line_table),
            layout.get(Field::CodeVersion),
            layout.get(Field::CodeCode),
            layout.get(Field::CodeConsts),
        ];
        let first = compared.iter().flatten().min().copied().unwrap_or(0);
        let last = compared.iter().flatten().max().copied().unwrap_or(0);
        Ok(Self {
            object_type,
            type_name: layout.need(Field::TypeName)?,
            filename,
            name,
            qualified_name,
            first_line,
            line_table,
            bytecode: layout.get(Field::CodeAdaptive),
            bytecode_object: layout.get(Field::CodeCode),
            object_size: layout.need(Field::VarSize)?,
            copies,
            encoding: LineEncoding::of(layout),
            first,
            span: last + 8 - first,
        })
    }
}
