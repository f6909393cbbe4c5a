"""Packages from the Python package registry, of fixed versions, for interpreters of any root: programs of tests and
benchmarks import them from a directory that they are given."""

import platform
import re
import sys

from . import cache
from .failure import Failure
from .steps import Steps

# NumPy: code that the compiler made for vectors, and threads of its own. lxml: a C library whose stacks are deep.
PACKAGES = ["numpy==2.4.6", "lxml==6.1.3"]
RECIPE = {"version": 1, "packages": PACKAGES}
# The interpreters whose programs import them. Of a root of its own one has no pip, so wheels are chosen by name.
PROVIDES = ["3.11", "3.13", "3.14"]
LIBC = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_17", "manylinux2014"]


def name_of(python):
    return f"packages-{python}"


def ensure(python):
    """Installs them for an interpreter, `3.11`, unless that is done. Returns the directory to import them from."""
    if not re.fullmatch(r"3\.\d+", python):
        raise Failure(f"no packages for {python}", "they are chosen by the version alone", "scripts/packages 3.11")
    name = name_of(python)
    cache.ensure(name, RECIPE, lambda partial, _final, lock: build(python, Steps(name, lock), partial))
    return cache.directory() / name


def build(python, steps, partial):
    venv, tree = partial / "pip", partial / "packages"
    steps.run("make an environment for pip", [sys.executable, "-m", "venv", venv], "apt-get install python3-venv")
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for libc in LIBC:
        wheels += ["--platform", f"{libc}_{platform.machine()}"]
    pip = [venv / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    again = f"scripts/packages {python} (is the package registry within reach?)"
    steps.run(f"install {', '.join(PACKAGES)}", [*pip, "--target", tree, *wheels, *PACKAGES], again)
    return tree, {}
