"""Debian unstable in a root of its own: CPython 3.13 to 3.15, static and debug builds, with headers.

Its C library is newer than the machine's, so its programs run in a chroot, or through the root's own loader.
"""

import os
import shutil
import subprocess

from . import apt, cache, interpreter
from .elf import Elf
from .failure import Failure
from .steps import Steps

NAME = "debian-sid"
PACKAGES = {
    minor: [f"python{minor}", f"python{minor}-venv", f"python{minor}-dbg"]
    + [f"libpython{minor}", f"libpython{minor}-dev", f"libpython{minor}-dbg"]
    for minor in ("3.13", "3.14", "3.15")
}
PROVIDES = [name for minor in PACKAGES for name in (minor, f"{minor}d")] + ["3.13-static", "3.14-loader"]
RECIPE = {"version": 1, "packages": PACKAGES}

# Nobody reads manuals in there, and nothing in there needs to survive a power cut while it is being made.
DPKG = """force-unsafe-io
path-exclude /usr/share/doc/*
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
"""
APT = """Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
"""
NO_SERVICES = "#!/bin/sh\nexit 101\n"


def root():
    return cache.directory() / NAME


def ensure(fresh=False):
    if cache.is_current(NAME, RECIPE) and not fresh:
        return
    refuse_unless_possible()
    cache.ensure(NAME, RECIPE, build, fresh)


def refuse_unless_possible():
    if not apt.is_here():
        raise Failure(
            "Debian unstable's interpreters are not to be had",
            "no apt-get here: not a Debian-like machine",
            "uv python install 3.14 3.15, or pyenv install",
        )
    if os.geteuid() != 0:
        raise Failure(
            "Debian unstable's interpreters need root once",
            f"debootstrap and chroot are for root, this is uid {os.geteuid()}",
            f"sudo env FIREFINCH_PYTHONS={cache.directory()} scripts/pythons, or uv python install 3.14 3.15",
        )


def build(partial, _final, lock):
    steps = Steps(NAME, lock)
    network = "apt-get update (is the mirror within reach?), then scripts/pythons again"
    if apt.missing_packages(["debootstrap", "debian-archive-keyring"]) or not shutil.which("debootstrap"):
        steps.run("read the machine's package lists", ["apt-get", "update"], network)
        steps.run(
            "install debootstrap",
            ["apt-get", "install", "-y", "--no-install-recommends", "debootstrap", "debian-archive-keyring"],
            "apt-get install debootstrap",
        )
    mirror = apt.find_mirror(steps)
    environment = apt.proxy_environment()
    isolated = isolation()
    bootstrap = [*isolated, "debootstrap", "--variant=minbase", "sid", partial]
    steps.run(
        "lay out Debian unstable",
        bootstrap + ([mirror] if mirror else []),
        network,
        env=environment,
        more_logs=[partial / "debootstrap" / "debootstrap.log"],
    )
    configure(partial)

    within = {**environment, "PATH": SYSTEM_PATH, "APT_CONFIG": None, "TMPDIR": None}

    def inside(what, *command):
        steps.run(what, [*isolated, "chroot", partial, *command], network, env=within)

    inside("read the package lists", "apt-get", "update")
    absent = without_candidate(partial)
    if absent:
        add_experimental(partial)
        inside("read the package lists of experimental", "apt-get", "update")
        absent = without_candidate(partial)
    wanted = [name for minor, names in PACKAGES.items() if minor not in absent for name in names]
    inside(f"install {len(wanted)} packages", "apt-get", "install", "-y", *wanted)
    inside("tidy up", "apt-get", "clean")
    gather_headers(partial)
    return partial, {"absent": absent}


SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def isolation():
    """Prefix for commands that mount: the mounts, and what the command starts, vanish with it however it ends."""
    prefix = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    done = subprocess.run([*prefix, "true"], check=False, capture_output=True)
    return prefix if done.returncode == 0 else []


def configure(tree):
    (tree / "etc/dpkg/dpkg.cfg.d/90firefinch").write_text(DPKG, encoding="utf-8")
    lines = apt.proxies()
    bundle = apt.certificates()
    if bundle:
        shutil.copyfile(bundle, tree / "etc/apt/machine-certificates.crt")
        lines.append('Acquire::https::CaInfo "/etc/apt/machine-certificates.crt";')
    (tree / "etc/apt/apt.conf.d/90firefinch").write_text(APT + "\n".join(lines) + "\n", encoding="utf-8")
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text(NO_SERVICES, encoding="utf-8")
    policy.chmod(0o755)


def without_candidate(tree):
    """Minor versions that the root's package lists do not offer."""
    shown = subprocess.run(
        ["chroot", tree, "apt-cache", "dumpavail"], check=False, capture_output=True, text=True,
        env={**os.environ, "PATH": SYSTEM_PATH, "LC_ALL": "C"},
    ).stdout  # fmt: skip
    offered = {line.split(" ", 1)[1] for line in shown.splitlines() if line.startswith("Package: ")}
    return [minor for minor, names in PACKAGES.items() if not offered.issuperset(names)]


def add_experimental(tree):
    listed = tree / "etc/apt/sources.list"
    lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if line.startswith("deb ")]
    more = [line.replace(" sid ", " experimental ") for line in lines]
    listed.write_text("\n".join(lines + more) + "\n", encoding="utf-8")


def gather_headers(tree):
    """Debian's pyconfig.h includes <TRIPLET/pythonX.Y/pyconfig.h>; make that resolve from the directory of Python.h,
    so that one -I is enough, without the root's libc headers."""
    for real in (tree / "usr/include").glob("*-linux-gnu*/python3*"):
        header = tree / "usr/include" / real.name
        if header.is_dir():
            (header / real.parent.name).mkdir(exist_ok=True)
            (header / real.parent.name / real.name).symlink_to(f"../../{real.parent.name}/{real.name}")


def find():
    """The root's interpreters that can be started from here, without a change to anything."""
    tree = root()
    if cache.stamp_of(NAME) is None:
        return []
    files = [tree / "usr/bin" / f"python{minor}{debug}" for minor in PACKAGES for debug in ("", "d")]
    files = [file for file in files if file.is_file()]
    chroot = shutil.which("chroot", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if os.geteuid() == 0 and chroot:
        found = interpreter.ask_all([([chroot, str(tree), f"/usr/bin/{f.name}"], tree, f) for f in files])
        if found:  # root without CAP_SYS_CHROOT gets none
            return found
    return interpreter.ask_all([(through_loader(file), "/", file) for file in files])


def find_through_loader():
    """A 3.14 whose /proc/PID/exe is the dynamic loader: rare, and all the more in need of a test."""
    file = root() / "usr/bin/python3.14"
    if cache.stamp_of(NAME) is None or not file.is_file():
        return None
    return interpreter.ask(through_loader(file), "/", file)


def through_loader(file):
    """argv that starts one of the root's programs without chroot. Python finds its library from argv[0]."""
    tree = root()
    try:
        loader = Elf(file).interpreter or ""
    except ValueError:
        loader = ""  # a damaged file; starting it fails and says so
    libraries = ":".join(sorted(str(each) for each in tree.glob("usr/lib/*-linux-gnu*") if each.is_dir()))
    return [str(tree / loader.lstrip("/")), "--library-path", libraries, str(file)]


def reason(minor):
    """Why the complete root has no such interpreter."""
    stamp = cache.stamp_of(NAME) or {}
    if minor in stamp.get("absent", []):
        made = stamp.get("made")
        return f"not in unstable or experimental on {made}; later: scripts/pythons ensure --fresh {minor}"
    return f"{root()} has it, but it does not start"
