"""What a request has held is free as soon as it is answered, and does not wait for the garbage collector."""

import gc
from contextlib import contextmanager
from types import FrameType

import pytest

from web.http import departures, fair_threads, fair_turns

OURS = (departures.__file__, fair_threads.__file__, fair_turns.__file__)


@contextmanager
def garbage():
    """The list of what only the garbage collector would free of what the block has made, once it has ended."""
    cycles = []
    gc.freeze()
    gc.disable()
    try:
        yield cycles
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        cycles += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (200, "GET", "/companies/{company}/goals", None),
        (201, "POST", "/companies/{company}/goals", {"title": "Grow"}),
        (400, "POST", "/companies/{company}/goals", {"title": 7}),
        (404, "GET", "/routines/{company}", None),
    ],
)
def test_an_answered_request_leaves_no_reference_cycle(status, method, path, body, *, api):
    company_id = api.company()
    request = (method, path.format(company=company_id))

    with garbage() as cycles:
        for _ in range(5):
            assert status == api.request(*request, ... if body is None else body).status_code
    frames = {item.f_code.co_filename for item in cycles if isinstance(item, FrameType)}

    assert not frames.intersection(OURS)
