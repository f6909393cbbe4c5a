"""A free-threaded CPython 3.13, built from the source package of Debian 13. Needs a C compiler, not root."""

import os
import shutil
from pathlib import Path

from . import apt, cache, debian, interpreter
from .failure import Failure
from .steps import Steps

NAME = "python3.13t"
SUITE, PACKAGE = "trixie", "python3.13"
OPTIONS = ["--disable-gil", "--disable-shared", "--disable-test-modules", "--with-ensurepip=no", "CFLAGS=-w"]
CHECK = "import sys, zlib; sys.exit(0 if sys._is_gil_enabled() is False else 'this build has a GIL')"
TOOLS = ["gcc", "make", "libc6-dev", "xz-utils"]
LIBRARIES = ["zlib1g-dev", "libffi-dev", "libssl-dev", "libsqlite3-dev", "libbz2-dev", "liblzma-dev"]
RECIPE = {"version": 1, "package": PACKAGE, "suite": SUITE, "options": OPTIONS}
PROVIDES = ["3.13t"]

# Everything that apt-get would otherwise read or write in the machine's own directories.
APT = """Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{home}/parts";
Dir::State "{home}/state";
Dir::State::status "{home}/state/status";
Dir::Cache "{home}/cache";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
"""
SOURCES = """Types: deb-src
URIs: {mirror}
Suites: {suite}
Components: main
Signed-By: {keyring}
"""


def ensure(fresh=False):
    cache.ensure(NAME, RECIPE, build, fresh)


def build(partial, final, lock):
    steps = Steps(NAME, lock)
    partial.mkdir()
    prepare_tools(steps)
    download(steps, partial)
    archives = sorted(partial.glob(f"{PACKAGE}_*.orig.tar.*[!c]"))
    if len(archives) != 1:
        raise Failure(
            f"{NAME}: the source package is not as expected",
            f"{len(archives)} upstream archives in it instead of one",
            "report this with " + str(steps.log),
        )
    tree, installed = partial / "source", partial / "installed"
    tree.mkdir()
    again = f"a look into {steps.log}, then scripts/pythons ensure 3.13t"
    steps.run("unpack", ["tar", "-xf", archives[0], "-C", tree, "--strip-components=1"], again)
    steps.run("configure", ["./configure", f"--prefix={final}", *OPTIONS], again, cwd=tree)
    steps.run("compile", ["make", f"-j{os.cpu_count() or 1}"], again, cwd=tree)
    steps.run("install", ["make", "install", f"DESTDIR={installed}"], again, cwd=tree)
    result = installed / str(final).lstrip("/")
    steps.run("try it", [result / "bin" / "python3.13t", "-c", CHECK], again)
    return result, {"source": archives[0].name}


def prepare_tools(steps):
    if not apt.is_here():
        raise Failure(
            "a free-threaded 3.13 is not to be had",
            "its source comes by apt-get, which is not here",
            "uv python install 3.13t",
        )
    missing = apt.missing_packages(TOOLS + LIBRARIES)
    if missing and os.geteuid() == 0:
        steps.run("read the machine's package lists", ["apt-get", "update"], "apt-get update")
        steps.run(
            "install what the build needs",
            ["apt-get", "install", "-y", "--no-install-recommends", *missing],
            "apt-get install " + " ".join(missing),
        )
    lacking = [tool for tool in ("gcc", "make", "xz") if not shutil.which(tool)]
    if lacking:
        raise Failure(
            "a free-threaded 3.13 cannot be built",
            f"no {', no '.join(lacking)} here",
            "sudo apt-get install " + " ".join(missing or TOOLS),
        )


def download(steps, partial):
    """Fetches the source with a private apt, whose signature check must find a keyring that knows the suite."""
    mirror = apt.find_mirror(steps) or mirror_of_root()
    keyrings = [each for each in (apt.keyring(Path("/")), apt.keyring(debian.root())) if each]
    if not mirror or not keyrings:
        raise Failure(
            "the source of a free-threaded 3.13 is not to be had",
            "no Debian mirror in the apt sources" if not mirror else "no Debian archive keyring",
            "apt-get update; scripts/pythons ensure 3.14 3.13t, the first as root",
        )
    home = partial / "apt"
    for each in ("parts", "state/lists/partial", "cache/archives/partial"):
        (home / each).mkdir(parents=True)
    (home / "state/status").touch()
    (home / "apt.conf").write_text(APT.format(home=home), encoding="utf-8")
    environment = {"APT_CONFIG": str(home / "apt.conf")}
    for keyring in keyrings:
        shutil.copyfile(keyring, home / "keyring.gpg")  # apt goes by the name's end
        text = SOURCES.format(mirror=mirror, suite=SUITE, keyring=home / "keyring.gpg")
        (home / "parts/debian.sources").write_text(text, encoding="utf-8")
        try:
            steps.run(
                f"look up {PACKAGE} in {SUITE}",
                ["apt-get", "update"],
                "apt-get update (is the mirror within reach?)",
                env=environment,
            )
            break
        except Failure:
            if keyring is keyrings[-1]:
                raise
            steps.say(f"not with {keyring}; trying the next keyring")
    steps.run(
        "download the source",
        ["apt-get", "source", "--download-only", f"{PACKAGE}/{SUITE}"],
        "apt-get update; scripts/pythons ensure 3.13t",
        cwd=partial,
        env=environment,
    )


def mirror_of_root():
    """The mirror that debootstrap chose by itself, where the machine's own sources name none."""
    try:
        lines = (debian.root() / "etc/apt/sources.list").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split()[1] for line in lines if line.startswith("deb ")), None)


def find():
    file = cache.directory() / NAME / "bin" / "python3.13t"
    if cache.stamp_of(NAME) is None or not file.is_file():
        return []
    return interpreter.ask_all([([str(file)], "/", file)])
