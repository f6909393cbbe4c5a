"""The cache outside git: artefacts that are either complete or not there, one lock each, one log each."""

import contextlib
import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from .failure import Failure

STAMP = ".firefinch-pythons.json"


def directory():
    chosen = os.environ.get("FIREFINCH_PYTHONS")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "firefinch" / "pythons"


def log_of(name):
    return directory() / "logs" / f"{name}.log"


def stamp_of(name):
    """What was noted when the artefact was completed, None when there is no complete one."""
    try:
        return json.loads((directory() / name / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def is_current(name, recipe):
    stamp = stamp_of(name)
    return stamp is not None and stamp.get("recipe") == recipe


@contextlib.contextmanager
def locked(name):
    """Holds the artefact's lock; yields its descriptor.

    Steps inherit the descriptor: if this process is killed, the lock stays taken until they have ended too, so
    nobody removes a directory that an orphan still writes to.
    """
    with open(directory() / f"{name}.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"pythons: {name}: somebody else is at it, waiting", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def remove(path):
    """Removes a tree, never what is mounted in it: a bind of /dev in there would be the machine's own."""
    if not os.path.lexists(path):
        return
    for mount in mounts_below(path):
        subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)
    left = mounts_below(path)
    if left:
        raise Failure(
            f"{path} cannot be removed", f"{left[0]} is still mounted", f"umount {left[0]}; then scripts/pythons again"
        )
    for _ in range(5):
        command = ["rm", "-rf", "--one-file-system", str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.3)  # what was killed a moment ago may still be writing its last
    evidence = (done.stderr.strip().splitlines() or ["rm said nothing"])[-1]
    raise Failure(f"{path} cannot be removed", evidence, shlex.join(command))


def mounts_below(path):
    """Mount points at or below path, deepest first."""
    real = os.path.realpath(path)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            point = line.split()[4].encode().decode("unicode_escape")
            if point == real or point.startswith(real + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


def ensure(name, recipe, build, fresh=False):
    """Makes the artefact `directory()/name` unless a complete one of this recipe is there.

    `build(partial, final, steps_lock)` works below `partial`, returns the tree to keep and notes for the stamp.
    The tree gets its name by rename when all is done, so what is not complete never looks it.
    """
    if is_current(name, recipe) and not fresh:
        return
    home = directory()
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        before = stamp_of(name)
        with locked(name) as lock:
            if is_current(name, recipe) and (not fresh or stamp_of(name) != before):
                return  # made by the one we waited for
            replace(name, recipe, build, lock)
    except OSError as error:
        evidence = f"{error.filename or home}: {error.strerror}"
        raise Failure(f"{name}: the cache cannot be used", evidence, "FIREFINCH_PYTHONS=DIR scripts/pythons") from error


def replace(name, recipe, build, lock):
    home = directory()
    final, partial, old = home / name, home / f"{name}.partial", home / f"{name}.old"
    remove(partial)
    remove(old)
    log_of(name).write_text("", encoding="utf-8")
    try:
        tree, notes = build(partial, final, lock)
        made = time.strftime("%Y-%m-%d %H:%M:%S")
        stamp = {"recipe": recipe, "made": made, **notes}
        (tree / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        if final.exists():
            final.rename(old)
        tree.rename(final)
    finally:
        remove(partial)
        remove(old)
