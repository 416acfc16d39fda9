"""The interface of the routes to the application: it carries out use cases and opens consistent reads."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import msgspec
import psycopg
from litestar import Response
from litestar.concurrency import sync_to_thread
from litestar.datastructures import ResponseHeader
from psycopg_pool import ConnectionPool

from application.access import Caller, Principal
from application.event_store.at_hand import NeedsThread
from application.event_store.data_keys import DataKeys
from application.event_store.loop_recorder import LoopQueries, LoopRecorder
from application.event_store.postgres_errors import UNAVAILABLE
from application.event_store.unit_of_work import UnitOfWork
from application.execute import CommitResult, Executor
from application.execute_on_loop import LoopExecutor
from application.outage import Outage
from application.use_cases import read_access
from domain.bounds.limits import Limits
from domain.errors import NotFound
from projections.engine import installed, positions
from projections.engine.positions import Lagging
from projections.engine.table import Connection
from web.http.answers import Answer
from web.http.departures import check_presence
from web.http.fair_queue import TENANT
from web.http.fair_turns import FairTurns
from web.http.json_body import SMALL
from web.http.model_watch import ModelWatch
from web.http.reading import MODELS, DocumentQuery, Documents, HeavyReads, Read, Reader, Source

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Thing = TypeVar("Thing", bound=read_access.CompanyOwned)
POSITION_HEADER = "X-Routines-Position"
PAST_POSITION = (
    ResponseHeader(
        name=POSITION_HEADER, documentation_only=True, description="With `asOf`, the position that the answer is of."
    ),
)
# The errors of reading rows that another version wrote: a column, a table or its type is missing, or a document lacks fields.
ROWS_OF_ANOTHER_VERSION = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
    msgspec.ValidationError,
)
MOMENT_S = 0.25  # how long any request may wait for a read model
MOST_LONG_WAITS = 6  # requests of one process that may wait longer than MOMENT_S for a read model
MOST_LONG_WAITS_OF_TENANT = 3  # so that a tenant who keeps the read models busy leaves room for others to wait


class Backend:
    """Carries out use cases and reads answers from the read models, once these show what an answer must show."""

    def __init__(
        self,
        executor: Executor,
        pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]],
        patience_s: float,
        outage: Outage | None = None,
    ) -> None:
        self.executor = executor
        self.pool = pool
        self.outage = outage or Outage()
        self._patience_s = patience_s
        self._on_loop: OnLoop | None = None
        self._long_waits = Counter[str]()  # the requests that wait for long, by tenant
        self._lock = Lock()

    @property
    def limits(self) -> Limits:
        """The limits that the operator has set."""
        return self.executor.store.limits

    @property
    def on_loop(self) -> "OnLoop":
        """What carries out requests without a thread, for the event loop that runs."""
        loop = asyncio.get_running_loop()
        if self._on_loop is None or self._on_loop.loop is not loop:
            self._on_loop = OnLoop(self.executor, self.pool, loop)
        return self._on_loop

    @property
    def many_waiting(self) -> int:
        """How many requests of the event loop wait for what they record to be committed together."""
        return 0 if self._on_loop is None else self._on_loop.recorder.many_waiting

    @property
    def many_read(self) -> Mapping[Source, int]:
        """How many documents, or lists of them, the event loop has read, by where they came from."""
        return {} if self._on_loop is None else self._on_loop.reader.counts

    def authorize(
        self,
        caller: Caller,
        question: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Identify the caller and return the answer to the question. Raise Unauthenticated, Forbidden or NotFound."""
        return self.executor.query_as(caller, question, *args, **kwargs)

    def find_authorized(
        self,
        caller: Caller,
        models: tuple[str, ...],
        kind: str,
        read: Callable[[Connection], Thing | None],
        *,
        eventual: bool = False,
    ) -> Thing:
        """Return what `read` finds. Raise NotFound if that is nothing, or if the caller may not see it."""

        def find() -> Thing | None:
            with self.consistent_read(*models, eventual=eventual) as conn:
                return read(conn)

        return self.authorize(caller, lambda work, principal: read_access.find(work, principal, find, kind))

    @contextmanager
    def consistent_read(
        self, *models: str, eventual: bool = False, position: int | None = None
    ) -> Iterator[Connection]:
        """
        Yield a connection on which the read models show the log up to `position`, or up to now. Raise Lagging.

        Without a position, the caller does not wait for a read model whose tables are those of another version and that
        is yet to be rebuilt: it reads the old rows. Lagging is also raised when this version cannot read those rows.
        """
        if not eventual:
            self._catch_up(models, position, in_other_tables=position is not None)
        try:
            with self.pool.connection() as conn:
                yield conn
        except ROWS_OF_ANOTHER_VERSION as error:
            with self.pool.connection() as conn:
                is_explained = installed.has_other_rows(conn, [MODELS[name] for name in models])
            if not is_explained:
                raise
            raise Lagging(models, 1) from error

    def _catch_up(self, models: tuple[str, ...], position: int | None = None, *, in_other_tables: bool = True) -> None:
        """
        Wait up to MOMENT_S for the read models; at most MOST_LONG_WAITS requests of the process may wait longer.

        It holds no database connection while it waits, so that lagging reads cannot starve writes. Raise Lagging.
        """
        target, behind = self._read_gap(models, position, in_other_tables=in_other_tables)
        behind = behind and self._await_models(
            models, target, min(MOMENT_S, self._patience_s), in_other_tables=in_other_tables
        )
        if behind and self._patience_s > MOMENT_S and self._begin_long_wait(tenant := TENANT.get()):
            try:
                behind = self._await_models(
                    models, target, self._patience_s - MOMENT_S, in_other_tables=in_other_tables
                )
            finally:
                self._end_long_wait(tenant)
        if behind:
            raise Lagging(models, behind)

    def _begin_long_wait(self, tenant: str) -> bool:
        """Return whether a request of the tenant may wait for long. If so, the caller must end the wait."""
        with self._lock:
            if self._long_waits.total() == MOST_LONG_WAITS or self._long_waits[tenant] == MOST_LONG_WAITS_OF_TENANT:
                return False
            self._long_waits[tenant] += 1
            return True

    def _end_long_wait(self, tenant: str) -> None:
        with self._lock:
            self._long_waits[tenant] -= 1
            if not self._long_waits[tenant]:
                del self._long_waits[tenant]

    def _await_models(self, models: tuple[str, ...], target: int, timeout_s: float, *, in_other_tables: bool) -> int:
        """Return how many events are still missing when the time is up, or 0 as soon as none is. Raise Gone."""

        def events_behind() -> int:
            check_presence()
            return self._read_gap(models, target, in_other_tables=in_other_tables)[1]

        return positions.poll_until(events_behind, timeout_s)

    def _read_gap(
        self, models: tuple[str, ...], target: int | None = None, *, in_other_tables: bool = True
    ) -> tuple[int, int]:
        with self.pool.connection() as conn:
            if in_other_tables:
                return positions.gap(conn, models, target)
            return positions.gap_of_own_tables(conn, [MODELS[name] for name in models], target)

    def change(
        self,
        caller: Caller,
        models: tuple[str, ...],
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "Changed":
        """
        Carry out a use case whose answer will be read from these models.

        While the models are behind, it raises Lagging before anything is recorded: the client is told to try again, so
        the request must not have had an effect.
        """
        self._catch_up(models)
        commit_result = self.executor.execute(caller, use_case, *args, **kwargs)
        return Changed(self, models, commit_result.result, commit_result.position)


class OnLoop:
    """Carries out use cases in an event loop, tenants in turn. See application/execute_on_loop.py."""

    def __init__(self, executor: Executor, pool: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.recorder = LoopRecorder(pool)
        # On a connection of their own: a table that a rebuild swaps may keep them waiting, and then no request with them.
        self.health_queries = LoopQueries(pool)
        self.reader = Reader(pool)
        if isinstance(keys := executor.store.keys, DataKeys):
            keys.on_erasure(self.reader.forget)
        self._watch = ModelWatch(self.reader)
        self._executor = executor
        self._on_loop = LoopExecutor(executor, self.recorder, sync_to_thread)
        self._turns = FairTurns()
        self._heavy = HeavyReads()

    async def attempt(self, decide: Callable[[UnitOfWork], R], *, size: int = 0) -> CommitResult[R]:
        """
        Take a decision and commit it, as Executor.attempt does.

        `size` is that of the request's body: what is large holds up the loop, so a thread decides on it.
        """
        if size > SMALL:
            return await sync_to_thread(self._executor.attempt, decide)
        async with self._turns.turn():
            return await self._on_loop.attempt(decide)

    async def read(  # noqa: PLR0913 who asks, and for what
        self,
        caller: Caller,
        question: Callable[[UnitOfWork, Principal, UUID], R],
        about: UUID,
        models: tuple[str, ...],
        query: DocumentQuery,
        *,
        eventual: bool = False,
    ) -> tuple[R, Documents] | None:
        """
        Return the answer to a question of who may read, and the documents of a query, in one round trip if all goes well.

        The models show everything that was in the log when this was called, and what the answer rests on was so then
        as well. Returns None when it is to be read by a thread: the models are behind for longer than a moment or
        belong to another version, the documents are large, or something else is not as it mostly is.
        """
        if self._heavy.are_expected(query):
            return None
        try:
            async with self._turns.turn():
                decide = self._executor.decision(caller, question, about)
                answer_and_documents = await self._read(decide, models, query, eventual)
        except NeedsThread:
            return None
        if answer_and_documents is not None and not answer_and_documents[1].are_light:
            self._heavy.note(query)
            return None
        return answer_and_documents

    async def _read(
        self, decide: Callable[[UnitOfWork], R], models: tuple[str, ...], query: DocumentQuery, eventual: bool
    ) -> tuple[R, Documents] | None:
        answer, versions = await self._on_loop.answer(decide)
        target, anew = None, False
        if self._watch.is_active and not eventual:  # so the documents would mostly be found in vain
            look = await self.reader.find(Read({}, models, None))
            target = look.head
            if look.reached is None or (
                look.reached < target and not await self._watch.reach(models, target, MOMENT_S)
            ):
                return None
        while True:
            snapshot = await self.reader.find(Read(versions, models, query, anew))
            anew = snapshot.documents is None  # those that are cached have changed
            if not snapshot.is_unchanged:
                answer, versions = await self._on_loop.answer(decide, is_fresh=True)
                continue
            if snapshot.reached is None:
                return None
            target = snapshot.head if target is None else target
            if not eventual and snapshot.reached < target:
                if not await self._watch.reach(models, target, MOMENT_S):
                    return None
            elif snapshot.documents is not None:
                return answer, snapshot.documents


class Changed(msgspec.Struct):
    """A recorded change, whose answer is yet to be read from the read models."""

    backend: Backend
    models: tuple[str, ...]
    result: Any
    position: int

    def read(self, read: Callable[[Connection], T]) -> T:
        """
        Return what `read` finds once the models show the change.

        Raise Lagging, which says that it is recorded, also when the database has gone away since.
        """
        try:
            with self.backend.consistent_read(*self.models, position=self.position) as conn:
                return read(conn)
        except Lagging as error:
            error.recorded = self.position
            raise
        except UNAVAILABLE as error:
            lagging = Lagging(self.models, 1)
            lagging.recorded = self.position
            raise lagging from error

    def answer(self, read: Callable[[Connection], T | None], status: int = 200) -> Response[T]:
        """Return the resource as it is now, with the log position in a header. Raise NotFound if it is deleted."""
        resource = self.read(read)
        if resource is None:
            raise NotFound("The change was recorded, but the resource has since been deleted.")
        return Answer(resource, status_code=status, headers={POSITION_HEADER: str(self.position)})
