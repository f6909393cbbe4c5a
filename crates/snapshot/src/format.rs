use std::fmt;

use firefinch_memory::{RemoteAddr, Snapshot};
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use crate::wire::{Reader, Writer};
use crate::{Capture, CapturedFile, CapturedImage, Frame, Observation, Stack, Thread};

/// The first line of a file; another format has another number.
const HEADING: &[u8] = b"firefinch snapshot 1\n";
/// The most bytes that a file expands to; a process with a recursion of
/// 20,000 calls takes some five million.
const MAX_BODY: usize = 64 << 20;
/// The best and slowest: a snapshot is made once.
const LEVEL: u8 = 10;

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// It does not begin as a snapshot of this version does.
    Heading,
    /// It was cut short or changed, or expands to more than 64 MiB.
    Damaged,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heading => "it is no snapshot, or one of another version",
            Self::Damaged => "the snapshot is damaged",
        })
    }
}

impl std::error::Error for FormatError {}

impl Capture {
    /// The file that holds this.
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = HEADING.to_vec();
        file.extend(compress_to_vec_zlib(&self.to_body(), LEVEL));
        file
    }

    /// What a file holds.
    ///
    /// # Errors
    /// [`FormatError`]; no file makes it take more than some 64 MiB.
    pub fn from_file(file: &[u8]) -> Result<Self, FormatError> {
        let body = file.strip_prefix(HEADING).ok_or(FormatError::Heading)?;
        let body = decompress_to_vec_zlib_with_limit(body, MAX_BODY);
        Self::from_body(&body.map_err(|_| FormatError::Damaged)?)
    }

    /// What is compressed in a file.
    fn to_body(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.text(&self.architecture);
        write_observation(&mut writer, &self.expected);
        writer.list(&self.native_ids, |writer, id| writer.number(*id));
        writer.list(&self.images, |writer, image| {
            writer.number(image.base.get());
            writer.text(&image.name);
            writer.option(image.file.as_ref(), |writer, file| {
                writer.number(file.len);
                write_segments(writer, &file.parts);
            });
        });
        write_segments(&mut writer, &self.memory);
        writer.0
    }

    /// Reads what was compressed.
    fn from_body(body: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader(body);
        let capture = Self {
            architecture: reader.text()?,
            expected: read_observation(&mut reader)?,
            native_ids: reader.list(Reader::number)?,
            images: reader.list(|reader| {
                Ok(CapturedImage {
                    base: RemoteAddr::new(reader.number()?),
                    name: reader.text()?,
                    file: reader.option(|reader| {
                        Ok(CapturedFile {
                            len: reader.number()?,
                            parts: read_segments(reader)?,
                        })
                    })?,
                })
            })?,
            memory: read_segments(&mut reader)?,
        };
        match reader.0 {
            [] => Ok(capture),
            _ => Err(FormatError::Damaged),
        }
    }
}

fn write_observation(writer: &mut Writer, observation: &Observation) {
    writer.text(&observation.version);
    writer.text(&observation.build);
    writer.text(&observation.found_by);
    writer.list(&observation.sys_path, |writer, path| writer.text(path));
    writer.list(&observation.threads, |writer, thread| {
        writer.number(thread.state);
        writer.option(thread.interpreter, Writer::number);
        writer.number(thread.ident);
        writer.option(thread.native_id, Writer::number);
        writer.option(thread.name.as_deref(), Writer::text);
        writer.number(u64::from(thread.holds_gil));
        writer.list(&thread.looks, write_stack);
    });
}

fn read_observation(reader: &mut Reader<'_>) -> Result<Observation, FormatError> {
    Ok(Observation {
        version: reader.text()?,
        build: reader.text()?,
        found_by: reader.text()?,
        sys_path: reader.list(Reader::text)?,
        threads: reader.list(|reader| {
            Ok(Thread {
                state: reader.number()?,
                interpreter: reader.option(Reader::number)?,
                ident: reader.number()?,
                native_id: reader.option(Reader::number)?,
                name: reader.option(Reader::text)?,
                holds_gil: reader.flag()?,
                looks: reader.list(read_stack)?,
            })
        })?,
    })
}

fn write_stack(writer: &mut Writer, stack: &Stack) {
    writer.number(u64::from(stack.is_ok()));
    match stack {
        Ok(frames) => writer.list(frames, |writer, frame| {
            writer.text(&frame.function);
            writer.text(&frame.file);
            writer.option(frame.line.map(u64::from), Writer::number);
        }),
        Err(reason) => writer.text(reason),
    }
}

