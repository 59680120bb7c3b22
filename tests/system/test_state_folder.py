"""A state folder without room for anything when `serve` starts: it starts, says so once, and takes it up later."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.support import Process, Start, get, scrape

from ccl_exporter.simulator import Simulator

LOG = "session log"


class Disk:
    """A file system of 512 kB that can be full or read-only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def close(self, how: str) -> None:
        """From now on nothing can be written."""
        if how == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)
            return
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def open(self, how: str) -> None:
        if how == "read-only":
            subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True)
        else:
            self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only root can mount ({done.stderr.strip()}): a full and a read-only disk are not checked")
    yield Disk(path)
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_serve_starts_on_a_disk_without_room_and_takes_it_up_later(
    how: str, disk: Disk, wallbox: Simulator, start: Start
) -> None:
    def serve() -> tuple[Process, str]:
        process = start(
            *("serve", wallbox.url, "--web.listen-address", "127.0.0.1:0"),
            env={"STATE_DIRECTORY": str(disk.path)},
        )
        return process, process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]

    def register() -> float | None:
        return scrape(url).get("ccl_plug_energy_joules_total", plug="EVSE.PLUG")

    (plug,) = wallbox.site.plugs
    level = plug.energy_wh
    process, url = serve()
    assert register() is not None
    assert process.stop() == 0
    disk.close(how)
    plug.set_register(level / 2)
    process, url = serve()

    process.wait_for_log(f"{LOG} .* cannot be used for now, sessions wait")
    # What cannot be written can be read: the level before is known.
    assert register() is None
    plug.set_register(level)
    assert register() == pytest.approx(level * 3600, abs=36_000)
    disk.open(how)
    process.wait_for_log(f"{LOG} can be written again")
    plug.plug_in(2000.0)
    assert register() is not None
    workers = [line for line in get(url).splitlines() if line.startswith("ccl_exporter_worker_up")]
    assert workers
    assert all(line.endswith(" 1.0") for line in workers), workers
    assert process.stop() == 0
    assert len([line for line in process.log if LOG in line]) == 2, process.log
    listed = os.listdir(disk.path)
    assert "charges.db" in listed
