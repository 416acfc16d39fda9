"""
The Merkle trees of the log, which follow it: one of all events, and one of the events of each company.

An append pays nothing for them. A tree is moved by whoever holds the row of the whole log's tree; rows and size change in
one transaction, so that the trees are those of a log of `size` events at any moment.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from domain.proof.leaves import company_of, hash_body, leaf_of
from domain.proof.merkle import Frontier, Tree, hash_leaf
from domain.values import Value
from projections.engine.table import Connection

WHOLE_LOG = UUID(int=0)
BATCH, BATCH_BYTES = 2_000, 8 * 2**20  # events of one transaction, and bytes of their bodies, after which it ends
RESTARTED = """
    UPDATE log_tree SET size = 0, frontier = '', signed_size = 0, checkpoint = NULL, verifier_key = NULL, refusal = NULL"""
# What follows from a log that has been set back is folded again.
IS_BEYOND = "SELECT size > (SELECT position FROM log.head) FROM log_tree WHERE id = %s"
BEGIN = "INSERT INTO log_tree (id) VALUES (%s) ON CONFLICT DO NOTHING"
IS_BEHIND = (
    "SELECT t.size < h.position FROM log_tree t, log.head h WHERE t.id = %s"  # takes no lock: mostly nothing is to do
)
LOCK = "SELECT FROM log_tree WHERE id = %s FOR UPDATE"
LOCKED = "SELECT size, frontier FROM log_tree WHERE id = %s FOR UPDATE SKIP LOCKED"
ROWS = """
    SELECT position, uuid_send(stream_id), version, name, body, (extract(epoch FROM recorded_at) * 1000000)::bigint,
        recorded_by
    FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before
          FROM (SELECT * FROM log.events WHERE position > %b ORDER BY position LIMIT %b) AS following) AS measured
    WHERE bytes_before < %b ORDER BY position"""
FRONTIERS = "SELECT id, size, frontier FROM log_tree WHERE id = ANY(%b)"
# The hashes come as one text of bytes: what costs is each value that is sent.
ADD_LEAVES = """
    INSERT INTO log_leaf (position, company_id, place, hash)
    SELECT %b::bigint + n, company_id, place, substring(%b::bytea FROM (n::integer - 1) * 32 + 1 FOR 32)
    FROM unnest(%b::uuid[], %b::bigint[]) WITH ORDINALITY leaf(company_id, place, n)"""
ADD_NODES = """
    INSERT INTO log_node (tree_id, level, place, hash)
    SELECT * FROM unnest(%b::uuid[], %b::smallint[], %b::bigint[], %b::bytea[])"""
MOVE = """
    INSERT INTO log_tree (id, size, frontier) SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::bytea[])
    ON CONFLICT (id) DO UPDATE SET size = excluded.size, frontier = excluded.frontier"""
LEAVES = {
    True: "SELECT hash FROM log_leaf WHERE position > %(place)s AND position <= %(place)s + %(count)s ORDER BY position",
    False: """
        SELECT hash FROM log_leaf WHERE company_id = %(id)s AND place >= %(place)s AND place < %(place)s + %(count)s
        ORDER BY place""",
}
NODES = """
    SELECT hash FROM log_node WHERE tree_id = %(id)s AND level = %(level)s
    AND place >= %(place)s AND place < %(place)s + %(count)s ORDER BY place"""
POSITIONS = """
    SELECT position FROM log_leaf WHERE company_id = %(id)s AND place >= %(place)s AND place < %(place)s + %(count)s
    ORDER BY place"""
LEAF_ROWS = """
    SELECT position, uuid_send(stream_id), version, name, sha256(body), (extract(epoch FROM recorded_at) * 1000000)::bigint,
        recorded_by FROM log.events WHERE position = ANY(%s) ORDER BY position"""
PLACE = "SELECT company_id, place FROM log_leaf WHERE position = %s"
STATE = "SELECT size, signed_size, checkpoint, verifier_key FROM log_tree WHERE id = %s"
REFUSAL = "SELECT refusal FROM log_tree WHERE id = %s"
REFUSE = "UPDATE log_tree SET refusal = %s WHERE id = %s AND refusal IS DISTINCT FROM %s"
LOG_END = "SELECT position FROM log.head"
WANT = """
    WITH wanted AS (
        INSERT INTO log_checkpoint_request AS r (tree_id, size) VALUES (%(id)s, %(size)s)
        ON CONFLICT (tree_id) DO UPDATE SET size = greatest(r.size, excluded.size))
    SELECT pg_notify('routines_log', '')"""
FORGET = """
    UPDATE log_tree SET signed_size = 0, checkpoint = NULL, verifier_key = NULL
    WHERE EXISTS (SELECT FROM log_tree w WHERE w.id = %(id)s AND w.verifier_key <> %(key)s)"""
IS_WANTED = (
    "SELECT EXISTS (SELECT FROM log_checkpoint_request r JOIN log_tree t ON t.id = r.tree_id WHERE t.size >= r.size)"
)
SERVED = "DELETE FROM log_checkpoint_request r USING log_tree t WHERE t.id = r.tree_id AND t.signed_size >= r.size"
UNSIGNED = """
    SELECT id, size, frontier FROM log_tree WHERE size > signed_size AND (%(after)s::uuid IS NULL OR id > %(after)s)
    AND (%(is_due)s OR id IN (SELECT tree_id FROM log_checkpoint_request)) ORDER BY id LIMIT %(limit)s"""
SIGN = """
    UPDATE log_tree t SET signed_size = s.size, checkpoint = s.checkpoint, verifier_key = s.key
    FROM unnest(%b::uuid[], %b::bigint[], %b::text[], %b::text[]) s(id, size, checkpoint, key)
    WHERE t.id = s.id AND t.signed_size <= s.size"""
TELL = "SELECT pg_notify('routines_log', '') WHERE EXISTS (SELECT FROM log_witness)"  # whoever asks the witnesses


class TreeState(Value, frozen=True):
    """How large a tree is, and its newest checkpoint, if there is one."""

    size: int = 0
    signed_size: int = 0
    checkpoint: str | None = None
    verifier_key: str | None = None


class UnsignedTree(Value, frozen=True):
    """A tree that has grown since it was signed."""

    id: UUID
    frontier: Frontier


class SignedTree(Value, frozen=True):
    """A checkpoint of a tree, as verifiers get it, and the key that they need."""

    id: UUID
    size: int
    checkpoint: str
    verifier_key: str


def begin(conn: Connection) -> None:
    """Make the tree of the whole log, unless it is there; fold all trees again if the log has been set back."""
    conn.execute(BEGIN, (WHOLE_LOG,))
    if _is_true(conn.execute(IS_BEYOND, (WHOLE_LOG,)).fetchone()):
        rebuild(conn)


def rebuild(conn: Connection) -> None:
    """Forget what is folded: it will be folded again from the whole log."""
    with _lock_trees(conn):
        conn.execute("TRUNCATE log_leaf, log_node")
        conn.execute(RESTARTED)


@contextmanager
def _lock_trees(conn: Connection) -> Iterator[None]:
    """
    Keep others from changing trees. Whoever changes several locks the whole log's first, as `grow` does: otherwise two
    projectors, of which one signs while the other adds leaves, wait for each other.
    """
    with conn.transaction():
        conn.execute(LOCK, (WHOLE_LOG,))
        yield


def grow(conn: Connection) -> int:
    """Add the leaves of a batch of events to all trees; return their number: 0 at the head, or while another moves them."""
    if not _is_true(conn.execute(IS_BEHIND, (WHOLE_LOG,)).fetchone()):
        return 0
    with conn.transaction():
        row = conn.execute(LOCKED, (WHOLE_LOG,)).fetchone()
        if row is None:
            return 0
        position, frontier = row
        cursor = conn.cursor(binary=True)
        rows = cursor.execute(ROWS, (position, BATCH, BATCH_BYTES)).fetchall()
        if rows:
            _add(conn, Frontier(position, frontier), rows)
        return len(rows)


def _add(conn: Connection, whole_log: Frontier, rows: Sequence[tuple[Any, ...]]) -> None:
    before = whole_log.size
    hashes = [
        hash_leaf(leaf_of(position, stream, version, name, hash_body(body), us, login))
        for position, stream, version, name, body, us, login in rows
    ]
    companies = [company_of(row[4]) for row in rows]
    known_companies = list({company for company in companies if company is not None})
    frontiers = {id_: Frontier(size, roots) for id_, size, roots in conn.execute(FRONTIERS, (known_companies,))}
    frontiers |= {id_: Frontier() for id_ in known_companies if id_ not in frontiers}
    nodes: list[tuple[UUID, int, int, bytes]] = []
    places: list[int | None] = []
    for digest, company in zip(hashes, companies, strict=True):
        nodes += [(WHOLE_LOG, *node) for node in whole_log.push(digest)]
        if company is None:
            places.append(None)
        else:
            own = frontiers[company]
            places.append(own.size)
            nodes += [(company, *node) for node in own.push(digest)]
    new_frontiers = [(id_, own.size, bytes(own)) for id_, own in sorted(frontiers.items())] + [
        (WHOLE_LOG, whole_log.size, bytes(whole_log))
    ]
    with conn.pipeline():
        conn.execute(ADD_LEAVES, (before, b"".join(hashes), companies, places))
        if nodes:
            conn.execute(ADD_NODES, _columns_of(nodes))
        conn.execute(MOVE, _columns_of(new_frontiers))


def _columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def tree(conn: Connection, tree_id: UUID) -> Tree:
    """Return a tree as it is stored."""
    return Tree(lambda level, place, count: hashes(conn, tree_id, level, place, count))


def hashes(conn: Connection, tree_id: UUID, level: int, place: int, count: int) -> list[bytes]:
    """Return hashes of a level of the tiles of a tree, from a place on: as many as there are."""
    query = NODES if level else LEAVES[tree_id == WHOLE_LOG]
    values = {"id": tree_id, "level": level, "place": place, "count": count}
    return [digest for (digest,) in conn.execute(query, values, binary=True)]


def entries(conn: Connection, tree_id: UUID, place: int, count: int) -> list[bytes]:
    """Return leaves of a tree as they were hashed, from a place on: as many as there are."""
    if tree_id == WHOLE_LOG:
        positions = list(range(place + 1, place + count + 1))
    else:
        values = {"id": tree_id, "place": place, "count": count}
        positions = [position for (position,) in conn.execute(POSITIONS, values)]
    return [leaf_of(*row) for row in conn.execute(LEAF_ROWS, (positions,), binary=True)]


def place_of(conn: Connection, tree_id: UUID, position: int) -> int | None:
    """Return the place of an event in a tree; None if it has no leaf there (yet)."""
    row = conn.execute(PLACE, (position,)).fetchone()
    if row is None:
        return None
    if tree_id == WHOLE_LOG:
        return position - 1
    company, place = row
    return place if company == tree_id else None


def state_of(conn: Connection, tree_id: UUID) -> TreeState:
    """Return how a tree stands; one that nothing is in yet is empty."""
    row = conn.execute(STATE, (tree_id,)).fetchone()
    return TreeState() if row is None else TreeState(**dict(zip(TreeState.__struct_fields__, row, strict=True)))


def log_end(conn: Connection) -> int:
    """Return the position of the last event of the log."""
    row = conn.execute(LOG_END).fetchone()
    return row[0] if row else 0


def want_checkpoint(conn: Connection, tree_id: UUID, size: int) -> None:
    """Ask for a checkpoint of at least this size, soon."""
    conn.execute(WANT, {"id": tree_id, "size": size})


def is_checkpoint_wanted(conn: Connection) -> bool:
    """Return whether somebody waits for a checkpoint that can be signed now."""
    return _is_true(conn.execute(IS_WANTED).fetchone())


def unsigned_trees(conn: Connection, limit: int, after: UUID | None, *, is_due: bool) -> list[UnsignedTree]:
    """Return trees that have grown since they were signed, in the order of their ids: all, or those that are waited for."""
    rows = conn.execute(UNSIGNED, {"after": after, "is_due": is_due, "limit": limit})
    return [UnsignedTree(id=id_, frontier=Frontier(size, roots)) for id_, size, roots in rows]


def forget_checkpoints(conn: Connection, verifier_key: str) -> None:
    """Forget the checkpoints of all trees if that of the whole log was signed by another key than this one."""
    with _lock_trees(conn):
        conn.execute(FORGET, {"id": WHOLE_LOG, "key": verifier_key})


def sign(conn: Connection, signatures: Sequence[SignedTree]) -> None:
    """Store these checkpoints as the newest ones of their trees, unless another projector has stored a larger one."""
    with _lock_trees(conn):
        conn.execute(SIGN, _columns_of([(one.id, one.size, one.checkpoint, one.verifier_key) for one in signatures]))


def tell_signed(conn: Connection) -> None:
    """Wake who asks the witnesses, if there are any, since there is a new checkpoint."""
    conn.execute(TELL)


def forget_served(conn: Connection) -> None:
    """Forget who has waited for a checkpoint that is there now."""
    conn.execute(SERVED)


def refusal(conn: Connection) -> str | None:
    """Return why nothing is signed; None when all is well."""
    row = conn.execute(REFUSAL, (WHOLE_LOG,)).fetchone()
    return row[0] if row else None


def refuse(conn: Connection, reason: str | None) -> None:
    """Record why nothing is signed, for whoever asks; None ends that."""
    conn.execute(REFUSE, (reason, WHOLE_LOG, reason))


def _is_true(row: tuple[Any, ...] | None) -> bool:
    return row is not None and bool(row[0])
