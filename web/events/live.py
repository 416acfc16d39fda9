"""
The live feed: events as they happen, as Server-Sent Events.

One thread of the process follows the log for all readers. It looks whether the index has grown, shows each new event once,
and keeps the newest in memory. A reader is a position: what follows it is taken from memory, or, for one who has fallen
behind or comes back after a pause, page by page from the log. So no reader misses an event or gets one twice, and none
costs a thread, a connection to Postgres or more memory than one chunk that waits to be sent.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from math import inf
from typing import NamedTuple
from weakref import WeakSet

import structlog
from eventsourcing.persistence import PersistenceError
from litestar.concurrency import sync_to_thread
from msgspec.structs import replace
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from application.event_store.data_keys import DataKeys
from application.use_cases.event_access import EventAccess
from domain.errors import DomainError, RuleViolation
from projections.audit import feed
from projections.audit.feed import Filters, LogEntry
from projections.engine.documents import Part
from projections.engine.positions import Lagging
from projections.engine.table import Connection
from web.events import formats
from web.http.backend import Backend
from web.http.errors import Overloaded
from web.http.streamed_answer import StreamedAnswer

LOOK_S = 0.05  # between two looks whether the index has grown
TROUBLE_S = 1.0  # pause after the database could not be reached
HEARTBEAT_S = 15.0  # after so long without an event a reader gets a sign of life
BATCH = 500  # events that are read and shown at a time
SEARCH_S = 1.0  # the longest search in the log; after one that took longer a reader goes through the log part by part,
PART = 50_000  # so many positions at a time
KEPT_EVENTS, KEPT_BYTES = 5_000, 8 * 1024 * 1024  # in memory, for all readers
CHUNK_BYTES = 64 * 1024  # that are sent to a reader at a time; one event may be larger
BEGINNING = b"retry: 2000\nid: %d\n\n"  # after so many milliseconds a browser connects again
SIGN_OF_LIFE = b"id: %d\n\n"  # no event; but whoever comes back goes on after this position
CHANGED = b"id: %d\ndata: changed\n\n"  # for feeds that only say that something has changed
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # for nginx
]
AWAY = (DatabaseError, PersistenceError, PoolTimeout, Lagging)

log = structlog.get_logger(process="web")
Renew = Callable[[], EventAccess]  # asks once more whether the reader may read; raises a DomainError if not


class Frame(NamedTuple):
    """A new event: where it belongs, and how it is sent."""

    entry: LogEntry
    data: bytes


class Tail:
    """The newest events of the log, for all readers of a process. Readers use it in the event loop's thread only."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._readers = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._news = asyncio.Event()
        self._beginning = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        _TAILS.add(self)
        self.position = 0  # of the newest event that readers may have
        self.is_over = False  # the process is about to end

    def check_room(self) -> None:
        """Raise Overloaded if there are as many readers as there may be."""
        if self._readers >= self._backend.limits.max_event_readers:
            raise Overloaded("Too many readers of live feeds; try again later, or read pages")

    def admit(self) -> None:
        """Count one more reader."""
        self._readers += 1

    def leave(self) -> None:
        """Count one reader less. With the last one the thread ends, and nothing is kept."""
        self._readers -= 1
        if not self._readers:
            self._stop.set()
            self._thread = None

    async def begin(self) -> None:
        """Follow the log from now on, unless that is being done."""
        async with self._beginning:
            if self._thread is not None:
                return
            keys = self._backend.executor.store.keys
            if self._loop is None and isinstance(keys, DataKeys):
                keys.on_erasure(self._forget_soon)
            self._frames.clear()
            self._bytes, self.position = 0, await sync_to_thread(self._read_end_of_feed)
            self._loop = asyncio.get_running_loop()
            self._stop = threading.Event()
            arguments = (self._loop, self._stop, self.position)
            self._thread = threading.Thread(target=self._follow, args=arguments, name="event tail", daemon=True)
            self._thread.start()

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let all readers end, if this is the event loop that serves them."""
        if loop is not self._loop:
            return
        self.is_over = True
        self._stop.set()
        self._wake_readers()

    def has(self, position: int) -> bool:
        """Return whether everything after a position is in memory."""
        return position >= self.position or (bool(self._frames) and self._frames[0].entry.position <= position + 1)

    def after(self, position: int) -> Iterator[Frame]:
        """
        Return the events in memory after a position; all of them are there if `has` says so.

        They are counted from the end: an event that the index has passed over is not among them.
        """
        following = sum(1 for _ in takewhile(lambda frame: frame.entry.position > position, reversed(self._frames)))
        return islice(self._frames, len(self._frames) - following, None)

    async def news(self, timeout_s: float) -> None:
        """Wait for further events, until the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def _read_end_of_feed(self) -> int:
        with self._backend.pool.connection() as conn:
            return feed.reached_position(conn)

    def _follow(self, loop: asyncio.AbstractEventLoop, stop: threading.Event, position: int) -> None:
        keys = self._backend.executor.store.keys
        while not stop.wait(LOOK_S):
            try:
                if isinstance(keys, DataKeys):
                    keys.refresh()  # also when nothing happens: what is kept must not outlive an erasure
                while not stop.is_set() and (frames := self._read_frames_after(position)):
                    position = frames[-1].entry.position
                    loop.call_soon_threadsafe(self._add, frames, stop)
            except AWAY as error:
                log.warning("event_tail_waits", error=type(error).__name__)
                stop.wait(TROUBLE_S)
            except RuntimeError:  # the loop is closed
                return

    def _read_frames_after(self, position: int) -> list[Frame]:
        with self._backend.pool.connection() as conn:
            if feed.reached_position(conn) <= position:
                return []
            part = feed.page(conn, Filters(after=position), order="asc", limit=BATCH)
            return frames_of(conn, part)

    def _add(self, frames: list[Frame], stop: threading.Event) -> None:
        if stop.is_set():
            return
        self._frames.extend(frames)
        self._bytes += sum(len(frame.data) for frame in frames)
        while len(self._frames) > KEPT_EVENTS or (self._bytes > KEPT_BYTES and len(self._frames) > 1):
            self._bytes -= len(self._frames.popleft().data)
        self.position = frames[-1].entry.position
        self._wake_readers()

    def _forget_soon(self) -> None:
        """Forget the events in memory, since one of them may have been erased; readers get them from the log again."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        self._frames.clear()
        self._bytes = 0

    def _wake_readers(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


_TAILS = WeakSet[Tail]()


def end_feeds() -> None:
    """Let the live feeds of this event loop end, since the process does: their readers would hold it up."""
    for tail in _TAILS:
        tail.end(asyncio.get_running_loop())


def frames_of(conn: Connection, entries: Sequence[LogEntry]) -> list[Frame]:
    """Return events as they are sent; only what they belong to is kept of each beside that."""
    events = formats.describe(conn, entries)
    return [Frame(replace(entry, body=b""), formats.frame(event)) for entry, event in zip(entries, events, strict=True)]


class Reader:
    """Somebody who reads the feed live: which events, after which position, and by which right."""

    def __init__(  # noqa: PLR0913, PLR0917 who reads what, and where it comes from
        self, tail: Tail, backend: Backend, filters: Filters, position: int, access: EventAccess, renew: Renew
    ) -> None:
        self._tail, self._backend, self._filters, self._position, self._renew = tail, backend, filters, position, renew
        self._is_rare = True  # what it reads, as far as is known: it is found at once, wherever it is in the log
        self._take_access(access)

    async def begin(self) -> bytes:
        """Begin to read, and return what is sent first."""
        await self._tail.begin()
        return BEGINNING % self._position

    async def next_chunk(self) -> bytes | None:
        """
        Wait for what is to be sent next, and return it; None when the feed is over.

        Without an event for the reader that is a sign of life after HEARTBEAT_S, however much others get meanwhile.
        """
        tail, sign_at = self._tail, time.monotonic() + HEARTBEAT_S
        while not tail.is_over and self._left_s() > 0:
            if not tail.has(self._position):
                chunk, has_changed = await sync_to_thread(self._read_page, self._position), True
            else:
                chunk, has_changed = self._from_memory(self._position)
            if has_changed and not await sync_to_thread(self._may_still_read):
                return None
            if chunk:
                return chunk
            if time.monotonic() >= sign_at:
                return SIGN_OF_LIFE % self._position
            if self._position >= tail.position:
                await tail.news(min(sign_at - time.monotonic(), self._left_s()))
        return None

    def _from_memory(self, position: int) -> tuple[bytes, bool]:
        """Return the next chunk from memory, and whether something has happened to the right to read."""
        frames, size, has_changed = list[Frame](), 0, False
        for frame in self._tail.after(position):
            self._position = frame.entry.position
            if frame.entry.meets(self._filters):
                frames.append(frame)
                size += len(frame.data)
            has_changed = frame.entry.stream_id in self._access.rests_on
            if has_changed or size > CHUNK_BYTES:
                break
        return self._encode_frames(frames), has_changed

    def _encode_frames(self, frames: Sequence[Frame]) -> bytes:
        return b"".join(frame.data for frame in frames)

    def _read_page(self, position: int) -> bytes:
        """Return the next chunk from the log; nothing at its end, or if its next part has nothing for the reader."""
        with self._backend.pool.connection() as conn:
            part, end = self._search_events(conn, position, BATCH)
            frames = frames_of(conn, part)
        self._position = frames[-1].entry.position if part.more else end
        return self._encode_frames(frames)

    def _search_events(self, conn: Connection, position: int, limit: int) -> tuple[Part[LogEntry], int]:
        """Return the next events after a position, and up to where they were looked for: mostly the end of the log."""
        end = max(feed.reached_position(conn), position)
        if self._is_rare:
            try:
                return self._page_between(conn, position, end, limit, SEARCH_S), end
            except RuleViolation:
                self._is_rare = False
        end = min(end, position + PART)
        return self._page_between(conn, position, end, limit, None), end

    def _page_between(
        self, conn: Connection, position: int, end: int, limit: int, limit_s: float | None
    ) -> Part[LogEntry]:
        filters = replace(self._filters, after=position, before=end + 1)
        return feed.page(conn, filters, order="asc", limit=limit, max_bytes=CHUNK_BYTES, limit_s=limit_s)

    def _may_still_read(self) -> bool:
        try:
            self._take_access(self._renew())
        except DomainError:
            return False
        return True

    def _take_access(self, access: EventAccess) -> None:
        self._access = access
        self._ends_at = inf if access.ends_in_s is None else time.monotonic() + access.ends_in_s

    def _left_s(self) -> float:
        """Return the seconds until the key expires."""
        return self._ends_at - time.monotonic()


class Watcher(Reader):
    """Somebody who is told that something has changed, and up to which position they know it, but not what it is."""

    def _encode_frames(self, frames: Sequence[Frame]) -> bytes:
        return CHANGED % self._position if frames else b""

    def _read_page(self, position: int) -> bytes:
        """Return whether something has changed up to the end of the log, or of its next part, however much it is."""
        with self._backend.pool.connection() as conn:
            part, self._position = self._search_events(conn, position, 1)
        return CHANGED % self._position if len(part) else b""


class LiveFeed(StreamedAnswer):
    """The answer that goes on for as long as its reader reads, and may read."""

    def __init__(self, tail: Tail, reader: Reader) -> None:
        super().__init__(_stream_chunks(tail, reader), HEADERS)


async def _stream_chunks(tail: Tail, reader: Reader) -> AsyncGenerator[bytes, None]:
    tail.admit()
    try:
        chunk: bytes | None = await reader.begin()
        while chunk is not None:
            yield chunk
            chunk = await reader.next_chunk()
    except AWAY as error:  # the reader comes back, and goes on where the feed has ended
        log.warning("event_reader_lost", error=type(error).__name__)
    finally:
        tail.leave()
