"""
A read model: tables that are a fold of the log, and the position up to which they are folded.

Rows are msgspec structs; column names are field names. A fold sees one event at a time and a `Rows`, which keeps the
rows that it changes in memory and writes each once per batch. Rows and position change in one transaction. A rebuild
runs the same fold over the whole log into a schema of its own and then swaps the tables: until that commits, readers
see the old rows.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable
from projections.engine.rows import Rows
from projections.engine.table import Table
from projections.engine.views import View


def no_keys(_recorded: Recorded) -> Iterable[tuple[Table[Any], UUID]]:
    """Name no row to fetch before a batch: the fold asks for each row when it needs it."""
    return ()


class ReadModel(msgspec.Struct, frozen=True):
    """A read model by its name: its tables, and the fold of the log that fills them."""

    name: str
    tables: tuple[Table[Any], ...]
    schema: str  # SQL that creates its tables and indexes, without the name of a schema
    fold: Callable[[Recorded, Rows], None]
    keys_to_prefetch: Callable[[Recorded], Iterable[tuple[Table[Any], UUID]]] = no_keys  # rows to fetch before a batch
    events: frozenset[type] | None = None  # the kinds that it folds; None for all, even unreadable ones
    polled_by: str | None = None  # the process that folds it itself: it acts on it and must not wait for others
    version: int = 1  # the version of the fold: raise it when it makes other rows of the same events
    views: tuple[View, ...] = ()  # views for analysts over its tables

    @property
    def schema_hash(self) -> str:
        """
        The hash of the tables and the version of the fold, with a dot between; when it changes, the model is rebuilt.

        Before the dot stands the hash of the tables alone. Where only the version differs, the old tables are folded on
        until the new ones are there.
        """
        return f"{_hash_of(self.schema)}.{self.version}"

    @property
    def names_to_skip(self) -> list[str]:
        """The stored names of the events that it certainly does not fold: names that this version does not know are none."""
        if self.events is None:
            return []
        return [name for name, event in STORED_NAMES.items() if event not in self.events]

    def may_fold(self, recorded: Recorded) -> bool:
        """
        Return whether the model folds events of this kind.

        For an event that cannot be read its stored name decides; a name that this version does not know counts as
        folded.
        """
        if self.events is None:
            return True
        if isinstance(recorded.event, Unreadable):
            return STORED_NAMES.get(recorded.name) in {None, *self.events}
        return type(recorded.event) in self.events


@cache
def _hash_of(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()[:16]
