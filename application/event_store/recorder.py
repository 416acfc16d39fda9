"""
Where events are stored: in Postgres, by the interface of the library (ApplicationRecorder) with guards. in_memory.py is another.

`insert_events(events, guards=[(stream, version), ...])` records all events or none. It raises

* IntegrityError when a version is taken, a stream would get a gap, or a guarded stream has moved on; its subclass
  ClockDiffers when the events were decided at another time than Postgres's clock says;
* OperationalError when Postgres cannot be reached in time; its subclass NotRecorded when Postgres reports an error, and
  OutcomeUnknown when the connection broke, so that the events may be recorded nevertheless.

Small batches that several threads insert at the same time are recorded in one transaction, each by its own verdict.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    StoredEvent,
    Subscription,
)
from psycopg_pool import ConnectionPool, PoolTimeout

from application.event_store import arrays
from application.event_store.group_commit import GroupCommit
from application.event_store.postgres_errors import (
    CONFLICTS,
    PASSING,
    UNAVAILABLE,
    NotRecorded,
    OutcomeUnknown,
    conflict,
    error_of,
    is_reported,
)
from domain.bounds import limits

Guards = Sequence[tuple[UUID, int]]
Values = tuple[Any, ...]
TRIES = 4  # attempts of one append when the connection breaks, or Postgres says that another attempt may succeed
FOREVER = 2**62
MOST_BATCHES = (
    64  # of one transaction; each takes a savepoint, and more than 64 make every snapshot of the server slower
)
SMALL_EVENTS, SMALL_BYTES = 64, 64 * 1024  # a larger batch goes alone: waiting for others would gain it nothing
MOST_GROUP_BYTES = 1024 * 1024
_COLUMNS_OF = attrgetter("originator_id", "originator_version", "topic", "state")  # as log.append takes them


class Batch(NamedTuple):
    """Events that are recorded together or not at all, and the guards of their decision, as log.append takes them."""

    streams: list[UUID | str]
    versions: list[int]
    names: list[str]
    bodies: list[bytes]
    guard_streams: list[UUID]
    guard_versions: list[int]

    @classmethod
    def of(cls, stored_events: Sequence[StoredEvent], guards: Guards) -> "Batch":
        """Return the batch of these events."""
        columns = [list(column) for column in zip(*map(_COLUMNS_OF, stored_events), strict=True)] or [[], [], [], []]
        guard_columns = [list(column) for column in zip(*guards, strict=True)] or [[], []]
        return cls(*columns, *guard_columns)

    @property
    def events(self) -> tuple[list[Any], ...]:
        """The arrays without those of the guards."""
        return self[:4]

    @property
    def values(self) -> Values:
        """The values for APPEND."""
        return (
            arrays.uuids(self.streams),
            arrays.bigints(self.versions),
            arrays.texts(self.names),
            arrays.byteas(self.bodies),
            arrays.uuids(self.guard_streams),
            arrays.bigints(self.guard_versions),
        )

    @property
    def size(self) -> int:
        """The bytes of its events."""
        return sum(map(len, self.bodies))

    @property
    def is_small(self) -> bool:
        """Whether it goes together with others."""
        return len(self.bodies) <= SMALL_EVENTS and self.size <= SMALL_BYTES


@dataclass(frozen=True)
class Following(Notification):
    """An event of the log with the hash of the log up to it."""

    hash: bytes


class GroupFailed(NamedTuple):
    """The transaction of a group has failed, whichever of its batches was the cause: each is to be appended alone."""

    was_sent: bool  # the connection broke, so that the batch may be recorded already


APPEND = "SELECT log.append(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::uuid[], %b::bigint[])"
APPEND_EACH = f"{APPEND.replace('SELECT log.append(', 'SELECT * FROM log.append_each(')[:-1]}, %b::bigint[]::int[], %b::bigint[]::int[])"
READ_BACK = """
    SELECT max(e.position), count(*)
    FROM unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[]) AS b(id, version, name, body)
    JOIN log.events e ON e.stream_id = b.id AND e.version = b.version AND e.name = b.name AND e.body = b.body"""
STREAM = """
    SELECT stream_id, version, name, body FROM log.events
    WHERE stream_id = %(id)s AND version > %(gt)s AND version <= %(lte)s ORDER BY version {} LIMIT %(limit)s"""
BOUNDED = """
    SELECT stream_id, version, name, body, position FROM (
        SELECT e.stream_id, e.version, e.name, e.body, e.position,
            sum(octet_length(e.body)) OVER (ORDER BY e.stream_id, e.version ROWS UNBOUNDED PRECEDING) AS bytes
        FROM {}) AS measured
    WHERE bytes - octet_length(body) <= %b ORDER BY stream_id, version"""
STREAMS = BOUNDED.format("log.events e WHERE e.stream_id = ANY(%b)")
STREAMS_FROM = BOUNDED.format("""unnest(%b::uuid[]) AS s(id)
        JOIN log.events e ON e.stream_id = s.id AND e.version >= coalesce(
            (SELECT version FROM log.events WHERE stream_id = s.id AND name = %b ORDER BY version DESC LIMIT 1), 1)""")
VERSIONS = """
    SELECT s.id, coalesce((SELECT version FROM log.events WHERE stream_id = s.id ORDER BY version DESC LIMIT 1), 0)
    FROM unnest(%b::uuid[]) AS s(id)"""
FOLLOWING = """
    SELECT stream_id, version, name, body, position, hash FROM (
        SELECT *, sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before FROM (
            SELECT stream_id, version, name, body, position, hash FROM log.events
            WHERE position >= %b AND position <= %b AND (%b::text[] = '{}' OR name = ANY(%b::text[]))
                AND (%b::text[] = '{}' OR name <> ALL(%b::text[]))
            ORDER BY position LIMIT %b) AS following) AS measured
    WHERE bytes_before < %b ORDER BY position"""
HEAD = "SELECT position FROM log.head"


class PostgresRecorder(ApplicationRecorder):
    """
    A recorder that appends through the SQL function log.append. Positions are without gaps, in the order of commits.

    A batch that is read from the log ends after `batch_bytes` bytes of events, even when it holds fewer events than the
    reader's limit.
    """

    def __init__(
        self,
        pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]],
        batch_bytes: int = limits.DEFAULT.read_batch_bytes,
    ) -> None:
        self.pool = pool
        self._batch_bytes = batch_bytes
        self._groups = GroupCommit(self._append_group, MOST_BATCHES, MOST_GROUP_BYTES)

    def insert_events(self, stored_events: Sequence[StoredEvent], *, guards: Guards = (), **_: Any) -> Sequence[int]:
        """Record all events or none, and return their positions. See the module for the errors."""
        if not stored_events:
            return []
        batch = Batch.of(stored_events, guards)
        last = self._append_in_group(batch) if batch.is_small else self.append(batch)
        return range(last - len(stored_events) + 1, last + 1)

    def _append_in_group(self, batch: Batch) -> int:
        match self._groups.submit(batch, batch.size):
            case GroupFailed(was_sent):
                return self.append(batch, was_sent=was_sent)
            case Exception() as refusal:
                raise refusal
            case int(last):
                return last

    def _append_group(self, batches: Sequence[Batch]) -> Sequence[int | Exception | GroupFailed]:
        return [self.append(batches[0])] if len(batches) == 1 else self.append_each(batches)

    def append_each(self, batches: Sequence[Batch]) -> Sequence[int | Exception | GroupFailed]:
        """
        Append batches in one transaction, whatever becomes of each; return what becomes of them, in their order.

        That is the position of the last event, the error of a batch that is refused, or GroupFailed for all of them. Raises
        OperationalError when Postgres cannot be reached at all.
        """
        try:
            with self._open_connection() as conn:
                rows = conn.execute(APPEND_EACH, together(batches), prepare=True).fetchall()
        except (IntegrityError, psycopg.Error):
            return [GroupFailed(was_sent=False)] * len(batches)
        except OperationalError as error:
            if isinstance(error.__cause__, PoolTimeout):
                raise
            return [GroupFailed(was_sent=not is_reported(error.__cause__))] * len(batches)
        return verdicts(rows)

    def append(self, batch: Batch, *, was_sent: bool = False) -> int:
        """
        Append the batch and return the position of its last event. Tries again when that may succeed.

        A conflict after a broken connection may come from our own commit, whose answer was lost. So the batch is read
        back before the conflict is raised. `was_sent` says that such a connection has carried the batch before.
        """
        is_sent = was_sent  # whether this attempt, or one before it, was sent and not answered
        refusal = None
        for tries_left in reversed(range(TRIES)):
            try:
                with self._open_connection() as conn:
                    if refusal is not None:
                        return _read_back(conn, batch.events, refusal)
                    was_sent, is_sent = is_sent, True
                    return int(_fetch_one(conn.execute(APPEND, batch.values, prepare=True))[0])
            except IntegrityError as error:
                if refusal is not None or not was_sent:
                    raise
                refusal = error
            except OperationalError as error:
                cause = error.__cause__
                if is_rolled_back := is_reported(cause):
                    is_sent = was_sent
                if tries_left and (
                    isinstance(cause, PASSING) if is_rolled_back else not isinstance(cause, PoolTimeout)
                ):
                    continue
                if is_sent:
                    raise OutcomeUnknown(str(error)) from cause
                if is_rolled_back:
                    raise NotRecorded(str(error)) from cause
                raise
        raise OutcomeUnknown(str(refusal))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of one stream whose versions are above `gt` and at most `lte`."""
        query = STREAM.format("DESC" if desc else "ASC")
        values = {"id": originator_id, "gt": gt or 0, "lte": FOREVER if lte is None else lte, "limit": limit}
        with self._open_connection() as conn:
            return [StoredEvent(*row) for row in conn.execute(query, values)]

    def select_streams(
        self, stream_ids: Sequence[UUID], read_from: str | None = None, most_bytes: int = FOREVER
    ) -> Sequence[StoredEvent]:
        """
        Return the events of several streams, each with its position.

        With `read_from` each stream begins at its last event of that name. The result ends with the first event that
        goes beyond `most_bytes`; Postgres adds up the sizes without reading the bodies.
        """
        with self._open_connection() as conn:
            if read_from is None:
                rows = conn.execute(STREAMS, (list(stream_ids), most_bytes), prepare=True).fetchall()
            else:
                rows = conn.execute(STREAMS_FROM, (list(stream_ids), read_from, most_bytes), prepare=True).fetchall()
            return [Notification(*row) for row in rows]

    def select_versions(self, stream_ids: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """Return the newest version of each of these streams; 0 for one that does not exist."""
        with self._open_connection() as conn:
            return conn.execute(VERSIONS, (list(stream_ids),), prepare=True).fetchall()

    def select_notifications(  # noqa: PLR0913 as in the library
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
        without: Sequence[str] = (),
    ) -> Sequence[Notification]:
        """
        Return the next events of the log from a position on, at most `limit` and fewer when they are large.

        `topics` are the names that are wanted, all if there is none; `without` are names that are not.
        """
        first = (start or 0) + (0 if inclusive_of_start else 1)
        last = FOREVER if stop is None else stop
        with self._open_connection() as conn:
            names, other_names = arrays.texts(topics), arrays.texts(without)
            values = (first, last, names, names, other_names, other_names, limit, self._batch_bytes)
            return [Following(*row) for row in conn.execute(FOLLOWING, values, prepare=True, binary=True).fetchall()]

    def max_notification_id(self) -> int | None:
        """Return the position of the newest event; None for an empty log."""
        with self._open_connection() as conn:
            return int(_fetch_one(conn.execute(HEAD))[0]) or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Refuse: readers follow the log by position (processes/projector.py), without a thread of the library."""
        raise NotImplementedError

    @contextmanager
    def _open_connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        try:
            with self.pool.connection() as conn:
                yield conn
        except CONFLICTS as error:
            raise conflict(error) from error
        except UNAVAILABLE as error:
            raise OperationalError(str(error)) from error


def together(batches: Sequence[Batch]) -> Values:
    """Return the values for APPEND_EACH."""
    joined_batch = Batch(*(list(chain.from_iterable(parts)) for parts in zip(*batches, strict=True)))
    sizes = [len(batch.streams) for batch in batches], [len(batch.guard_streams) for batch in batches]
    return *joined_batch.values, *map(arrays.bigints, sizes)


def verdicts(rows: Sequence[tuple[Any, ...]]) -> Sequence[int | Exception]:
    """Return what APPEND_EACH says of each batch: the position of its last event, or the error that refuses it."""
    return [error_of(sqlstate, reason) if position is None else position for position, sqlstate, reason in rows]


def _read_back(conn: psycopg.Connection[tuple[Any, ...]], batch: tuple[list[Any], ...], refusal: IntegrityError) -> int:
    """Return the position of our own commit whose answer was lost. Raises the conflict if another writer caused it."""
    last, many = _fetch_one(conn.execute(READ_BACK, batch))
    if many != len(batch[0]):
        raise refusal
    return int(last)


def _fetch_one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise AssertionError
    return row
