"""As much of an ELF file as is needed to tell a static interpreter from one with a shared libpython."""

import mmap
import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5


class Elf:
    """A 64-bit little-endian ELF file: its `interpreter` and the libraries it needs. ValueError for anything else."""

    def __init__(self, path):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:6] != b"\x7fELF\x02\x01":
                raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
            try:
                self._read(data)
            except (struct.error, IndexError) as error:
                raise ValueError(f"{path}: broken ELF file") from error

    def _read(self, data):
        (table,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        self.interpreter, dynamic, loads = None, b"", []
        for index in range(count):
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, table + index * size)
            if kind == PT_LOAD:
                loads.append((address, offset, length))
            elif kind == PT_DYNAMIC:
                dynamic = data[offset : offset + length]
            elif kind == PT_INTERP:
                self.interpreter = data[offset : offset + length].split(b"\0")[0].decode()
        entries = list(struct.iter_unpack("<QQ", dynamic[: len(dynamic) // 16 * 16]))
        names = next((value for tag, value in entries if tag == DT_STRTAB), 0)
        base = next((names - start + offset for start, offset, size in loads if start <= names < start + size), None)
        wanted = [base + value for tag, value in entries if tag == DT_NEEDED] if base is not None else []
        self.needed = [data[at : data.find(b"\0", at)].decode(errors="replace") for at in wanted]


def is_elf(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
