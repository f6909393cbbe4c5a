use super::Image;
use super::bytes::Part;
use crate::ImageAddress;

/// The machine code of an object, read piece by piece.
#[derive(Debug)]
pub(crate) struct Code<'a> {
    image: &'a Image,
    /// The address of the piece.
    start: u64,
    piece: Option<Part>,
}

/// What is read at once: most functions are shorter.
const PIECE: u64 = 512;

/// The longest instruction has 15 bytes; the longest code that is known as a
/// whole has 9.
const ENOUGH: usize = 16;

impl<'a> Code<'a> {
    pub(crate) fn of(image: &'a Image) -> Self {
        Self {
            image,
            start: 0,
            piece: None,
        }
    }

    /// The code at an address: one instruction at least, unless its segment
    /// ends before; empty where there is none.
    pub(crate) fn at(&mut self, address: u64) -> &[u8] {
        if self.rest(address).len() < ENOUGH {
            let range = self.image.file_range_at(ImageAddress::new(address));
            let range = range.map(|range| range.start..range.end.min(range.start + PIECE));
            self.piece = range.and_then(|range| self.image.bytes().part(range));
            self.start = address;
        }
        self.rest(address)
    }

    /// Whether it is a linker's stub, which jumps to another object's function.
    pub(crate) fn is_stub(&self, address: u64) -> bool {
        self.image.stub_at(ImageAddress::new(address)).is_some()
    }

    fn rest(&self, address: u64) -> &[u8] {
        let piece = self.piece.as_ref().map(Part::get).unwrap_or_default();
        let offset = address.checked_sub(self.start);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        offset
            .and_then(|offset| piece.get(offset..))
            .unwrap_or_default()
    }
}
