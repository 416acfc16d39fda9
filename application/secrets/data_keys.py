"""
Data keys: one for each company and each user, under which the log keeps what people have written, sent or are called there.

Whoever destroys such a key erases all of that (docs/decisions/0059-erasure.md). The keys are in the vault, in the clear:
they hide nothing from those who have the database, since the read models beside them hold the same in words.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import OperationalError
from psycopg_pool import ConnectionPool

from application.event_store.recorder import UNAVAILABLE

KEY_BYTES = 32
LOOK_S = 5.0  # a process uses a key for so long without looking whether one was destroyed
CACHED = 50_000  # the most keys that one process keeps in memory
READ = "SELECT subject_id, key FROM vault.data_keys WHERE subject_id = ANY(%b)"
MAKE = "INSERT INTO vault.data_keys (subject_id, key) VALUES (%b, %b) ON CONFLICT DO NOTHING"
DESTROYED = "SELECT count(*) FROM vault.data_keys WHERE erased_at IS NOT NULL"
IS_READABLE = """
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'vault' AND c.relname = 'data_keys'
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))"""

Connection = psycopg.Connection[tuple[Any, ...]]


class DataKeys:
    """
    The data keys of a process of the service, which keeps them in memory.

    Within LOOK_S of the destruction of one it forgets all of them, and calls those that `on_erasure` has named: they hold
    what was read before.
    """

    is_complete = True

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._keys: dict[UUID, bytes | None] = {}
        self._destroyed = -1  # how many keys were destroyed when this process last looked
        self._looked_at = -LOOK_S
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def on_erasure(self, forget: Callable[[], None]) -> None:
        """Call this function, in whatever thread, when keys have been destroyed."""
        self._listeners.append(forget)

    @property
    def is_fresh(self) -> bool:
        """Whether the keys in memory may be used without a look at the database."""
        return time.monotonic() - self._looked_at < LOOK_S

    def at_hand(self, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
        """Return those of these keys that are in memory."""
        keys = self._keys
        return {id_: keys[id_] for id_ in subject_ids if id_ in keys}

    def load(self, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
        """Return these keys; None for one that is destroyed. Raises OperationalError when the database is away."""
        self.look()
        found = self.at_hand(subject_ids)
        if missing := subject_ids - found.keys():
            found |= self._read(missing)
        return found

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """Return the key for something new, which is made if there is none yet; None if it is destroyed."""
        found = self.load({subject_id})
        if subject_id not in found:
            with self._connection() as conn:
                conn.execute(MAKE, (subject_id, os.urandom(KEY_BYTES)))
            found = self._read({subject_id})
        return found[subject_id]

    def look(self) -> None:
        """Forget all keys if one was destroyed since the last look, unless that was a moment ago."""
        if self.is_fresh:
            return
        with self._lock:
            if self.is_fresh:
                return
            began_at = time.monotonic()
            with self._connection() as conn:
                destroyed = (conn.execute(DESTROYED, prepare=True).fetchone() or (0,))[0]
            if destroyed != self._destroyed:
                self._keys = {}
                if self._destroyed >= 0:
                    for forget in self._listeners:
                        forget()
            self._destroyed, self._looked_at = destroyed, began_at

    def _read(self, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
        keys = self._keys
        with self._connection() as conn:
            found: dict[UUID, bytes | None] = dict(conn.execute(READ, (list(subject_ids),), prepare=True).fetchall())
        keys |= found  # of before a look that was made meanwhile, which has put another mapping in place
        while len(keys) > CACHED:
            keys.pop(next(iter(keys)), None)
        return found

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            with self._pool.connection() as conn:
                yield conn
        except UNAVAILABLE as error:
            raise OperationalError(str(error)) from error


class ReadKeys:
    """The data keys that the login of a connection may read; what it may not open stays sealed."""

    is_complete = False

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._may_read: bool | None = None  # None: nobody has asked yet

    def load(self, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
        """Return these keys; None for one that is destroyed."""
        if self._may_read is None:
            row = self._conn.execute(IS_READABLE, prepare=True).fetchone()
            self._may_read = row is not None and bool(row[0])
        if not self._may_read:
            return {}
        return dict(self._conn.execute(READ, (list(subject_ids),), prepare=True).fetchall())

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """Refuse: whoever only reads seals nothing."""
        raise NotImplementedError(subject_id)
