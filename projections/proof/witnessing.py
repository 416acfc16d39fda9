"""
What the witnesses of the log have cosigned, and which of them lag.

Each has a row: the last checkpoint that it has cosigned, and the attempts that have failed since. Only the checkpoints of
the whole log go to witnesses.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg.errors import InsufficientPrivilege, UndefinedTable

from domain.proof.witnesses import with_cosignatures
from domain.values import Value
from projections.engine.table import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG

NAME = "INSERT INTO log_witness (verifier_key) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
DISMISS = "DELETE FROM log_witness WHERE verifier_key <> ALL(%s)"
DUE = """
    SELECT w.verifier_key, CASE WHEN w.log_key = t.verifier_key THEN w.size ELSE 0 END, w.attempts,
        t.checkpoint, t.signed_size, t.verifier_key
    FROM log_tree t, log_witness w
    WHERE t.id = %(whole)s AND t.checkpoint IS NOT NULL
    AND (w.log_key, w.size) IS DISTINCT FROM (t.verifier_key, t.signed_size) AND (w.next_at IS NULL OR w.next_at <= %(now)s)
    ORDER BY w.verifier_key"""
NEXT = "SELECT min(next_at) FROM log_witness WHERE next_at > %s"
COSIGNED = """
    UPDATE log_witness SET log_key = %(log_key)s, size = %(size)s, checkpoint = %(checkpoint)s, line = %(line)s,
        attempts = 0, behind_since = NULL, reason = NULL, next_at = NULL
    WHERE verifier_key = %(key)s"""
FAILED = """
    UPDATE log_witness SET attempts = attempts + 1, behind_since = coalesce(behind_since, %(now)s), reason = %(reason)s,
        next_at = %(next_at)s
    WHERE verifier_key = %(key)s"""
STATUS = "SELECT verifier_key, size, behind_since, reason FROM log_witness ORDER BY verifier_key"
# Those that have cosigned the largest of the checkpoints by the log's present key: they are of one text.
NEWEST = """
    SELECT w.size, w.checkpoint, array_agg(w.line ORDER BY w.verifier_key)
    FROM log_witness w JOIN log_tree t ON t.id = %(whole)s AND t.verifier_key = w.log_key
    WHERE %(size)s::bigint IS NULL OR w.size = %(size)s
    GROUP BY w.size, w.checkpoint ORDER BY w.size DESC LIMIT 1"""


class Due(Value, frozen=True):
    """A witness that is to be asked, and for what."""

    verifier_key: str
    known_size: int  # the size of the checkpoint that it cosigned last, as far as we know
    attempts: int
    checkpoint: str
    size: int
    log_key: str


class WitnessStatus(Value, frozen=True):
    """How far a witness has cosigned; `behind_since` and `reason` say since when and why not further."""

    verifier_key: str
    size: int
    behind_since: datetime | None
    reason: str | None

    @property
    def name(self) -> str:
        """Its name, with which its key begins."""
        return self.verifier_key.partition("+")[0]


class SignedCheckpoint(Value, frozen=True):
    """A signed checkpoint, with the lines of the witnesses that have cosigned it."""

    size: int
    checkpoint: str


def name_witnesses(conn: Connection, verifier_keys: Sequence[str]) -> None:
    """Make these the witnesses of the log, and no others."""
    keys = list(verifier_keys)
    with conn.transaction():
        conn.execute(DISMISS, (keys,))
        conn.execute(NAME, (keys,))


def due(conn: Connection, now: datetime) -> list[Due]:
    """Return the witnesses that have not cosigned the newest checkpoint and are to be asked now, all for the same one."""
    rows = conn.execute(DUE, {"whole": WHOLE_LOG, "now": now}, prepare=True)
    return [Due(**dict(zip(Due.__struct_fields__, row, strict=True))) for row in rows]


def next_attempt(conn: Connection, now: datetime) -> datetime | None:
    """Return when a witness that has failed is asked again; None if none waits."""
    row = conn.execute(NEXT, (now,), prepare=True).fetchone()
    return row[0] if row else None


def note_cosigned(conn: Connection, witness: Due, line: str) -> None:
    """Keep the cosignature of a witness."""
    values: Mapping[str, object] = {
        "key": witness.verifier_key,
        "log_key": witness.log_key,
        "size": witness.size,
        "checkpoint": witness.checkpoint,
        "line": line,
    }
    conn.execute(COSIGNED, values)


def note_failed(conn: Connection, verifier_key: str, reason: str, now: datetime, next_at: datetime) -> None:
    """Note why a witness has not cosigned, and when it is asked again."""
    conn.execute(FAILED, {"key": verifier_key, "reason": reason, "now": now, "next_at": next_at})


def statuses(conn: Connection) -> list[WitnessStatus]:
    """Return how far each witness has come."""
    return [
        WitnessStatus(**dict(zip(WitnessStatus.__struct_fields__, row, strict=True))) for row in conn.execute(STATUS)
    ]


def newest_witnessed(conn: Connection, size: int | None = None) -> SignedCheckpoint | None:
    """Return the newest checkpoint that a witness has cosigned, or that of a size; None if there is none."""
    row = conn.execute(NEWEST, {"whole": WHOLE_LOG, "size": size}).fetchone()
    return None if row is None else SignedCheckpoint(size=row[0], checkpoint=with_cosignatures(row[1], row[2]))


def cosigned_size(conn: Connection) -> int:
    """Return how many events of the log a witness has cosigned."""
    return 0 if (newest_checkpoint := newest_witnessed(conn)) is None else newest_checkpoint.size


def checkpoint(conn: Connection) -> str | None:
    """Return the newest checkpoint of the whole log with the cosignatures that it has; None if nothing is signed."""
    state = log_tree.state_of(conn, WHOLE_LOG)
    newest_checkpoint = newest_witnessed(conn, state.signed_size)
    return state.checkpoint if newest_checkpoint is None else newest_checkpoint.checkpoint


def readable_checkpoints(conn: Connection) -> list[str]:
    """Return the newest checkpoint of the whole log, and the newest cosigned one: what there is and the login may read."""
    try:
        with conn.transaction():
            newest_checkpoint = newest_witnessed(conn)
            texts = [checkpoint(conn), None if newest_checkpoint is None else newest_checkpoint.checkpoint]
    except (UndefinedTable, InsufficientPrivilege):
        return []
    return list(dict.fromkeys(text for text in texts if text is not None))


def checkpoint_covering(conn: Connection, tree_id: UUID, place: int) -> SignedCheckpoint | None:
    """Return a checkpoint of a tree that has the leaf at a place: a cosigned one where there is one, else the newest."""
    state = log_tree.state_of(conn, tree_id)
    newest_checkpoint = newest_witnessed(conn) if tree_id == WHOLE_LOG else None
    if newest_checkpoint is not None and place < newest_checkpoint.size <= state.size:
        return newest_checkpoint
    if state.checkpoint is None or place >= state.signed_size:
        return None
    return SignedCheckpoint(size=state.signed_size, checkpoint=state.checkpoint)
