"""What the routes work with: use cases that change things, connections that show them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import psycopg
from litestar import Response
from psycopg_pool import ConnectionPool

from application.access import Caller, Principal
from application.execute import Executor
from application.work import Work
from projections import positions
from projections.positions import Lagging
from projections.read_model import Connection

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
POSITION_HEADER = "X-Routines-Position"


class Backend:
    """Every answer is read from the read models, after they have caught up with what it must show."""

    def __init__(
        self, executor: Executor, pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]], patience_s: float
    ) -> None:
        self.executor = executor
        self.pool = pool
        self._patience_s = patience_s

    def ask(
        self, caller: Caller, question: Callable[Concatenate[Work, Principal, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Who is this, may they see that."""
        return self.executor.look(caller, question, *args, **kwargs)

    @contextmanager
    def shown(self, *models: str, eventual: bool = False) -> Iterator[Connection]:
        """A connection on which the read models show everything acknowledged so far. Raises Lagging."""
        with self.pool.connection() as conn:
            if not eventual:
                positions.wait(conn, models, self._patience_s)
            yield conn

    def change(
        self,
        caller: Caller,
        models: tuple[str, ...],
        use_case: Callable[Concatenate[Work, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "Changed":
        """
        Carries out a use case whose answer will be read from these models.

        If they are not keeping up, it is refused before anything is recorded: a client that is told to try
        again must not have succeeded.
        """
        with self.shown(*models):
            pass
        done = self.executor.execute(caller, use_case, *args, **kwargs)
        return Changed(self, models, done.result, done.position)


class Changed(msgspec.Struct):
    """A recorded change that waits to be shown."""

    backend: Backend
    models: tuple[str, ...]
    result: Any
    position: int

    def answer(self, read: Callable[[Connection], T | None], status: int = 200) -> Response[T]:
        """The thing as it is now, and the log position in a header."""
        try:
            with self.backend.shown(*self.models) as conn:
                found = read(conn)
        except Lagging as error:
            error.recorded = self.position
            raise
        if found is None:
            raise AssertionError
        return Response(found, status_code=status, headers={POSITION_HEADER: str(self.position)})
