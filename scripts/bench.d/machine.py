"""What was measured, on what: for the head of a table."""

import os
import platform
import subprocess
import time
from pathlib import Path


def describe():
    return f"{cpu_model()}, {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}{hypervisor()}"


def cpu_model():
    return field("model name") or platform.processor() or "unknown processor"


def hypervisor():
    return ", virtual machine" if "hypervisor" in (field("flags") or "").split() else ""


def field(name):
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), None)


def commit(top):
    """The last commit that changed what is built, with a plus if what is built differs from it."""

    def git(*arguments):
        done = subprocess.run(["git", "-C", top, *arguments], check=False, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    built = ["--", "src", "crates", "Cargo.toml", "Cargo.lock"]
    changed = git("status", "--porcelain", *built)
    return (git("log", "-1", "--format=%h", *built) or "unknown") + ("+" if changed else "")


def busy_seconds():
    """Processor time that anyone has used since boot, that of the host's other guests too, over all cores."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, steal = fields
    return (user + nice + system + interrupts + soft_interrupts + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """That of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Others:
    """What others use of the machine meanwhile."""

    def __init__(self):
        self.begun, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def percent(self):
        """In % of one core, on average since the start."""
        used = busy_seconds() - self.busy - (own_seconds() - self.own)
        return 100 * used / max(0.01, time.monotonic() - self.begun)
