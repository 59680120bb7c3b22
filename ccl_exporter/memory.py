"""What the C library does with memory that was freed; only glibc has these functions.

The figures are in tests/benchmarks/README.md.
"""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # of mallopt(3)


def share_memory() -> None:
    """Let all threads take memory from one place; else what was freed is kept once for each of them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the system what was freed between things that live long, as after reading many inventories."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