fn read_stack(reader: &mut Reader<'_>) -> Result<Stack, FormatError> {
    if !reader.flag()? {
        return Ok(Err(reader.text()?));
    }
    let frames = reader.list(|reader| {
        Ok(Frame {
            function: reader.text()?,
            file: reader.text()?,
            line: reader.option(|reader| {
                let line = reader.number()?;
                u32::try_from(line).map_err(|_| FormatError::Damaged)
            })?,
        })
    })?;
    Ok(Ok(frames))
}

fn write_segments(writer: &mut Writer, snapshot: &Snapshot) {
    let segments: Vec<_> = snapshot.segments().collect();
    let mut end = 0;
    writer.list(&segments, |writer, (addr, bytes)| {
        writer.number(addr.get() - end);
        writer.number(bytes.len() as u64);
        end = addr.get() + bytes.len() as u64;
    });
    for (_, bytes) in segments {
        writer.0.extend_from_slice(bytes);
    }
}

fn read_segments(reader: &mut Reader<'_>) -> Result<Snapshot, FormatError> {
    let mut end = 0_u64;
    let mut is_first = true;
    // In order and apart: else joining them could take very long.
    let table = reader.list(|reader| {
        let (gap, len) = (reader.number()?, reader.number()?);
        let start = end.checked_add(gap).ok_or(FormatError::Damaged)?;
        end = start.checked_add(len).ok_or(FormatError::Damaged)?;
        let touches = gap == 0 && !std::mem::take(&mut is_first);
        match len == 0 || touches {
            true => Err(FormatError::Damaged),
            false => Ok((start, len)),
        }
    })?;
    let mut snapshot = Snapshot::new();
    for (start, len) in table {
        snapshot.insert(RemoteAddr::new(start), reader.bytes(len)?.to_vec());
    }
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture() -> Capture {
        let frame = Frame {
            function: "main".to_owned(),
            file: "a.py".to_owned(),
            line: Some(3),
        };
        let thread = Thread {
            state: 0x7fff_0000_1000,
            interpreter: Some(0),
            ident: u64::MAX,
            native_id: None,
            name: Some("wärter".to_owned()),
            holds_gil: true,
            looks: vec![Ok(vec![frame]), Err("torn".to_owned())],
        };
        let mut memory = Snapshot::new();
        memory.insert(RemoteAddr::new(0), vec![1; 3]);
        memory.insert(RemoteAddr::new(0x7fff_0000_1000), (0..200).collect());
        Capture {
            architecture: "x86_64".to_owned(),
            expected: Observation {
                version: "3.11.7".to_owned(),
                threads: vec![thread],
                ..Observation::default()
            },
            native_ids: vec![1, 70_000],
            images: vec![CapturedImage {
                base: RemoteAddr::new(0x40_0000),
                name: "python".to_owned(),
                file: Some(CapturedFile {
                    len: 9_000,
                    parts: memory.clone(),
                }),
            }],
            memory,
        }
    }

    /// What is written is read again, and is the same.
    #[test]
    fn a_file_holds_all_of_it() {
        let capture = capture();
        assert_eq!(Capture::from_file(&capture.to_file()), Ok(capture));
    }

    /// A file cut short anywhere, or with more at its end, is refused, as is
    /// another heading; a changed byte never makes it panic.
    #[test]
    fn damage_is_an_error() {
        let file = capture().to_file();
        let heading = Err(FormatError::Heading);
        assert_eq!(Capture::from_file(b"firefinch snapshot 2\n"), heading);
        for end in 0..file.len() {
            assert!(Capture::from_file(&file[..end]).is_err(), "{end}");
        }
        let body = capture().to_body();
        for end in 0..body.len() {
            assert!(Capture::from_body(&body[..end]).is_err(), "{end}");
            for bit in 0..8 {
                let mut changed = body.clone();
                changed[end] ^= 1 << bit;
                let _ = Capture::from_body(&changed);
            }
        }
        let more = [&*body, &[0]].concat();
        assert_eq!(Capture::from_body(&more), Err(FormatError::Damaged));
    }

    /// A file that would expand beyond all bounds is refused.
    #[test]
    fn bombs_are_refused() {
        let zeros = compress_to_vec_zlib(&vec![0; MAX_BODY + 1], 1);
        let bomb = [HEADING, &zeros].concat();
        assert!(bomb.len() < 1 << 20);
        assert_eq!(Capture::from_file(&bomb), Err(FormatError::Damaged));
    }
}
