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

    # The environment of a collection (domain/environment.py). Linux takes 128 KiB for one variable.
    max_environment_variables: Count = 200
    max_environment_bytes: Bytes = 64 * KIB  # of all names and values

    # Outbound: what one delivery process has on its way (processes/delivery.py, processes/lookups.py).
    max_deliveries_at_once: Annotated[int, Meta(ge=2, le=10_000)] = 128  # attempts; of one company as many as are free
    max_receiver_deliveries_at_once: Count = 8  # attempts to one endpoint, agent or address of callbacks
    max_host_deliveries_at_once: Count = 16  # attempts to one host for one company
    max_delivery_bytes_at_once: Bytes = 64 * MIB  # bodies; of one company as much as is free
    max_answer_bytes: Bytes = 64 * KIB  # that are read of an answer
    max_lookups_at_once: Annotated[int, Meta(ge=2, le=1_000)] = 64  # names that are looked up, each in a thread
    max_company_lookups_at_once: Count = 8
    max_host_lookups_at_once: Count = 2  # of one name; a second only when the first is overdue
    lookup_limit_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # for one name


DEFAULT = Limits()
