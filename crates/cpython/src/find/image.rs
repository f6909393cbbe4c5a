use firefinch_memory::{Bytes, Memory, RemoteAddr};

/// One ELF image as it is mapped in the target, read from memory alone, so
/// that deleted, replaced and unreachable files make no difference.
#[derive(Debug)]
pub(super) struct ElfImage {
    /// What to add to a virtual address of the file.
    pub(super) bias: u64,
    /// The loaded segments that can be written to: `.data` and `.bss`.
    pub(super) writable: Vec<(RemoteAddr, u64)>,
    pub(super) dynamic: Option<Dynamic>,
}

/// Where the dynamic linker's tables are (gABI, "Dynamic Section").
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    symtab: RemoteAddr,
    strtab: RemoteAddr,
    strtab_size: u64,
    gnu_hash: RemoteAddr,
    sysv_hash: RemoteAddr,
}

const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
/// The kernel's own limit is 64 KiB of program headers (`fs/binfmt_elf.c`).
const MAX_PHDRS: usize = 65_536 / PHDR_SIZE;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PF_W: u32 = 2;
const MAX_DYNAMIC: usize = 256;
const SYM_SIZE: usize = 24;
/// A chain of a hash table holds a handful of symbols; a loop must end.
const MAX_CHAIN: u32 = 4_096;
/// The largest `.data` and `.bss` looked at.
const MAX_SEGMENT: u64 = 1 << 32;

impl ElfImage {
    /// Reads headers at `base`, where the file's offset 0 is mapped.
    pub(super) fn read(memory: &dyn Memory, base: RemoteAddr) -> Option<Self> {
        let mut header = [0; EHDR_SIZE];
        memory.read(base, &mut header).ok()?;
        let ehdr = Bytes(&header);
        // 64-bit, little-endian.
        if ehdr.slice(0, 6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let phoff = ehdr.u64(32)?;
        let count = usize::from(ehdr.u16(56)?).min(MAX_PHDRS);
        let table = memory
            .read_vec(
                base.offset(phoff),
                (count * PHDR_SIZE) as u64,
                MAX_PHDRS * PHDR_SIZE,
            )
            .ok()?;
        let headers: Vec<_> = table.chunks_exact(PHDR_SIZE).map(Bytes).collect();
        let first = headers
            .iter()
            .find(|h| h.u32(0) == Some(PT_LOAD) && h.u64(8).is_some_and(|o| o < 4096))?;
        let bias = base
            .get()
            .wrapping_sub(first.u64(16)? - first.u64(8)?.min(first.u64(16)?));
        let mut writable = Vec::new();
        let mut dynamic = None;
        for header in &headers {
            let addr = RemoteAddr::new(header.u64(16)?.wrapping_add(bias));
            let size = header.u64(40)?;
            match header.u32(0)? {
                PT_LOAD if header.u32(4)? & PF_W != 0 && size <= MAX_SEGMENT => {
                    writable.push((addr, size));
                }
                PT_DYNAMIC => dynamic = Dynamic::read(memory, addr, bias),
                _ => {}
            }
        }
        Some(Self {
            bias,
            writable,
            dynamic,
        })
    }

    /// The address of an exported symbol that this image defines.
    pub(super) fn symbol(&self, memory: &dyn Memory, name: &str) -> Option<RemoteAddr> {
        let dynamic = self.dynamic.as_ref()?;
        let index = if dynamic.gnu_hash.is_null() {
            dynamic.sysv_lookup(memory, name)
        } else {
            dynamic.gnu_lookup(memory, name)
        }?;
        let mut symbol = [0; SYM_SIZE];
        memory.read(dynamic.symbol_addr(index), &mut symbol).ok()?;
        let symbol = Bytes(&symbol);
        let defined = symbol.u16(6)? != 0;
        defined.then_some(RemoteAddr::new(symbol.u64(8)?.wrapping_add(self.bias)))
    }
}

impl Dynamic {
    fn read(memory: &dyn Memory, addr: RemoteAddr, bias: u64) -> Option<Self> {
        let mut this = Self::default();
        for index in 0..MAX_DYNAMIC {
            let mut entry = [0; 16];
            memory
                .read(addr.offset(index as u64 * 16), &mut entry)
                .ok()?;
            let (tag, value) = (Bytes(&entry).u64(0)?, Bytes(&entry).u64(8)?);
            // glibc adds the bias to these in place, musl does not.
            let pointer = if value < bias {
                RemoteAddr::new(value.wrapping_add(bias))
            } else {
                RemoteAddr::new(value)
            };
            match tag {
                0 => break,
                4 => this.sysv_hash = pointer,
                5 => this.strtab = pointer,
                6 => this.symtab = pointer,
                10 => this.strtab_size = value,
                0x6fff_fef5 => this.gnu_hash = pointer,
                _ => {}
            }
        }
        (!this.symtab.is_null() && !this.strtab.is_null()).then_some(this)
    }

