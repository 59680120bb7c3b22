"""Memory: arenas of malloc, the garbage collector, freed memory; the figures are in tests/benchmarks/README.md.

The functions of the C library exist only in glibc; elsewhere they do nothing.
"""

import ctypes
import gc
from contextlib import suppress

_M_ARENA_MAX = -8  # of mallopt(3)

_NEW_OBJECTS = 50_000
"""New objects after which the garbage collector runs; a scrape makes thousands and frees them."""


def share_memory() -> None:
    """Let all threads use one arena of malloc; otherwise each keeps its own freed memory."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def collect_seldom() -> None:
    """Run the garbage collector rarely: reads leave no reference cycles (tests/component/test_memory_use.py)."""
    gc.set_threshold(_NEW_OBJECTS)


def freeze_long_lived() -> None:
    """Exclude all present objects from garbage collection, else 0.5 s a run with thousands of chargers."""
    gc.collect()
    gc.freeze()
    release_memory()


def unfreeze() -> None:
    """Undo `freeze_long_lived`, as many of the objects may have become garbage."""
    gc.unfreeze()


def release_memory() -> None:
    """Return freed memory to the system, as after reading many inventories."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
