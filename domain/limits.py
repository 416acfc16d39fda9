"""
How much of everything there may be: the one place of the numbers that keep one tenant from harming another.

An operator may change each of them (`routines/settings.py`: the variable `ROUTINES_<FIELD>`); `docs/limits.md` lists
them with what one gets beyond each. The number of a field that a single request can break stays with its shape in
`application/commands.py`; here is what counts per event, per company, per key, per process and per connection.
"""

from typing import Annotated

from msgspec import Meta

from domain.values import Value

KIB, MIB = 1024, 1024 * 1024

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=KIB, le=1024 * MIB)]


class Limits(Value, frozen=True):
    """Sizes are in bytes, rates a minute; each process counts for itself."""

    # One event, and what is recorded in one transaction (application/store.py).
    max_event_bytes: Bytes = 2 * MIB  # of its stored JSON
    max_event_depth: Annotated[int, Meta(ge=8, le=200)] = 100  # levels of arrays and objects in it
    max_transaction_bytes: Bytes = 32 * MIB  # of all events that are recorded together

    # What a process keeps in memory of streams (application/stream_cache.py).
    max_cache_bytes: Bytes = 96 * MIB  # of memory, by estimate
    max_cached_stream_bytes: Bytes = 256 * KIB  # of memory for one stream

    # One stream: the history of a thing, which every decision about it reads (application/work.py).
    max_stream_events: Count = 10_000  # beyond them nobody may change it any more
    max_stream_bytes: Bytes = 16 * MIB  # of memory, by estimate; a change of more than a few KB may fill half of it

    # One page of a list (projections/read_model.py).
    max_page_bytes: Bytes = 4 * MIB  # of the JSON of its rows; one row it has in any case


DEFAULT = Limits()
