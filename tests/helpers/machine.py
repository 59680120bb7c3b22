"""A Debian machine with systemd as its first process: a root file system in namespaces of its own.

systemd-nspawn boots it; commands enter its namespaces. Its root is an overlay in memory, its network is loopback.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from helpers.debian_root import debian_root
from helpers.support import server

# systemd-nspawn needs a pure cgroup2, which a container engine or a hybrid hierarchy hides.
# It ends with the tests also if these are killed.
_BOOT = """
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
exec setpriv --pdeathsig TERM systemd-nspawn --quiet --boot --register=no --keep-unit --console=read-only \\
    --private-network --volatile=overlay --directory="$0"
"""
# What root has after a login, and nothing of the host.
_ENVIRONMENT = (
    "env",
    "-i",
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
)
_PACKAGES = ("systemd-sysv", "dbus", "python3-venv")
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine; `leader` is the process id of its systemd."""

    leader: int

    def entering(self, *command: str) -> list[str]:
        """A command line that runs a command as root of the machine."""
        target = str(self.leader)
        return [server("nsenter"), "--target", target, "--all", "--root", "--wd", "--", *_ENVIRONMENT, *command]

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command with something on its standard input."""
        return subprocess.run(
            self.entering(*command),
            input=given,
            capture_output=True,
            text=True,
            timeout=2 * _PATIENCE,
            check=False,
        )

    def sh(self, script: str) -> str:
        """Run lines of a shell, each of which must succeed; what they print."""
        done = self.run("sh", "-ec", script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file, with its folder."""
        quoted = shlex.quote(path)
        done = self.run("sh", "-ec", f'mkdir -p "$(dirname {quoted})"; cat > {quoted}', given=text)
        assert done.returncode == 0, done.stderr

    def take(self, folder: Path, names: list[str], target: str) -> None:
        """Copy files of a folder of the host."""
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "--", *names], stdout=subprocess.PIPE) as packed:
            subprocess.run(
                self.entering("sh", "-ec", f"mkdir -p {target}; tar -x --no-same-owner -C {target}"),
                stdin=packed.stdout,
                check=True,
            )
        assert packed.returncode == 0

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.sh(f"systemctl show --value -p {name} {unit}").strip()

    def await_log(self, unit: str, pattern: str, times: int = 1) -> str:
        """Wait until the journal of a unit has so many lines with a pattern; return the journal."""
        return self.await_line(f"journalctl --unit={unit} --output=cat", pattern, times)

    def await_line(self, shown: str, pattern: str, times: int = 1) -> str:
        """Wait until what a command shows has so many lines with a pattern; return all that it shows."""
        count = f"{shown} | grep --count --extended-regexp {shlex.quote(pattern)}"
        self.run(
            "timeout", f"{_PATIENCE:.0f}", "sh", "-c", f'until [ "$({count})" -ge {times} ]; do sleep 0.2; done'
        )
        text = self.sh(shown)
        found = [line for line in text.splitlines() if re.search(pattern, line)]
        assert len(found) >= times, f"{pattern!r} is not there {times} times:\n{text}"
        return text


@contextmanager
def booted(release: str) -> Iterator[Machine]:
    """A machine of a Debian release, such as `bookworm`, until the block is over."""
    root = debian_root(release, _PACKAGES)
    process = subprocess.Popen(
        [server("unshare"), "--mount", "--propagation", "private", "sh", "-c", _BOOT, str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Machine(_leader(process))
    finally:
        process.terminate()  # systemd-nspawn shuts the machine down
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _leader(process: subprocess.Popen[str]) -> int:
    """The first process of the machine, once all that it starts at boot runs."""
    server("systemd-nspawn")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        # The program that boots has one child: systemd.
        found = children.read_text().split()
        if len(found) == 1:
            state = Machine(int(found[0])).run("systemctl", "is-system-running", "--wait")
            if state.stdout.strip() in ("running", "degraded"):
                return int(found[0])
        sleep(0.2)
    raise AssertionError("the machine did not boot")
