use super::Image;
use super::bytes::Part;
use crate::ImageAddress;

/// Machine code: that of an object, read piece by piece, or a piece that was
/// made at run time.
#[derive(Debug)]
pub(crate) struct Code<'a> {
    source: Source<'a>,
    /// The address of the piece.
    start: u64,
    piece: Option<Part>,
}

#[derive(Debug)]
enum Source<'a> {
    Image(&'a Image),
    /// These bytes, at the start.
    Bytes(&'a [u8]),
}

/// What is read at once: most functions are shorter.
const PIECE: u64 = 512;

/// The longest instruction has 15 bytes; the longest code that is known as a
/// whole has 9.
const ENOUGH: usize = 16;

impl<'a> Code<'a> {
    pub(crate) fn of(image: &'a Image) -> Self {
        Self {
            source: Source::Image(image),
            start: 0,
            piece: None,
        }
    }

    /// Code that is in no object, from this address on.
    pub(crate) fn copied(start: u64, bytes: &'a [u8]) -> Self {
        Self {
            source: Source::Bytes(bytes),
            start,
            piece: None,
        }
    }

    /// The code at an address: one instruction at least, unless its segment
    /// ends before; empty where there is none.
    pub(crate) fn at(&mut self, address: u64) -> &[u8] {
        if let Source::Image(image) = self.source
            && self.rest(address).len() < ENOUGH
        {
            let range = image.file_range_at(ImageAddress::new(address));
            let range = range.map(|range| range.start..range.end.min(range.start + PIECE));
            self.piece = range.and_then(|range| image.bytes().part(range));
            self.start = address;
        }
        self.rest(address)
    }

    /// Whether it is a linker's stub, which jumps to another object's function.
    pub(crate) fn is_stub(&self, address: u64) -> bool {
        match self.source {
            Source::Image(image) => image.stub_at(ImageAddress::new(address)).is_some(),
            Source::Bytes(_) => false,
        }
    }

    fn rest(&self, address: u64) -> &[u8] {
        let piece = match self.source {
            Source::Image(_) => self.piece.as_ref().map(Part::get).unwrap_or_default(),
            Source::Bytes(bytes) => bytes,
        };
        let offset = address.checked_sub(self.start);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offset
            .and_then(|offset| piece.get(offset..))
            .unwrap_or_default()
    }
}
