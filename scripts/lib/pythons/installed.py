"""Interpreters that are on the machine anyway: pyenv, PATH, uv."""

import os
import re
from pathlib import Path

from . import interpreter
from .elf import is_elf

COMMAND = re.compile(r"python([23](\.\d+t?d?)?)?")


def pyenv():
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return sorted(home.glob("versions/*/bin/python*"))


def path():
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        if directory:
            yield from sorted(Path(directory).glob("python*"))


def uv():
    home = os.environ.get("UV_PYTHON_INSTALL_DIR")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return sorted(Path(home or Path(data) / "uv" / "python").glob("cpython-*/bin/python*"))


def find():
    """All of them, the preferred first: as in the sources' order, then the newest release."""
    seen, candidates, ranks = set(), [], {}
    for rank, source in enumerate((pyenv, path, uv)):
        for file in source():
            # A virtual environment's python is a link to its base, which is what matters here; pyenv's shims are
            # scripts that may start anything.
            real = os.path.realpath(file)
            if not COMMAND.fullmatch(file.name) or real in seen or not is_elf(real) or not os.access(real, os.X_OK):
                continue
            seen.add(real)
            candidates.append(([real], "/", real))
            ranks[real] = rank
    found = interpreter.ask_all(candidates)
    found.sort(key=lambda each: each.rank(), reverse=True)
    return sorted(found, key=lambda each: ranks[each.executable])
