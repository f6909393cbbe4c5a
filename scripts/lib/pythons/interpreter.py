"""One interpreter: how it is started and what it says of itself."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .elf import Elf

# Runs on every version from 2.7. -S keeps site, and what it imports, out of it.
PROBE = r"""
import sys, sysconfig
name = getattr(sys, 'implementation', None)
name = name.name if name else getattr(sys, 'subversion', [''])[0].lower()
print('\t'.join([
    name,
    '%d.%d' % sys.version_info[:2],
    sys.version.split()[0].split('+')[0],
    sys.version_info[3],
    'd' if hasattr(sys, 'gettotalrefcount') else '',
    't' if sysconfig.get_config_var('Py_GIL_DISABLED') else '',
    sysconfig.get_paths()['include'],
]))
"""


class Interpreter:
    """An interpreter that was run and answered.

    command     argv that starts it; append the program's arguments
    root        "/" or the directory that it is chroot-ed into: programs must lie in there, with paths as seen there
    executable  the file that gets executed, as seen from the machine
    include     directory with its Python.h, as seen from the machine, or None
    """

    def __init__(self, command, root, executable, answer):
        implementation, self.minor, self.version, level, debug, threaded, include = answer
        self.is_cpython = implementation == "cpython"
        self.is_final = level == "final"
        self.debug, self.free_threaded = bool(debug), bool(threaded)
        self.name = self.minor + threaded + debug
        self.command, self.root, self.executable = command, root, executable
        self.include = None
        below = Path(root) / include.lstrip("/")
        for directory in (below, Path(include)):  # the second: a root's interpreter that runs without chroot
            if (directory / "Python.h").is_file():
                self.include = str(directory)
                break
        self.shared = any(name.startswith("libpython") for name in Elf(executable).needed)

    @property
    def kind(self):
        if self.debug:
            return "debug"
        if self.free_threaded:
            return "free-threaded"
        return "shared" if self.shared else "static"

    def rank(self):
        """Finished releases before others, then the newest."""
        return (self.is_final, [int(part) for part in self.version.split(".") if part.isdigit()], self.version)

    def entry(self):
        return {
            "name": self.name,
            "version": self.version,
            "command": self.command,
            "root": self.root,
            "include": self.include,
            "kind": self.kind,
            "linkage": "shared" if self.shared else "static",
            "debug": self.debug,
            "free_threaded": self.free_threaded,
        }


def ask(command, root, executable):
    """The interpreter that this command starts; None when it does not start or is not CPython."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [*command, "-E", "-s", "-S", "-c", PROBE],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, env=clean, check=False,
        )  # fmt: skip
        answer = done.stdout.rstrip("\n").split("\t")
        if done.returncode != 0 or len(answer) != 7:
            return None
        found = Interpreter([str(part) for part in command], str(root), str(executable), answer)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return found if found.is_cpython else None


def ask_all(candidates):
    """`ask` for each (command, root, executable), side by side; same order."""
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        return [found for found in pool.map(lambda each: ask(*each), candidates) if found]
