"""Loops in threads, on a connection of their own."""

import threading

import pytest

from routines import bootstrap

STOPPED_S = 10.0


@pytest.fixture
def conn(system):
    with bootstrap.connect(system.settings) as conn:
        yield conn


@pytest.fixture
def in_thread():
    """Starts `loop(*arguments, stop)`; gives the thread and its stop, and stops it at the end."""
    running = []

    def start(loop, *arguments):
        stop = threading.Event()
        thread = threading.Thread(target=loop, args=(*arguments, stop))
        running.append((thread, stop))
        thread.start()
        return thread, stop

    yield start
    for thread, stop in running:
        stop.set()
        thread.join(STOPPED_S)
        assert not thread.is_alive()
