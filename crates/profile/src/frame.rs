use std::num::NonZeroU32;

use crate::StringId;

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// A Python function, method, module or class body.
    Python,
    /// Machine code in user space.
    Native,
    /// Machine code in the kernel.
    Kernel,
    /// Not a frame of the target but a remark of ours standing in its place,
    /// such as `(unreadable: not mapped)`; the name is the whole text.
    Marker,
}

/// One level of a stack: a function, and the line it stands at.
///
/// Frames are interned by equality, so two lines of a function are two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function's bare name, `parse`.
    pub name: StringId,
    /// The name with its class or enclosing function, `Reader.parse`, where known.
    pub qualified_name: Option<StringId>,
    /// The source file as the target names it, usually a full path.
    pub file: Option<StringId>,
    /// The file as people call it, `json/decoder.py`, where a shorter form is known.
    pub short_file: Option<StringId>,
    /// The line that is executing, counted from 1.
    pub line: Option<NonZeroU32>,
    /// The function's first line, counted from 1; for Python that of its first decorator.
    pub first_line: Option<NonZeroU32>,
    /// The object file that machine code is in, as people call it, `libz.so.1`.
    pub module: Option<StringId>,
    /// Where machine code without a name stands in `module`, if it may get one later:
    /// until then such frames are told apart by it.
    pub address: Option<u64>,
    /// Whether a compiler has put the function into the one below it.
    pub inlined: bool,
    /// What the frame is made of.
    pub kind: FrameKind,
}

impl Frame {
    /// A frame of which only the name is known.
    pub const fn new(name: StringId, kind: FrameKind) -> Self {
        Self {
            name,
            qualified_name: None,
            file: None,
            short_file: None,
            line: None,
            first_line: None,
            module: None,
            address: None,
            inlined: false,
            kind,
        }
    }

    /// The frame without its line: equal for all lines of one function, inlined
    /// or not.
    #[must_use]
    pub const fn function(self) -> Self {
        Self {
            line: None,
            address: None,
            inlined: false,
            ..self
        }
    }
}
