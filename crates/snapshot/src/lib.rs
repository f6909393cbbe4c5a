//! One moment of a Python process in a small file.
//!
//! A [`Capture`] holds the memory that finding the interpreter and decoding all
//! of its stacks reads, what [`find`](firefinch_cpython::find) reads of files,
//! and what was decoded when it was made. So the decoders can be run again on
//! any machine, without an interpreter: see `tests/corpus`.
//!
//! # What is in it, and what is not
//! Only bytes that were read: code objects' names, file names and line tables,
//! thread names, the keys of `sys.modules` and of `sys.__dict__` as far as they
//! were compared, `sys.path`, thread states and frames. Memory that was merely
//! searched (writable memory for the version's text, a C library's thread
//! descriptor for the thread's number, a file's symbol table) is zero but for
//! what was found in it. A frame's locals are pointers to objects; they lie
//! among what is copied of a data stack, and what they point to is not there.
//! Only a small number may stand in a local itself (a tagged integer of 3.14
//! and later). No constants and no source are recorded.
//!
//! # Format
//! The line `firefinch snapshot 1` with its newline, then a zlib stream
//! (RFC 1950) of at most 64 MiB when expanded. Numbers in it are unsigned
//! LEB128 of up to 64 bits; a text is its length in bytes and UTF-8; a list is
//! its length and its items; an option is 0, or 1 and the value.
//!
//! | part | what it is |
//! |-|-|
//! | architecture | text, as `uname -m` says it; the memory is little-endian with 64-bit pointers |
//! | [`Observation`] | version, build and how it was found, as texts; `sys.path`, a list of texts; the list of threads |
//! | … a thread | address of its state; interpreter (option); ident; native id (option); name (option); 1 if it holds the GIL, else 0; the list of looks at its stack |
//! | … a look | 1 and the list of frames (function, file, line as an option), newest first; or 0 and the reason why there is none |
//! | native ids | list of the numbers of all of the process's threads, in its own PID namespace |
//! | images | list of base address, file name, and the parts read of the file (option: length in bytes, segments) |
//! | memory | segments |
//!
//! Segments are a count, then for each the distance from the end of the one
//! before (at least 1, but for the first) and its length (at least 1), then the
//! bytes of all in order. Nothing follows.
#![forbid(unsafe_code)]

mod blank;
mod capture;
mod file;
mod format;
mod observe;
mod wire;

pub use capture::{Capture, CaptureError, CapturedImage, Recorded};
pub use file::CapturedFile;
pub use format::FormatError;
pub use observe::{Frame, Observation, ObserveError, Source, Stack, Thread, observe};