    fn symbol_addr(&self, index: u32) -> RemoteAddr {
        self.symtab.offset(u64::from(index) * SYM_SIZE as u64)
    }

    fn has_name(&self, memory: &dyn Memory, index: u32, name: &str) -> Option<bool> {
        let at = u64::from(memory.read_u32(self.symbol_addr(index)).ok()?);
        if at >= self.strtab_size {
            return None;
        }
        let mut text = vec![0; name.len() + 1];
        memory.read(self.strtab.offset(at), &mut text).ok()?;
        Some(text.strip_suffix(b"\0") == Some(name.as_bytes()))
    }

    /// `DT_GNU_HASH`, as glibc's `elf/dl-lookup.c` walks it.
    fn gnu_lookup(&self, memory: &dyn Memory, name: &str) -> Option<u32> {
        let hash = name.bytes().fold(5381_u32, |h, b| {
            h.wrapping_mul(33).wrapping_add(u32::from(b))
        });
        let mut header = [0; 16];
        memory.read(self.gnu_hash, &mut header).ok()?;
        let header = Bytes(&header);
        let (buckets, first, bloom) = (header.u32(0)?, header.u32(4)?, header.u32(8)?);
        let bucket_table = self.gnu_hash.offset(16 + u64::from(bloom) * 8);
        let bucket = u64::from(hash.checked_rem(buckets)?);
        let start = memory.read_u32(bucket_table.offset(bucket * 4)).ok()?;
        let chain_table = bucket_table.offset(u64::from(buckets) * 4);
        let mut index = start;
        for _ in 0..MAX_CHAIN {
            let slot = u64::from(index.checked_sub(first)?);
            let entry = memory.read_u32(chain_table.offset(slot * 4)).ok()?;
            if entry | 1 == hash | 1 && self.has_name(memory, index, name)? {
                return Some(index);
            }
            if entry & 1 == 1 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    /// `DT_HASH` (gABI, "Hash Table").
    fn sysv_lookup(&self, memory: &dyn Memory, name: &str) -> Option<u32> {
        if self.sysv_hash.is_null() {
            return None;
        }
        let hash = name.bytes().fold(0_u32, |h, b| {
            let h = h.wrapping_shl(4).wrapping_add(u32::from(b));
            let high = h & 0xf000_0000;
            (h ^ (high >> 24)) & !high
        });
        let buckets = memory.read_u32(self.sysv_hash).ok()?;
        let word = |slot: u64| memory.read_u32(self.sysv_hash.offset(8 + slot * 4)).ok();
        let mut index = word(u64::from(hash.checked_rem(buckets)?))?;
        for _ in 0..MAX_CHAIN {
            if index == 0 {
                return None;
            }
            if self.has_name(memory, index, name)? {
                return Some(index);
            }
            index = word(u64::from(buckets) + u64::from(index))?;
        }
        None
    }
}
