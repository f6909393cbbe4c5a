use std::ops::Range;

use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, ReadRef};

use super::headers::Headers;
use super::{BuildId, ImageError, ObjectBytes, Section, SectionName, Stub, notes};
use crate::ImageAddress;
use crate::arch::Architecture;

/// Program headers and section headers looked at. The linker makes a dozen and
/// some 40; with a section for each function there may be thousands in an
/// object that is not linked, which is never mapped.
const MAX_SEGMENTS: usize = 256;
const MAX_SECTIONS: usize = 16_384;

/// An object file: its bytes, and where in them things are.
#[derive(Debug)]
pub struct Image {
    bytes: ObjectBytes,
    machine: u16,
    entry: u64,
    loads: Vec<Segment>,
    /// `.eh_frame_hdr`, from the program header: stripping leaves that alone.
    eh_frame_hdr: Option<Section>,
    sections: Vec<(SectionName, Section)>,
    build_id: Option<BuildId>,
}

/// A part of the file that is mapped: PT_LOAD.
#[derive(Clone, Debug)]
struct Segment {
    address: u64,
    file: Range<u64>,
    executable: bool,
}

impl Image {
    /// Reads the headers. Damaged section headers are as good as none, as
    /// everything needed for unwinding is found by program headers as well.
    ///
    /// # Errors
    /// [`ImageError::NotElf`] unless it is a 64-bit little-endian ELF file with
    /// sound program headers.
    pub fn parse(bytes: ObjectBytes) -> Result<Self, ImageError> {
        let shared = bytes.clone();
        let headers = Headers::of(&shared);
        let data = &headers;
        let bad = |_| ImageError::NotElf;
        let header = FileHeader64::<LittleEndian>::parse(data).map_err(bad)?;
        let endian = header.endian().map_err(bad)?;
        let programs = header.program_headers(endian, data).map_err(bad)?;
        let programs = programs.get(..MAX_SEGMENTS).unwrap_or(programs);
        let mut image = Self {
            machine: header.e_machine(endian),
            entry: header.e_entry(endian),
            loads: Vec::new(),
            eh_frame_hdr: None,
            sections: sections(header, data, &bytes).unwrap_or_default(),
            build_id: None,
            bytes,
        };
        // Files of debug information may have no program headers, or those of
        // the program they were taken from.
        let notes = image.section(SectionName::NoteGnuBuildId);
        let notes = notes.and_then(Section::data);
        image.build_id = notes.and_then(|notes| notes::build_id(notes, 4));
        for program in programs {
            image.add_segment(program, data);
        }
        Ok(image)
    }

    fn add_segment(&mut self, program: &ProgramHeader64<LittleEndian>, data: &Headers<'_>) {
        let endian = LittleEndian;
        let (offset, size) = program.file_range(endian);
        let Some(end) = offset.checked_add(size) else {
            return;
        };
        match program.p_type(endian) {
            elf::PT_LOAD => self.loads.push(Segment {
                address: program.p_vaddr(endian),
                file: offset..end,
                executable: program.p_flags(endian) & elf::PF_X != 0,
            }),
            elf::PT_GNU_EH_FRAME if end <= self.bytes.len() => {
                let address = ImageAddress::new(program.p_vaddr(endian));
                self.eh_frame_hdr = Some(Section::new(&self.bytes, address, size, offset..end));
            }
            elf::PT_NOTE if self.build_id.is_none() => {
                let notes = data.read_bytes_at(offset, size).ok();
                let align = program.p_align(endian);
                self.build_id = notes.and_then(|notes| notes::build_id(notes, align));
            }
            _ => {}
        }
    }

    pub(crate) fn bytes(&self) -> &ObjectBytes {
        &self.bytes
    }

    /// The build id, if it has one.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// Where the program starts, if an address is in the code there: some
    /// dozen instructions.
    pub(crate) fn entry_before(&self, address: ImageAddress) -> Option<ImageAddress> {
        let into = address.get().checked_sub(self.entry)?;
        (self.entry != 0 && into < 128).then(|| ImageAddress::new(self.entry))
    }

    pub(crate) fn is_for(&self, arch: &Architecture) -> bool {
        self.machine == arch.machine
    }

    pub(crate) fn section(&self, name: SectionName) -> Option<&Section> {
        let found = self.sections.iter().find(|(n, _)| *n == name)?;
        Some(&found.1)
    }

