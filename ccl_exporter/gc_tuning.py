"""How memory is taken, looked through and given back; the figures are in tests/benchmarks/README.md.

What is asked of the C library only glibc has.
"""

import ctypes
import gc
from contextlib import suppress

_M_ARENA_MAX = -8  # of mallopt(3)

_NEW_OBJECTS = 50_000
"""Objects until Python's collector looks for rings among the new ones; a scrape makes thousands and frees them."""


def share_memory() -> None:
    """Let all threads take memory from one place; else what was freed is kept once for each of them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def collect_seldom() -> None:
    """Keep the collector from looking all the time through readings, which leave no rings (a test says so)."""
    gc.set_threshold(_NEW_OBJECTS)


def freeze_long_lived() -> None:
    """Take what lives now out of the collector's sight; with thousands of chargers a look takes half a second."""
    gc.collect()
    gc.freeze()
    release_memory()


def unfreeze() -> None:
    """Let the collector see all again, as much of it may be gone."""
    gc.unfreeze()


def release_memory() -> None:
    """Give the system what was freed between things that live long, as after reading many inventories."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
