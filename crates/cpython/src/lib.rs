//! What a CPython interpreter is doing: threads, frames, lines and locks, read from memory alone.
