"""
The vault: secrets at rest, beside the log and never in it (docs/decisions/0007-secrets.md).

A secret that callers have to present is stored as its SHA-256. A secret that the service itself needs, for instance to
check a signature, is stored encrypted and bound to its record: copied to another record, it cannot be decrypted.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from psycopg_pool import ConnectionPool, PoolTimeout

from application.secrets.key_ring import CannotRetire, KeyRing, VaultClosed
from domain.values import Value
from domain.webhooks.secret import Secret

FORMAT = b"routines secret 1"
NONCE_BYTES = 12
CACHED = 4_096  # the most decrypted secrets that one process keeps in memory

KEEP = """
    INSERT INTO vault.secrets (id, company_id, owner_id, purpose, key_id, content)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::bytea[])"""
DROP = "DELETE FROM vault.secrets WHERE id = ANY(%b)"
OPEN = "SELECT id, company_id, owner_id, purpose, key_id, content FROM vault.secrets WHERE id = ANY(%b)"
IN_USE = "SELECT key_id, count(*) FROM vault.secrets WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY key_id"
# By one look at the index for each key, however many secrets are under it.
KEY_IDS = """
    WITH RECURSIVE key(id) AS (
        SELECT min(key_id) FROM vault.secrets WHERE key_id IS NOT NULL
        UNION ALL SELECT (SELECT min(key_id) FROM vault.secrets WHERE key_id > k.id) FROM key k WHERE k.id IS NOT NULL)
    SELECT id FROM key WHERE id IS NOT NULL"""
PLACES = "SELECT id, owner_id, purpose FROM vault.secrets WHERE key_id = %b ORDER BY id"
UNDER = """
    SELECT id, company_id, owner_id, purpose, key_id, content FROM vault.secrets WHERE key_id = ANY(%b)
    ORDER BY id LIMIT %b FOR UPDATE SKIP LOCKED"""
RESEAL = """
    UPDATE vault.secrets s SET key_id = b.key_id, content = b.content
    FROM unnest(%b::uuid[], %b::text[], %b::bytea[]) AS b(id, key_id, content) WHERE s.id = b.id"""
# A transaction that encrypts shares the lock of the ring until it has committed; one that changes the ring holds the
# lock alone. So no record appears under a key that has just been removed.
SHARE_RING = "SELECT pg_advisory_xact_lock_shared(hashtext('routines key ring'))"
HAVE_RING = "SELECT pg_advisory_xact_lock(hashtext('routines key ring'))"

Connection = psycopg.Connection[tuple[Any, ...]]


class VaultRecord(Value, frozen=True):
    """One record of the vault: a secret, and the company, owner and purpose to which it is bound."""

    id: UUID
    company_id: UUID
    owner_id: UUID
    purpose: str
    secret: Secret


class SecretPlace(Value, frozen=True):
    """Where a secret is needed: the id of its record, by which events name it, its owner and its purpose."""

    id: UUID
    owner_id: UUID
    purpose: str


class Vault:
    """Keeps and opens secrets. Raises VaultClosed when it needs a key that is not available; hashes need no key."""

    def __init__(self, pool: ConnectionPool[Connection], ring: KeyRing) -> None:
        self.pool = pool
        self.ring = ring
        self._opened: dict[UUID, Secret] = {}
        self._turn = Lock()

    def keep(self, secrets: Sequence[VaultRecord]) -> None:
        """Store all of these secrets or none. Their ids must be new."""
        if not secrets:
            return
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(SHARE_RING)
            rows = [(new.id, new.company_id, new.owner_id, new.purpose, *self._encrypt_record(new)) for new in secrets]
            conn.execute(KEEP, [list(column) for column in zip(*rows, strict=True)])

    def drop(self, ids: Sequence[UUID]) -> None:
        """Delete the secrets of these ids; unknown ids are ignored."""
        with self.pool.connection() as conn:
            conn.execute(DROP, (list(ids),))
        with self._turn:
            for id_ in ids:
                self._opened.pop(id_, None)

    def discard(self, ids: Sequence[UUID]) -> None:
        """Delete secrets that no event names. If Postgres is away they stay: what was recorded meanwhile still counts."""
        with suppress(psycopg.Error, PoolTimeout):
            self.drop(ids)

    def open(self, ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """
        Return the secrets by id; unknown ids are left out.

        A secret that this process has opened before is returned from memory, even if another process has dropped it.
        """
        secrets = self.find_opened(ids)
        if missing := [id_ for id_ in ids if id_ not in secrets]:
            with self.pool.connection() as conn:
                rows = conn.execute(OPEN, (missing,), prepare=True).fetchall()
            new = {record.id: record.secret for record in map(self._decrypt_record, rows)}
            self._remember(new)
            secrets |= new
        return secrets

    def find_opened(self, ids: Sequence[UUID]) -> dict[UUID, Secret]:
        """Return those of these secrets that this process has opened before, by id."""
        with self._turn:
            return {id_: self._opened[id_] for id_ in ids if id_ in self._opened}

    def close_opened(self) -> None:
        """Forget the secrets that this process has opened."""
        with self._turn:
            self._opened.clear()

    def keys_in_use(self) -> dict[str, int]:
        """Return how many records are encrypted under each key, by key id."""
        with self.pool.connection() as conn:
            return _in_use(conn)

    def key_ids(self) -> list[str]:
        """Return the ids of the keys under which any record is encrypted."""
        with self.pool.connection() as conn:
            return [key_id for (key_id,) in conn.execute(KEY_IDS)]

    def places_under(self, key_id: str) -> list[SecretPlace]:
        """Return where the secrets are needed that are encrypted under a key."""
        with self.pool.connection() as conn:
            rows = conn.execute(PLACES, (key_id,)).fetchall()
        return [SecretPlace(id=id_, owner_id=owner_id, purpose=purpose) for id_, owner_id, purpose in rows]

    def missing_key_ids(self) -> list[str]:
        """Return the keys under which a record is encrypted and that the key file lacks. Raises VaultClosed for an unusable file."""
        return sorted(set(self.key_ids()) - set(self.ring.ids()))

    def reseal(self, limit: int) -> int:
        """
        Encrypt up to `limit` records of older keys under the current one, and return how many they were.

        Several processes may do so at the same time: each takes records that no other has locked.
        """
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(SHARE_RING)
            _, *older_key_ids = self.ring.ids()
            records = [self._decrypt_record(row) for row in conn.execute(UNDER, (older_key_ids, limit))]
            rows = [(record.id, *self._encrypt_record(record)) for record in records]
            conn.execute(RESEAL, [[row[column] for row in rows] for column in range(3)])
        return len(rows)

    def add_key(self) -> str:
        """Add a new current key and return its id. From then on nothing is encrypted under an older one."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(HAVE_RING)
            return self.ring.add()

    def retire_key(self, key_id: str) -> None:
        """Remove a key from the ring. Raises CannotRetire while a record is encrypted under it."""
        with self.pool.connection() as conn, conn.transaction():
            conn.execute(HAVE_RING)
            if record_count := _in_use(conn).get(key_id):
                raise CannotRetire(f"{record_count} secrets are under key {key_id}: rotate first")
            self.ring.retire(key_id)

    def _remember(self, secrets: dict[UUID, Secret]) -> None:
        with self._turn:
            self._opened |= secrets
            while len(self._opened) > CACHED:
                del self._opened[next(iter(self._opened))]

    def _encrypt_record(self, record: VaultRecord) -> tuple[str | None, bytes]:
        """Return the key id and the content of a record as they are stored. A hash has no key."""
        if record.secret.value is None:
            return None, record.secret.digest
        key_id, cipher = self.ring.current()
        nonce = os.urandom(NONCE_BYTES)
        bound_data = _bound_data(record.id, record.company_id, record.owner_id, record.purpose)
        return key_id, nonce + cipher.encrypt(nonce, record.secret.value, bound_data)

    def _decrypt_record(self, row: tuple[Any, ...]) -> VaultRecord:
        id_, company_id, owner_id, purpose, key_id, content = row
        if key_id is None:
            secret = Secret(digest=content)
        else:
            cipher, bound_data = self.ring.cipher(key_id), _bound_data(id_, company_id, owner_id, purpose)
            try:
                secret = Secret(cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], bound_data))
            except InvalidTag:
                raise VaultClosed(f"secret {id_} does not decrypt under key {key_id}") from None
        return VaultRecord(id=id_, company_id=company_id, owner_id=owner_id, purpose=purpose, secret=secret)


def _in_use(conn: Connection) -> dict[str, int]:
    return dict(conn.execute(IN_USE).fetchall())


def _bound_data(id_: UUID, company_id: UUID, owner_id: UUID, purpose: str) -> bytes:
    """Return the data to which the encryption is bound; each part follows its length, so no two records share it."""
    parts = (company_id.bytes, owner_id.bytes, purpose.encode(), id_.bytes)
    return FORMAT + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
