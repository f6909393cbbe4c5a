"""Compares a row of the table with what a real interpreter says of itself.

Two witnesses that share nothing with the headers here: the debug info that the interpreter's own compiler wrote,
asked through gdb, and, from 3.13, the initial contents of _Py_DebugOffsets in the section .PyRuntime.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from table import GROWING

# What gdb runs: one line "name value" or "name ? reason" for each expression.
ASK = """
import gdb
for name, expression in {questions!r}:
    try:
        print("#>", name, int(gdb.parse_and_eval(expression)))
    except gdb.error as error:
        print("#>", name, "?", error)
"""


def question(expression):
    """The expression in gdb's C, or None where it needs macros, which debug info rarely has."""
    if match := re.fullmatch(r"offsetof\((.*), (.*)\)", expression):
        return f"(long)&(({match[1]} *)0)->{match[2]}"
    if match := re.fullmatch(r"sizeof\((.*)\)", expression):
        return f"(long)sizeof({match[1]})"
    if re.fullmatch(r"FRAME_\w+|DICT_KEYS_\w+", expression):
        return f"(long){expression}"
    if match := re.fullmatch(r"\(uint8_t\)(FRAME_\w+)", expression):
        return f"(long)(unsigned char){match[1]}"
    return None


def ask_gdb(elf, directories, expressions):
    """{field: value or text of the error} for {field: expression}."""
    questions = [(name, asked) for name, text in expressions.items() if (asked := question(text))]
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(ASK.format(questions=questions))
        script.flush()
        command = ["gdb", "-nx", "-batch"]
        if directories:
            command += ["-iex", f"set debug-file-directory {directories}"]
        done = subprocess.run([*command, "-x", script.name, str(elf)], capture_output=True, text=True, check=False)
    answers = {}
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"#> (\w+) (-?\d+|\?.*)", line):
            answers[match[1]] = match[2] if match[2].startswith("?") else int(match[2])
    # Without debug info every answer is an error, even that for the best known of structures.
    return answers if isinstance(answers.get("ObjectSize"), int) else {}


def debug_offsets(elf):
    """The bytes of section .PyRuntime, or none."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "section"
        command = ["objcopy", "-O", "binary", "--only-section=.PyRuntime", "--set-section-flags=.PyRuntime=alloc,load"]
        subprocess.run([*command, str(elf), str(out)], capture_output=True, check=False)
        return out.read_bytes() if out.exists() else b""


def verify(elf, directories, row, expressions, offsets):
    """Differences that are failures, differences that are not, and a summary line."""
    failures, notes = [], []

    def compare(name, witness, value):
        if value != row.values.get(name, 0):
            known = f"table {row.values.get(name, 0)} ({expressions.get(name, 'no such field')})"
            (notes if name in GROWING else failures).append(f"{name}: {witness} {value}, {known}")

    answers = ask_gdb(elf, directories, expressions)
    for name, answer in answers.items():
        compare(name, "debug info", answer)
    section = debug_offsets(elf) if offsets else b""
    positions = offsets.values if section else {}
    if section and (section[:8] != b"xdebugpy" or len(section) < offsets.size):
        failures.append("section .PyRuntime does not begin with _Py_DebugOffsets")
        positions = {}
    for name, position in positions.items():
        compare(name, "_Py_DebugOffsets", int.from_bytes(section[position : position + 8], "little"))
    if not answers and not positions:
        failures.append("neither debug info nor section .PyRuntime found, so nothing was compared")
    summary = f"{len(row.values)} fields, {len(answers)} compared with debug info"
    if offsets:
        summary += f", {len(positions)} with _Py_DebugOffsets"
    return failures, notes, f"{summary}, {len(failures)} wrong"
