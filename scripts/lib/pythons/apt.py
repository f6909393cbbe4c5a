"""What this machine's own apt knows: Debian's mirror, proxies, keyrings. Read, never changed."""

import os
import shutil
import subprocess
from pathlib import Path

KEYRINGS = ("usr/share/keyrings/debian-archive-keyring.gpg", "usr/share/keyrings/debian-archive-keyring.pgp")
FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)"


def is_here():
    return shutil.which("apt-get") is not None


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return done.stdout if done.returncode == 0 else ""


def mirror():
    """URI of the Debian mirror in the machine's apt sources; None when it has none that every tool understands."""
    for line in output("apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages").splitlines():
        uri, origin, label = line.split("|")
        if origin == "Debian" and label == "Debian" and uri.startswith(("http://", "https://")):
            return uri.rstrip("/")
    return None


def find_mirror(steps):
    """The same, after fetching the package lists where there are none: without them apt cannot say whose they are."""
    if mirror() is None and os.geteuid() == 0:
        steps.run("read the machine's package lists", ["apt-get", "update"], "apt-get update")
    return mirror()


def keyring(root):
    """The Debian archive keyring of the machine (root is "/") or of another root, None if it has none."""
    return next((root / each for each in KEYRINGS if (root / each).is_file()), None)


def proxies():
    """Proxy settings of the machine's apt, as lines of an apt.conf."""
    return [line for line in output("apt-config", "dump", "Acquire").splitlines() if "::Proxy" in line]


def proxy_environment():
    """The same for tools that look at the environment only, where that does not say otherwise."""
    found = {}
    for scheme in ("http", "https"):
        variable = f"{scheme}_proxy"
        if variable in os.environ or variable.upper() in os.environ:
            continue
        for line in proxies():
            key, _, value = line.rstrip(";").partition(" ")
            if key.lower() == f"acquire::{scheme}::proxy" and value.strip('"') not in ("", "DIRECT"):
                found[variable] = value.strip('"')
    return found


def certificates():
    """The machine's bundle of certificate authorities, None if there is none."""
    names = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    paths = [os.environ[name] for name in names if os.environ.get(name)]
    return next((Path(each) for each in [*paths, "/etc/ssl/certs/ca-certificates.crt"] if os.path.isfile(each)), None)


def missing_packages(names):
    """Those of the packages that are not installed."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    there = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in there]
