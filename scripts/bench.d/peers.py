"""Gets the other profilers: from the Python package registry into a venv in the cache, and out of Python 3.15."""

import subprocess
import sys

from failure import telling_line
from pythons import debian, packages
from pythons.failure import Failure as PythonsFailure

PACKAGES = {"py-spy": "py-spy", "austin": "austin-dist"}


class Peers:
    """Each is an argv to begin with, and why it cannot be had, one of the two."""

    def __init__(self, directory, interpreters, say):
        self.venv, self.interpreters, self.say = directory / "peers", interpreters, say
        self.found = {}

    def find(self, name):
        if name not in self.found:
            self.found[name] = self.look(name)
        return self.found[name]

    def look(self, name):
        program = self.venv / "bin" / name
        if not program.exists():
            why = self.install(PACKAGES[name])
            if why:
                return [], why
        why = starts([program])
        # A program made for a newer libc than the machine's runs with that of Debian unstable, if that is here.
        if why and "GLIBC" in why and debian.root().is_dir():
            through = debian.through_loader(program)
            if not starts(through):
                return through, None
        return ([], why) if why else ([program], None)

    def install(self, package):
        self.say(f"install {package}")
        return install(package, self.venv, [sys.executable])

    def numpy(self, python):
        """Where NumPy is installed for an interpreter, and why it cannot be had, one of the two."""
        if python.root != "/":
            return None, "is in a root of its own, where nothing is installed"
        try:
            return packages.ensure(python.name), None
        except PythonsFailure as failure:
            return None, f"{failure.what}: {failure.evidence}"

    def tachyon(self):
        python = next((each for each in self.interpreters if each.name == "3.15"), None)
        if python is None:
            return [], "there is no Python 3.15: scripts/pythons ensure 3.15"
        # In its own root it would see no /proc.
        command = python.command if python.root == "/" else debian.through_loader(debian.root() / "usr/bin/python3.15")
        command = [*command, "-m", "profiling.sampling"]
        why = starts(command, "--help")
        return ([], why) if why else (command, None)

    def versions(self):
        """Names and versions of those that are here."""
        found = []
        for name, package in PACKAGES.items():
            if self.find(name)[1] is None:
                question = f"import importlib.metadata as m; print(m.version({package!r}))"
                asked = [self.venv / "bin/python", "-c", question]
                said = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()
                found.append(f"{name} {said}")
        python = next((each for each in self.interpreters if each.name == "3.15"), None)
        return found + ([f"Tachyon of Python {python.version}"] if python and not self.tachyon()[1] else [])


def install(package, venv, python):
    """Installs it into a venv, which is made with that interpreter; why it cannot be done, or None."""
    steps = [[venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]]
    if not (venv / "bin/python").exists():
        steps.insert(0, [*python, "-m", "venv", venv])
    for step in steps:
        try:
            done = subprocess.run(step, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except OSError as error:
            return f"{step[0]}: {error.strerror}"
        if done.returncode:
            return f"not installed: {telling_line(done.stderr, done.stdout)}"
    return None


def starts(command, option="--version"):
    """Why it does not start, or None."""
    try:
        done = subprocess.run(
            [*command, option], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return telling_line(str(error))
    return telling_line(done.stderr, done.stdout) if done.returncode else None
