"""A part of a process that works in a thread beside it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Stop


@contextmanager
def run_beside(name: str, work: Callable[[], None], stop: Stop) -> Iterator[None]:
    """Have work done in a thread of this name until the end of the `with`, which sets `stop` and waits for the thread."""
    thread = threading.Thread(target=work, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
