# Run by gdb, see `record`: one line for each instruction.
#   PC SP X29 X30 CHANGED STACK
# X19 to X28 are left out, as nothing here needs them. STACK is what changed of
# the 8 KB below the initial SP: words as OFFSET:VALUE, all hexadecimal.
import os
import struct

import gdb

gdb.execute("set pagination off")
# Otherwise a step goes over the handler, not into it.
gdb.execute("handle SIGUSR1 stop pass")
process = gdb.selected_inferior()


def register(name):
    return int(gdb.parse_and_eval("(unsigned long) $" + name))


top = register("sp")
size = 16384
old = (0,) * (size // 8)
lines = [f"{top - size:x} {top:x}"]
steps = 0
while True:
    values = [register(name) for name in ("pc", "sp", "x29", "x30")]
    try:
        bytes_ = process.read_memory(top - size, size)
    except gdb.MemoryError:
        raise SystemExit("the stack cannot be read")
    words = struct.unpack(f"<{size // 8}Q", bytes(bytes_))
    changed = [f"{i * 8:x}:{new:x}" for i, (was, new) in enumerate(zip(old, words)) if was != new]
    old = words
    lines.append(" ".join([f"{value:x}" for value in values] + changed))
    steps += 1
    try:
        gdb.execute("stepi", to_string=True)
    except gdb.error as error:
        print(error)
        break
    if process.pid == 0:
        break
with open(os.environ["OUT"], "w") as out:
    out.write("\n".join(lines) + "\n")
print(steps, "steps")
