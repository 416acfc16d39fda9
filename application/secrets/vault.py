"""
Secrets at rest, beside the log and never in it.

A secret that somebody has to show is kept as its SHA-256. One that we need ourselves, to check a signature, is kept
encrypted, bound to its place: what is moved to another record does not open. docs/decisions/0007-secrets.md
"""

import os
from collections.abc import Sequence
from threading import Lock
from typing import Any
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from psycopg_pool import ConnectionPool

from application.secrets.key_ring import CannotRetire, KeyRing, VaultClosed
from domain.values import Value
from domain.webhooks.secret import Secret

FORMAT = b"routines secret 1"
NONCE_BYTES = 12
CACHED = 4_096  # opened secrets in the memory of one process, at most

KEEP = """
    INSERT INTO vault.secrets (id, company_id, owner_id, purpose, key_id, content)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::bytea[])"""
DROP = "DELETE FROM vault.secrets WHERE id = ANY(%b)"
OPEN = "SELECT id, company_id, owner_id, purpose, key_id, content FROM vault.secrets WHERE id = ANY(%b)"
IN_USE = "SELECT key_id, count(*) FROM vault.secrets WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY key_id"
UNDER = """
    SELECT id, company_id, owner_id, purpose, key_id, content FROM vault.secrets WHERE key_id = ANY(%b)
    ORDER BY id LIMIT %b FOR UPDATE SKIP LOCKED"""
RESEAL = """
    UPDATE vault.secrets s SET key_id = b.key_id, content = b.content
    FROM unnest(%b::uuid[], %b::text[], %b::bytea[]) AS b(id, key_id, content) WHERE s.id = b.id"""
# Whoever encrypts shares the ring until its records are committed; whoever changes the ring has it alone. So no
# record appears under a key that has just been taken out.
SHARE_RING = "SELECT pg_advisory_xact_lock_shared(hashtext('routines key ring'))"
HAVE_RING = "SELECT pg_advisory_xact_lock(hashtext('routines key ring'))"

Connection = psycopg.Connection[tuple[Any, ...]]


class Kept(Value, frozen=True):
    """One record: a secret, and the place that it is bound to."""

    id: UUID
    company_id: UUID
    owner_id: UUID
    purpose: str
    secret: Secret


class Vault:
    """Keeps and opens secrets. Raises VaultClosed where it needs a key that it does not get; hashes need none."""

    def __init__(self, pool: ConnectionPool[Connection], ring: KeyRing) -> None:
        self.pool = pool
        self.ring = ring
        self._opened: dict[UUID, Secret] = {}
        self._turn = Lock()

    def keep(self, secrets: Sequence[Kept]) -> None:
        """All of them or none; the ids must be new."""
        if not secrets:
            return
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(SHARE_RING)
            rows = [(kept.id, kept.company_id, kept.owner_id, kept.purpose, *self._sealed(kept)) for kept in secrets]
            conn.execute(KEEP, [list(column) for column in zip(*rows, strict=True)])

    def drop(self, ids: Sequence[UUID]) -> None:
        """Deletes them; unknown ids are left out."""
        with self.pool.connection() as conn:
            conn.execute(DROP, (list(ids),))
        with self._turn:
            for id_ in ids:
                self._opened.pop(id_, None)

    def open(self, ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """The secrets by id; unknown ids are left out. Another process may have dropped one that we opened before."""
        with self._turn:
            found = {id_: self._opened[id_] for id_ in ids if id_ in self._opened}
        if missing := [id_ for id_ in ids if id_ not in found]:
            with self.pool.connection() as conn:
                rows = conn.execute(OPEN, (missing,), prepare=True).fetchall()
            opened = {kept.id: kept.secret for kept in map(self._kept, rows)}
            self._remember(opened)
            found |= opened
        return found

    def keys_in_use(self) -> dict[str, int]:
        """How many records are under each key."""
        with self.pool.connection() as conn:
            return _in_use(conn)

    def reseal(self, limit: int) -> int:
        """Puts up to `limit` records of older keys of the ring under the current one; how many. Others may help."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(SHARE_RING)
            _, *older = self.ring.ids()
            found = [self._kept(row) for row in conn.execute(UNDER, (older, limit))]
            rows = [(kept.id, *self._sealed(kept)) for kept in found]
            conn.execute(RESEAL, [[row[column] for row in rows] for column in range(3)])
        return len(rows)

    def add_key(self) -> str:
        """A new current key, by its id: nothing is kept under an older one from now on."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(HAVE_RING)
            return self.ring.add()

    def retire_key(self, key_id: str) -> None:
        """Takes a key out of the ring. Raises CannotRetire while a record is under it."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(HAVE_RING)
            if many := _in_use(conn).get(key_id):
                raise CannotRetire(f"{many} secrets are under key {key_id}: rotate first")
            self.ring.retire(key_id)

    def _remember(self, opened: dict[UUID, Secret]) -> None:
        with self._turn:
            self._opened |= opened
            while len(self._opened) > CACHED:
                del self._opened[next(iter(self._opened))]

    def _sealed(self, kept: Kept) -> tuple[str | None, bytes]:
        """Its key id and content."""
        if kept.secret.value is None:
            return None, kept.secret.digest
        key_id, cipher = self.ring.current()
        nonce = os.urandom(NONCE_BYTES)
        place = _place(kept.id, kept.company_id, kept.owner_id, kept.purpose)
        return key_id, nonce + cipher.encrypt(nonce, kept.secret.value, place)

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        id_, company_id, owner_id, purpose, key_id, content = row
        if key_id is None:
            secret = Secret(digest=content)
        else:
            cipher, place = self.ring.cipher(key_id), _place(id_, company_id, owner_id, purpose)
            try:
                secret = Secret(cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], place))
            except InvalidTag:
                raise VaultClosed(f"secret {id_} does not decrypt under key {key_id}") from None
        return Kept(id=id_, company_id=company_id, owner_id=owner_id, purpose=purpose, secret=secret)


def _in_use(conn: Connection) -> dict[str, int]:
    return dict(conn.execute(IN_USE).fetchall())


def _place(id_: UUID, company_id: UUID, owner_id: UUID, purpose: str) -> bytes:
    """What the encryption is bound to; each part with its length before it, so that none can slide into the next."""
    parts = (company_id.bytes, owner_id.bytes, purpose.encode(), id_.bytes)
    return FORMAT + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
