"""A state folder without room for anything when `serve` starts: it starts, says so once, and takes it up later."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from helpers.support import Process, Start, get, scrape

from ccl_exporter.simulator import Simulator

CONFIGURATION = """
chargers:
  garage: {{url: "{url}"}}
influxdb:
  - {{name: db, url: "http://127.0.0.1:9", version: 1, database: ev, interval: 1s, modules: [core]}}
"""


class Disk:
    """A file system of 16 MB, of which a queue leaves 10 free, that can be full or read-only."""

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
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only root can mount ({done.stderr.strip()}): a full and a read-only disk are not checked")
    yield Disk(path)
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_serve_starts_on_a_disk_without_room_and_takes_it_up_later(
    how: str, disk: Disk, wallbox: Simulator, start: Start, tmp_path: Path
) -> None:
    def serve() -> tuple[Process, str]:
        process = start(
            *("serve", "--config.file", str(file), "--web.listen-address", "127.0.0.1:0"),
            env={"STATE_DIRECTORY": str(disk.path)},
        )
        return process, process.line(r"http://127\.0\.0\.1:\d+")[0]

    def register() -> float | None:
        return scrape(f"{url}/probe?target=garage").get("ccl_plug_energy_joules_total", plug="EVSE.PLUG")

    file = tmp_path / "ccl.yaml"
    file.write_text(CONFIGURATION.format(url=wallbox.url))
    (plug,) = wallbox.site.plugs
    level = plug.energy_wh
    process, url = serve()
    assert register() is not None
    assert process.stop() == 0
    for queue in disk.path.glob("influxdb-*"):
        queue.unlink()
    disk.close(how)
    plug.set_register(level / 2)
    process, url = serve()

    process.wait_for_log("the session log .* cannot be used for now, sessions wait")
    process.wait_for_log("nothing is written: the spool .* cannot be used")
    # What cannot be written can be read: the level before is known.
    assert register() is None
    plug.set_register(level)
    assert register() == pytest.approx(level * 3600, abs=36_000)
    disk.open(how)
    process.wait_for_log("the session log can be written again")
    until = monotonic() + 60
    while not scrape(f"{url}/metrics").get("ccl_influxdb_spool_points", sink="db"):
        assert monotonic() < until, process.log
        sleep(0.2)
    workers = [line for line in get(f"{url}/metrics").splitlines() if line.startswith("ccl_exporter_worker_up")]
    assert workers
    assert all(line.endswith(" 1.0") for line in workers), workers
    assert process.stop() == 0
    for subject, lines in (("the session log", 2), ("the spool", 1), ("/chargers/", 0)):
        assert len([line for line in process.log if subject in line]) == lines, process.log
