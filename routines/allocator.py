"""How the C library keeps memory that is free: by default it costs a process with many threads hundreds of megabytes."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # mallopt(3)
ARENAS = 2
MAPPED_BYTES = 128 * 1024


def keep_few_arenas() -> None:
    """
    Let all threads share a few arenas, and give large blocks back to the system as soon as they are free.

    By default glibc makes up to eight arenas for each processor and keeps in each what was free once; and it learns
    from the first large blocks to keep those, too. Does nothing where the C library is another one.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
