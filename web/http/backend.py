"""What the routes work with: use cases that change things, connections that show them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import psycopg
from litestar import Response
from psycopg_pool import ConnectionPool

from application.access import Caller, Principal
from application.event_store.unit_of_work import UnitOfWork
from application.execute import Executor
from application.use_cases import read_access
from domain.bounds.limits import Limits
from domain.errors import NotFound
from projections import catalogue
from projections.engine import positions
from projections.engine.positions import Lagging
from projections.engine.read_model import Connection
from web.http.departures import check_presence
from web.http.fair_threads import TENANT

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Thing = TypeVar("Thing", bound=read_access.Owned)
POSITION_HEADER = "X-Routines-Position"
READ_MODELS = {model.name: model for model in catalogue.ALL}
# What reading rows that another version made may end in: a column or a table is missing, a document has not its fields.
ROWS_OF_ANOTHER_VERSION = (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable, msgspec.ValidationError)
MOMENT_S = 0.25
MOST_LONG_WAITS = 6  # requests of one process that wait longer than a moment for a read model
MOST_LONG_WAITS_OF_TENANT = 3  # so that one who keeps the read models busy leaves room for others to wait


class Backend:
    """Every answer is read from the read models, after they have caught up with what it must show."""

    def __init__(
        self, executor: Executor, pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]], patience_s: float
    ) -> None:
        self.executor = executor
        self.pool = pool
        self._patience_s = patience_s
        self._long_waits = Counter[str]()  # by tenant
        self._lock = Lock()

    @property
    def limits(self) -> Limits:
        """How much of everything there may be."""
        return self.executor.store.limits

    def authorize(
        self,
        caller: Caller,
        question: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Who is this, may they see that."""
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
        """What a read model knows under an address, if the caller may see it. Raises NotFound."""

        def find() -> Thing | None:
            with self.consistent_read(*models, eventual=eventual) as conn:
                return read(conn)

        return self.authorize(caller, lambda work, principal: read_access.find(work, principal, find, kind))

    @contextmanager
    def consistent_read(
        self, *models: str, eventual: bool = False, position: int | None = None
    ) -> Iterator[Connection]:
        """
        A connection on which the read models show the log up to `position`, or up to now. Raises Lagging.

        Who names no position does not wait for a read model whose tables are those of another version, and which waits to
        be rebuilt: they see its old rows. Where these cannot be read by this version, that is Lagging, too.
        """
        if not eventual:
            self._catch_up(models, position, in_other_tables=position is not None)
        try:
            with self.pool.connection() as conn:
                yield conn
        except ROWS_OF_ANOTHER_VERSION as error:
            with self.pool.connection() as conn:
                is_explained = positions.has_other_rows(conn, [READ_MODELS[name] for name in models])
            if not is_explained:
                raise
            raise Lagging(models, 1) from error

    def _catch_up(self, models: tuple[str, ...], position: int | None = None, *, in_other_tables: bool = True) -> None:
        """Any may wait for a moment, few for long; none holds a connection then: writes need threads too."""
        target, behind = self._gap(models, position, in_other_tables=in_other_tables)
        behind = behind and self._await(
            models, target, min(MOMENT_S, self._patience_s), in_other_tables=in_other_tables
        )
        if behind and self._patience_s > MOMENT_S and self._begin_long_wait(tenant := TENANT.get()):
            try:
                behind = self._await(models, target, self._patience_s - MOMENT_S, in_other_tables=in_other_tables)
            finally:
                self._end_long_wait(tenant)
        if behind:
            raise Lagging(models, behind)

    def _begin_long_wait(self, tenant: str) -> bool:
        """Whether a request of the tenant may wait for long; then it must end its wait."""
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

    def _await(self, models: tuple[str, ...], target: int, timeout_s: float, *, in_other_tables: bool) -> int:
        """How many events are still missing when the time is up; 0 as soon as none is. Raises Gone."""

        def events_behind() -> int:
            check_presence()
            return self._gap(models, target, in_other_tables=in_other_tables)[1]

        return positions.poll_until(events_behind, timeout_s)

    def _gap(
        self, models: tuple[str, ...], target: int | None = None, *, in_other_tables: bool = True
    ) -> tuple[int, int]:
        with self.pool.connection() as conn:
            if in_other_tables:
                return positions.gap(conn, models, target)
            return positions.gap_of_own_tables(conn, [READ_MODELS[name] for name in models], target)

    def change(
        self,
        caller: Caller,
        models: tuple[str, ...],
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "Changed":
        """
        Carries out a use case whose answer will be read from these models.

        If they are not keeping up, it is refused before anything is recorded: a client that is told to try
        again must not have succeeded.
        """
        self._catch_up(models)
        done = self.executor.execute(caller, use_case, *args, **kwargs)
        return Changed(self, models, done.result, done.position)


class Changed(msgspec.Struct):
    """A recorded change that waits to be shown."""

    backend: Backend
    models: tuple[str, ...]
    result: Any
    position: int

    def read(self, read: Callable[[Connection], T]) -> T:
        """What the read models say once they show the change. Raises Lagging, which says that it is recorded."""
        try:
            with self.backend.consistent_read(*self.models, position=self.position) as conn:
                return read(conn)
        except Lagging as error:
            error.recorded = self.position
            raise

    def answer(self, read: Callable[[Connection], T | None], status: int = 200) -> Response[T]:
        """The thing as it is now, and the log position in a header."""
        resource = self.read(read)
        if resource is None:
            raise NotFound("It was changed as asked, and deleted by another meanwhile")
        return Response(resource, status_code=status, headers={POSITION_HEADER: str(self.position)})
