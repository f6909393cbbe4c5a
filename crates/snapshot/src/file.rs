use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use firefinch_cpython::{Image, ImageFiles, ReadSeek};
use firefinch_memory::{RemoteAddr, Snapshot};

/// The parts of a file that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedFile {
    /// The length in bytes of the whole file.
    pub len: u64,
    /// What was read; an address is an offset into the file.
    pub parts: Snapshot,
}

/// A captured file, open for reading.
#[derive(Debug)]
pub(crate) struct OpenCaptured {
    file: CapturedFile,
    at: u64,
}

impl OpenCaptured {
    pub(crate) fn new(file: CapturedFile) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for OpenCaptured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.file.len {
            return Ok(0);
        }
        let there = self.file.parts.available(RemoteAddr::new(self.at));
        if there.is_empty() {
            return Err(io::Error::other("this part of the file was not captured"));
        }
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for OpenCaptured {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.file.len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Files that keep what is read of them.
pub(crate) struct RecordingFiles<'a> {
    files: &'a dyn ImageFiles,
    opened: RefCell<Vec<(RemoteAddr, Rc<RefCell<CapturedFile>>)>>,
}

impl<'a> RecordingFiles<'a> {
    pub(crate) fn new(files: &'a dyn ImageFiles) -> Self {
        Self {
            files,
            opened: RefCell::default(),
        }
    }

    /// What was read of the file of the image at `base`, if it was opened.
    pub(crate) fn captured(&self, base: RemoteAddr) -> Option<CapturedFile> {
        let opened = self.opened.borrow();
        let (_, file) = opened.iter().find(|(of, _)| *of == base)?;
        let file = file.borrow().clone();
        Some(file)
    }
}

impl ImageFiles for RecordingFiles<'_> {
    fn open(&self, image: &Image) -> Option<Box<dyn ReadSeek>> {
        let mut file = self.files.open(image)?;
        let len = file.seek(SeekFrom::End(0)).ok()?;
        file.rewind().ok()?;
        let mut opened = self.opened.borrow_mut();
        let known = opened.iter().find(|(base, _)| *base == image.base);
        let seen = match known {
            Some((_, seen)) => Rc::clone(seen),
            None => {
                let parts = Snapshot::new();
                let seen = Rc::new(RefCell::new(CapturedFile { len, parts }));
                opened.push((image.base, Rc::clone(&seen)));
                seen
            }
        };
        Some(Box::new(Recorded { file, seen }))
    }
}

impl fmt::Debug for RecordingFiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingFiles")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

struct Recorded {
    file: Box<dyn ReadSeek>,
    seen: Rc<RefCell<CapturedFile>>,
}

impl Read for Recorded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at = RemoteAddr::new(self.file.stream_position()?);
        let count = self.file.read(buf)?;
        let read = buf.get(..count).unwrap_or_default().to_vec();
        self.seen.borrow_mut().parts.insert(at, read);
        Ok(count)
    }
}

impl Seek for Recorded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct One;

    impl ImageFiles for One {
        fn open(&self, _: &Image) -> Option<Box<dyn ReadSeek>> {
            Some(Box::new(Cursor::new((0..100).collect::<Vec<u8>>())))
        }
    }

    /// What was read of a file can be read again, at its place and with the
    /// file's length; the rest is an error, not an end.
    #[test]
    fn a_file_keeps_what_was_read() {
        let image = Image {
            base: RemoteAddr::new(0x1000),
            name: "python".to_owned(),
        };
        let files = RecordingFiles::new(&One);
        let mut file = files.open(&image).unwrap();
        let mut read = [0; 10];
        file.seek(SeekFrom::Start(20)).unwrap();
        file.read_exact(&mut read).unwrap();
        let captured = files.captured(image.base).unwrap();
        assert_eq!(captured.len, 100);

        let mut again = OpenCaptured::new(captured);
        assert_eq!(again.seek(SeekFrom::End(-80)).unwrap(), 20);
        let mut buf = [0; 10];
        again.read_exact(&mut buf).unwrap();
        assert_eq!(buf, read);
        again.read_exact(&mut buf).unwrap_err();
        again.seek(SeekFrom::Start(100)).unwrap();
        assert_eq!(again.read(&mut buf).unwrap(), 0);
        again.seek(SeekFrom::Current(-101)).unwrap_err();
    }
}
