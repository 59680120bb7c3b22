"""Lives of a charger and its exporter in simulated time: no reading is wrong, no session and no point is lost."""

import os
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from simulation.life import Life

WEEKS_A_LIFE = 5
WEEKS = int(os.environ.get("CCL_SIMULATION_WEEKS", "20"))
SEED = int(os.environ.get("CCL_SEED", "1"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory: a life commits to disk some ten thousand times."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own in it
    path = Path(mkdtemp(dir=memory if memory.is_dir() else None))
    yield path
    rmtree(path)


@pytest.mark.parametrize("seed", range(SEED, SEED + max(WEEKS // WEEKS_A_LIFE, 1)))
def test_a_life_with_faults_has_no_wrong_reading(seed: int, folder: Path) -> None:
    weeks = min(WEEKS, WEEKS_A_LIFE)
    life = Life(seed, weeks, folder)

    half, end = life.run()

    assert life.reads > 1600 * weeks
    assert end < half * 1.1
