"""Real containers: podman with a storage, a network and a mount namespace of its own.

The namespaces have a loopback interface and a pure cgroup2 hierarchy, so that podman runs on machines whose own is
of version 1, and ports are free whatever else listens on this machine. Base images are stand-ins: a Debian root is
imported under the name that a Dockerfile asks for, so that no test needs a registry of images.
"""

import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from helpers.debian_root import debian_root
from helpers.support import PROJECT, server
from helpers.wheels import wheelhouse

PYTHON_PACKAGES = ("python-is-python3", "python3-pip", "python3-venv")
BASE_RELEASE, BASE_PYTHON = "trixie", "3.13"
"""The Debian release whose Python stands in for that of the base image."""

_NAMESPACE = """
set -e
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs "$1"
shift
ip link set lo up
for address in "$@"; do ip address add "$address/32" dev lo; done
echo ready
exec cat
"""

_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{images}"
runroot = "/run/containers/storage"
"""

# There are no cgroups to put a container into, and the namespaces have one network, shared by all.
_CONTAINERS = """
[containers]
cgroups = "disabled"
netns = "host"
default_ulimits = ["nofile={files}:{files}", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


class Podman:
    """Runs commands of podman and others within the namespaces; leaves no container and no mount behind.

    `addresses` are given to the loopback interface, as that of a charger or of a proxy. Images are in memory, some
    500 MB; `folder` has the configuration.
    """

    def __init__(self, folder: Path, addresses: Sequence[str] = ()) -> None:
        server("podman")
        images = folder / "images"
        images.mkdir(parents=True)
        storage, containers = folder / "storage.conf", folder / "containers.conf"
        storage.write_text(_STORAGE.format(images=images))
        containers.write_text(_CONTAINERS.format(files=resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"},
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(containers),
            "BUILDAH_FORMAT": "docker",  # the other one has no health check
            "BUILDAH_ISOLATION": "chroot",
            "PODMAN_COMPOSE_IN_POD": "false",  # a pod would want an image of its own
            "DISABLE_HC_SYSTEMD": "true",  # there are no timers: a test runs the health check
        }
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", _NAMESPACE, "sh", str(images), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            remove = ("rm", "--all", "--force", "--time", "1")
            self.run("podman", *remove, check=False)  # leaves those in whose network others were
            self(*remove)
        finally:
            self._holder.communicate()

    def within(self, *command: str, folder: Path = PROJECT) -> list[str]:
        """The words that run a command in a folder within the namespaces; it needs `environment`."""
        entered = ["nsenter", f"--target={self._holder.pid}", "--mount", "--net"]
        return [*entered, "env", f"--chdir={folder}", *command]

    def run(
        self, *command: str, check: bool = True, given: str | None = None, folder: Path = PROJECT
    ) -> subprocess.CompletedProcess[str]:
        """Run any command within the namespaces to its end, in a folder, with `given` as standard input."""
        done = subprocess.run(
            self.within(*command, folder=folder),
            env=self.environment,
            input=given or "",
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout[-3000:] + done.stderr[-3000:]
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {output}"
        return done

    def __call__(self, *arguments: str, given: str | None = None) -> str:
        """What `podman` prints with these arguments, which must succeed."""
        return self.run("podman", *arguments, given=given).stdout

    def shell(self, line: str, folder: Path = PROJECT) -> str:
        """What a line of a page prints, in a folder, with podman in place of docker."""
        return self.run("bash", "-ec", f'docker() {{ podman "$@"; }}\n{line}', folder=folder).stdout

    def http(self, url: str) -> str:
        """The body of a GET within the namespaces."""
        program = (
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).read().decode(), end='')"
        )
        return self.run(sys.executable, "-c", program, url).stdout

    def import_base(self, *names: str) -> None:
        """Make stand-ins for images of Python, such as `docker.io/library/python:3.13.14-slim-trixie`."""
        root = debian_root(BASE_RELEASE, PYTHON_PACKAGES)
        first, *others = names
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(
                self.within("podman", "import", "-", first),
                stdin=packed.stdout,
                env=self.environment,
                capture_output=True,
                check=True,
            )
        assert packed.returncode == 0
        for name in others:
            self("tag", first, name)

    def import_program(self, name: str, base: str, program: str, recipe: str) -> None:
        """Make a stand-in for an image with a program of this machine, such as one from a Debian package.

        `recipe` has the lines of its Dockerfile that follow those with the base and the program, which is in /bin.
        """
        with TemporaryDirectory() as folder:
            shutil.copy(program, folder)
            lines = f"FROM {base}\nCOPY {Path(program).name} /bin/\n{recipe}\n"
            self("build", "--quiet", "--pull-never", "--tag", name, "--file", "-", folder, given=lines)

    def build(self, *arguments: str) -> None:
        """`podman build` with these arguments in the project; pip takes wheels from a folder, not an index."""
        self(
            *("build", "--pull-never", "--volume", f"{wheelhouse(BASE_PYTHON)}:/wheels:ro"),
            *("--env", "PIP_NO_INDEX=1", "--env", "PIP_FIND_LINKS=/wheels", *arguments),
        )
