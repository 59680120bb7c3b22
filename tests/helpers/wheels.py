"""Wheels of what the package needs, for machines without a network; kept in the cache of the user."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import mkdtemp

from helpers.debian_root import CACHE
from helpers.support import PROJECT


def wheelhouse(python: str) -> Path:
    """A folder with wheels of the libraries of pyproject.toml and of its build, for a Python such as 3.13."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    about = project["project"]
    needed = [
        *about["dependencies"],
        *about["optional-dependencies"]["mqtt"],
        *project["build-system"]["requires"],
    ]
    digest = hashlib.sha256("\n".join(needed).encode()).hexdigest()[:12]
    house = CACHE / f"wheels-{python}-{digest}"
    if not house.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(mkdtemp(prefix=f"{house.name}.", dir=CACHE))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(fresh)),
                *("--only-binary=:all:", f"--python-version={python}", *needed),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        try:
            fresh.rename(house)
        except OSError:  # another test was faster
            shutil.rmtree(fresh)
    return house