    /// Whether there is a section of this name with something in it: a file
    /// of debug information has the names of all others, without their bytes.
    pub(crate) fn has(&self, name: SectionName) -> bool {
        self.section(name).is_some_and(|s| !s.is_empty())
    }

    pub(crate) fn eh_frame_hdr(&self) -> Option<&Section> {
        let named = || self.section(SectionName::EhFrameHdr);
        self.eh_frame_hdr.as_ref().or_else(named)
    }

    /// The linker-made stubs that the address lies in, and how far into them.
    pub(crate) fn stub_at(&self, address: ImageAddress) -> Option<(Stub, u64)> {
        self.sections
            .iter()
            .find_map(|(name, section)| Some((name.stub()?, section.offset_of(address)?)))
    }

    /// What to add to this file's addresses to get the target's, where `len`
    /// bytes of the file from `offset` on are mapped executable at `start`.
    ///
    /// Each mapping has its own: linkers may place segments at distances that
    /// differ from those in the file, and a file may be mapped twice.
    pub fn load_bias(&self, start: u64, offset: u64, len: u64) -> Option<u64> {
        let end = offset.saturating_add(len);
        // The kernel maps whole pages, so a mapping shows more of the file
        // than its segment; most of it is its own.
        let shared = |s: &Segment| {
            let range = s.file.start.max(offset)..s.file.end.min(end);
            range.end.saturating_sub(range.start)
        };
        let candidates = self.loads.iter().filter(|s| shared(s) > 0);
        let segment = candidates.max_by_key(|s| (s.executable, shared(s)))?;
        let address = segment
            .address
            .wrapping_sub(segment.file.start)
            .wrapping_add(offset);
        Some(start.wrapping_sub(address))
    }

    /// `.eh_frame` of a file without section headers: from an address to the
    /// end of its segment at most.
    pub(crate) fn to_end_of_segment(&self, address: ImageAddress) -> Option<Section> {
        let file = self.file_range_at(address)?;
        let size = file.end - file.start;
        Some(Section::new(&self.bytes, address, size, file))
    }

    /// Where the bytes from an address on lie in the file, to the end of its segment.
    pub(super) fn file_range_at(&self, address: ImageAddress) -> Option<Range<u64>> {
        self.loads.iter().find_map(|segment| {
            let offset = address.get().checked_sub(segment.address)?;
            let start = segment.file.start.checked_add(offset)?;
            let end = segment.file.end.min(self.bytes.len());
            (start < end).then_some(start..end)
        })
    }
}

/// The sections whose names are known; the first of each name.
fn sections(
    header: &FileHeader64<LittleEndian>,
    data: &Headers<'_>,
    bytes: &ObjectBytes,
) -> Option<Vec<(SectionName, Section)>> {
    let endian = LittleEndian;
    let headers = header.section_headers(endian, data).ok()?;
    let names = header.shstrndx(endian, data).ok()?;
    let names = headers.get(usize::try_from(names).ok()?)?;
    let names = names.data(endian, data).ok()?;
    let mut found: Vec<(SectionName, Section)> = Vec::new();
    for section in headers.get(..MAX_SECTIONS).unwrap_or(headers) {
        let Some(name) = name_of(section, names) else {
            continue;
        };
        if found.iter().any(|(n, _)| *n == name) {
            continue;
        }
        let file = match section.file_range(endian) {
            None => 0..0,
            Some((offset, size)) => {
                let end = offset.checked_add(size);
                let Some(end) = end.filter(|end| *end <= bytes.len()) else {
                    continue;
                };
                offset..end
            }
        };
        let address = ImageAddress::new(section.sh_addr(endian));
        let flags = section.sh_flags(endian);
        let mut section = Section::new(bytes, address, section.sh_size(endian), file);
        section.compressed = flags & u64::from(elf::SHF_COMPRESSED) != 0;
        found.push((name, section));
    }
    Some(found)
}

/// Looks at no more of the name table than a known name is long: a hostile one
/// may be one endless name, shared by all sections.
fn name_of(section: &SectionHeader64<LittleEndian>, names: &[u8]) -> Option<SectionName> {
    let start = usize::try_from(section.sh_name(LittleEndian)).ok()?;
    let rest = names.get(start..)?;
    let rest = rest.get(..SectionName::MAX_LEN).unwrap_or(rest);
    let end = rest.iter().position(|byte| *byte == 0)?;
    SectionName::parse(rest.get(..end)?)
}
