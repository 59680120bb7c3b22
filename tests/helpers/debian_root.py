"""A root file system of a Debian release, from the mirror of this machine's apt, kept in the cache of the user.

Needs root, Debian's mmdebstrap (debootstrap's result in half its time) and an `apt-get update` beforehand.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from helpers.support import server, unavailable

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccl-exporter"


def mirror() -> str:
    """The address of the Debian archive in apt's sources."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = subprocess.run(
        [
            *(server("apt-get"), "indextargets", "--format", "$(REPO_URI)"),
            *("Identifier: Packages", "Component: main", "Origin: Debian", f"Codename: {codename}"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if not listed:
        unavailable("apt knows no Debian mirror: run apt-get update on a Debian machine")
    return listed[0]


def debian_root(release: str, packages: Sequence[str]) -> Path:
    """The folder of a root with a minimal system and these packages; copy it before you change it.

    Made once for each set of packages; others that ask for the same set meanwhile wait. `release` is a
    codename such as `trixie`.
    """
    if os.geteuid() != 0:
        unavailable("only root can make a root file system: what it would check is not checked")
    wanted = ",".join(sorted(packages))
    root = CACHE / f"{release}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            made = Path(mkdtemp(prefix=f"{root.name}.", dir=CACHE))
            try:
                built = subprocess.run(
                    [
                        *(server("mmdebstrap"), "--variant=minbase", f"--include={wanted}"),
                        *("--format=directory", release, str(made), mirror()),
                    ],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert built.returncode == 0, built.stderr[-5000:]
                made.rename(root)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return root
