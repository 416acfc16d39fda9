"""
Data keys: one for each company and each user, under which the log keeps what people have written, sent or are called there.

Whoever destroys such a key erases all of that (docs/decisions/0059-erasure.md). The keys are in the vault, in the clear:
they hide nothing from those who have the database, since the read models beside them hold the same in words.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import MapperDeserialisationError, OperationalError
from psycopg_pool import ConnectionPool

from application.event_store.postgres_errors import UNAVAILABLE
from domain.values import Value

KEY_BYTES = 32
LOOK_S = 5.0  # a process uses a key for so long without looking whether one was destroyed
CACHED = 50_000  # the most keys that one process keeps in memory
READ = "SELECT subject_id, key FROM vault.data_keys WHERE subject_id = ANY(%b) AND key IS NOT NULL"
# No key is made for a subject whose first event is sealed already: its key was lost, and a new one would block its
# restoration.
MAKE = """
    INSERT INTO vault.data_keys (subject_id, key) SELECT %(id)b, %(key)b
    WHERE NOT EXISTS (SELECT FROM log.events WHERE stream_id = %(id)b AND version = 1 AND position(%(sealed)b IN body) > 0)
    ON CONFLICT DO NOTHING"""
# Marks the body of a sealed event; within a JSON string the quotes would be escaped, so texts cannot imitate it.
SEALED = b'"sealed":"'
ERASED = "SELECT subject_id FROM vault.data_keys WHERE erased_at IS NOT NULL"
STATE = "SELECT erased_at, cleared_at FROM vault.data_keys WHERE subject_id = %b"
DESTROY = """
    INSERT INTO vault.data_keys (subject_id, key, erased_at) VALUES (%b, NULL, now())
    ON CONFLICT (subject_id) DO UPDATE SET key = NULL, erased_at = now() WHERE data_keys.key IS NOT NULL"""
CLEARED = "UPDATE vault.data_keys SET cleared_at = now() WHERE subject_id = %b AND cleared_at IS NULL"
DROP_SECRETS = "DELETE FROM vault.secrets WHERE company_id = %b"
IS_READABLE = """
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'vault' AND c.relname = 'data_keys'
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))"""

# Tables whose files still hold the deleted rows after `destroy`, until they are rewritten.
TABLES = ("vault.data_keys", "vault.secrets")

Connection = psycopg.Connection[tuple[Any, ...]]


class LostKey(MapperDeserialisationError):
    """A data key is not there, although what was sealed under it is."""

    def __init__(self, subject_id: UUID) -> None:
        super().__init__(f"the data key of {subject_id} is lost")


class DataKeys:
    """
    The data keys of a process of the service, which keeps them in memory.

    Within LOOK_S of the destruction of one it forgets all of them, and calls those that `on_erasure` has named: they hold
    what was read before.
    """

    is_complete = True

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._keys: dict[UUID, bytes] = {}
        self._erased_ids: frozenset[UUID] | None = None  # None: this process has never looked
        self._looked_at = 0.0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def on_erasure(self, forget: Callable[[], None]) -> None:
        """Call this function, in whatever thread, when keys have been destroyed."""
        self._listeners.append(forget)

    def is_fresh(self) -> bool:
        """Return whether what is in memory may be used without a look at the database."""
        return self._erased_ids is not None and time.monotonic() - self._looked_at < LOOK_S

    def at_hand(self, subject_ids: set[UUID]) -> dict[UUID, bytes]:
        """Return those of these keys that are in memory."""
        keys = self._keys
        return {id_: keys[id_] for id_ in subject_ids if id_ in keys}

    def load(self, subject_ids: set[UUID]) -> dict[UUID, bytes]:
        """Return these keys, without those that are destroyed. Raises OperationalError when the database is away."""
        erased_ids, keys = self.erased_subjects(), self.at_hand(subject_ids)
        if missing := subject_ids - keys.keys() - erased_ids:
            keys |= self._read(missing)
        return keys

    def erased_subjects(self) -> frozenset[UUID]:
        """Return the companies and users whose keys are destroyed. Raises OperationalError as `load` does."""
        self.refresh()
        return self._erased_ids or frozenset()

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """
        Return the key for something new, which is made if there is none yet; None if it is destroyed.

        Raises LostKey where there must have been one.
        """
        keys = self.load({subject_id})
        if not keys and subject_id not in self.erased_subjects():
            with self._open_connection() as conn:
                conn.execute(MAKE, {"id": subject_id, "key": os.urandom(KEY_BYTES), "sealed": SEALED})
            if not (keys := self._read({subject_id})) and subject_id not in self._read_erased():
                raise LostKey(subject_id)
        return keys.get(subject_id)

    def fetch(self, subject_ids: Collection[UUID]) -> bool:
        """Have these keys in memory, those that are not destroyed; return whether all others are there."""
        return set(subject_ids) <= self.load(set(subject_ids)).keys() | self.erased_subjects()

    def refresh(self) -> None:
        """Forget all keys if one was destroyed since the last look, unless that was a moment ago."""
        if self.is_fresh():
            return
        with self._lock:
            if self.is_fresh():
                return
            began_at = time.monotonic()
            erased = self._read_erased()
            if erased != self._erased_ids:
                self._keys = {}
                if self._erased_ids is not None:
                    for forget in self._listeners:
                        forget()
            self._erased_ids, self._looked_at = erased, began_at

    def _read_erased(self) -> frozenset[UUID]:
        with self._open_connection() as conn:
            return _fetch_erased(conn)

    def _read(self, subject_ids: set[UUID]) -> dict[UUID, bytes]:
        keys = self._keys
        with self._open_connection() as conn:
            fresh = _read(conn, subject_ids)
        keys |= fresh  # after a look that was made meanwhile, that is not the mapping in use any more
        while len(keys) > CACHED:
            keys.pop(next(iter(keys)), None)
        return fresh

    @contextmanager
    def _open_connection(self) -> Iterator[Connection]:
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

    def load(self, subject_ids: set[UUID]) -> dict[UUID, bytes]:
        """Return these keys, without those that are destroyed."""
        return _read(self._conn, subject_ids) if self._is_readable() else {}

    def erased_subjects(self) -> frozenset[UUID]:
        """Return the companies and users whose keys are destroyed, as far as the login may know."""
        return _fetch_erased(self._conn) if self._is_readable() else frozenset()

    def to_seal(self, subject_id: UUID) -> bytes | None:
        """Refuse: whoever only reads seals nothing."""
        raise NotImplementedError(subject_id)

    def _is_readable(self) -> bool:
        if self._may_read is None:
            row = self._conn.execute(IS_READABLE, prepare=True).fetchone()
            self._may_read = row is not None and bool(row[0])
        return self._may_read


def _read(conn: Connection, subject_ids: set[UUID]) -> dict[UUID, bytes]:
    return dict(conn.execute(READ, (list(subject_ids),), prepare=True).fetchall())


def _fetch_erased(conn: Connection) -> frozenset[UUID]:
    return frozenset(id_ for (id_,) in conn.execute(ERASED, prepare=True))


class Erasure(Value, frozen=True):
    """How far an erasure has come: when the key was destroyed, and when nothing that it had opened was left."""

    erased_at: datetime | None = None
    cleared_at: datetime | None = None


def erasure_of(conn: Connection, subject_id: UUID) -> Erasure:
    """Return how far the erasure of a company or a user has come."""
    erased_at, cleared_at = conn.execute(STATE, (subject_id,)).fetchone() or (None, None)
    return Erasure(erased_at=erased_at, cleared_at=cleared_at)


def destroy(conn: Connection, subject_id: UUID) -> None:
    """Destroy the data key of a company or a user, and the company's secrets, by the rights of the log's owner."""
    conn.execute(DESTROY, (subject_id,))
    conn.execute(DROP_SECRETS, (subject_id,))


def note_cleared(conn: Connection, subject_id: UUID) -> None:
    """Note that the read models hold nothing any more of what the key had opened."""
    conn.execute(CLEARED, (subject_id,))
