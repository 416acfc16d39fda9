"""The executor of use cases: it loads, decides, appends, and tries again when another writer came first."""

import random
import time
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, OperationalError
from psycopg_pool import PoolTimeout

from application import tracing
from application.access import BoardUser, Caller, Principal, identify, streams_behind
from application.event_store.postgres_errors import ClockDiffers, OutcomeUnknown
from application.event_store.store import EventStore
from application.event_store.stream_cache import StreamCache
from application.event_store.turns import Turns
from application.event_store.unit_of_work import SHARED_STREAMS, UNCHANGED_SINCE, Spending, UnitOfWork
from application.quotas.charge import Charge, OverQuota, TooMany
from application.quotas.quotas import Quotas, Reservation
from application.secrets.vault import Vault
from domain.events import KeyIssued
from domain.recorded import Recorded

TRIES = 10
MOST_USERS = 100_000  # a process remembers the last company of at most so many users
PAUSE_S = 0.0005  # the longest pause after the first lost race; it doubles after each further one
P = ParamSpec("P")
R = TypeVar("R")


class CommitResult(msgspec.Struct, Generic[R], frozen=True):
    """The result of a use case, the log position at which a reader sees its effect, and the events that it recorded."""

    result: R
    position: int
    recorded: Sequence[Recorded]


class Steps(Protocol):
    """
    What an attempt waits for. A process that has threads blocks in them; an event loop must not.

    The attempt itself, which says when each step is taken and what follows from its outcome, is the same for both.
    """

    def hold_turns(self, stream_ids: Collection[UUID]) -> AbstractAsyncContextManager[None]:
        """Wait for the turns of these streams and hold them in the context."""

    def find_busy(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        """Return those of these streams whose turn another attempt has."""

    async def decide(
        self, decide: Callable[[UnitOfWork], R], actor: str, cache: StreamCache | None
    ) -> tuple[UnitOfWork, R]:
        """Take a decision now; it rests on the cache, if there is one, and on fresh state."""

    async def take(self, quotas: Quotas, charge: Charge) -> Reservation:
        """Take a charge out of the quotas."""

    async def commit(self, work: UnitOfWork) -> int:
        """Commit a decision, and return the position that the log has reached."""

    async def versions(self, stream_ids: Iterable[UUID]) -> Mapping[UUID, int]:
        """Return the newest version of each stream."""

    async def pause(self, seconds: float) -> None:
        """Wait for a moment."""


class Executor:
    """Carries out use cases; the web and the processes reach the write side only through it."""

    def __init__(  # noqa: PLR0913, PLR0917 the parts that a process has
        self,
        store: EventStore,
        clock: Callable[[], datetime],
        vault: Vault | None = None,
        cache: StreamCache | None = None,
        quotas: Quotas | None = None,
        spending: Spending | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.vault = vault
        self.quotas = quotas
        self.spending = spending
        self.cache = cache
        self._steps = _Blocking(self)
        self._tenants: dict[int, UUID] = {}  # by the number of a user: the company in which they last acted

    def execute(
        self,
        caller: Caller,
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> CommitResult[R]:
        """
        Carry out one use case for a caller.

        The streams whose ids are among the arguments are fetched together with the caller's key. Raises a DomainError
        when the request is refused, and IntegrityError after TRIES lost races.
        """
        return self.attempt(self.decision(caller, use_case, *args, **kwargs))

    def decision(
        self,
        caller: Caller,
        use_case: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Callable[[UnitOfWork], R]:
        """Return the use case as a decision, which begins with who the caller is."""
        ids = [arg for arg in args if isinstance(arg, UUID)]

        def decide(work: UnitOfWork) -> R:
            principal = identify(work, caller, ids)
            try:
                return use_case(work, principal, *args, **kwargs)
            finally:
                self._remember_tenant(work, principal)

        return decide

    def attempt(
        self, decide: Callable[[UnitOfWork], R], *, tries: int = TRIES, actor: str = "system"
    ) -> CommitResult[R]:
        """
        Take a decision and commit it, and take it again on fresh state whenever another writer came first.

        The first try may rest on cached streams: the commit is refused when one of them has moved on. After a lost race
        on a stream the decision takes its turn there: other threads that want to write to that stream let it go first.
        """
        return _finish(self.attempt_by(self._steps, decide, tries, actor))

    async def attempt_by(
        self, steps: Steps, decide: Callable[[UnitOfWork], R], tries: int, actor: str
    ) -> CommitResult[R]:
        """Do the same as `attempt`, with these steps."""
        with tracing.span("unit of work") as span:
            outcome = await self._attempt_steps(steps, decide, tries, actor)
            if span.is_recording():
                span.set_attributes({"routines.events": len(outcome.recorded), "routines.position": outcome.position})
            return outcome

    async def _attempt_steps(
        self, steps: Steps, decide: Callable[[UnitOfWork], R], tries: int, actor: str
    ) -> CommitResult[R]:
        cache, turn, lost_races = self.cache, frozenset[UUID](), 0
        if UNCHANGED_SINCE.get() is not None:
            cache = None  # cached streams may lack positions, and If-Match compares positions
        while True:
            async with steps.hold_turns(turn):
                try:
                    work, result = await steps.decide(decide, actor, cache)
                except (OperationalError, PoolTimeout):
                    raise  # whoever has waited for a database that is away need not wait again
                except Exception:
                    if cache is None:
                        raise
                    cache = None  # the error may come from old state: it is raised if it occurs again on fresh state
                    continue
                if cache is not None and work.is_idle:
                    cache = None
                    continue
                if not turn and (turn := steps.find_busy(work.streams_written)):
                    continue
                try:
                    return await self._commit(steps, work, result)
                except (OverQuota, TooMany):
                    if cache is None or not work.has_assumed:
                        raise
                    # A run that was assumed new may exist already; then nothing is recorded, and
                    # no quota is needed.
                    cache = None
                    continue
                except IntegrityError as error:
                    if cache is not None:
                        cache = None
                        continue
                    lost_races += 1
                    if lost_races == tries or (lost_races > 1 and isinstance(error, ClockDiffers)):
                        raise  # a second difference of clocks is not an accident: a third try would not help
                    versions = work.versions
                    newest = await steps.versions(versions)
                    # Streams on which another writer was first.
                    turn |= {id_ for id_, version in newest.items() if version != versions[id_]}
            await steps.pause(random.uniform(0, PAUSE_S * 2 ** (lost_races - 1)))  # noqa: S311 no secret: it spreads out writers

    def read_ahead(self, read: Callable[[UnitOfWork], object]) -> bool:
        """
        Read the streams on which coming decisions will rest into the cache, so that those need not wait for them.

        Returns False when they cannot be read, or are too much to be read at once.
        """
        if self.cache is None:
            return True
        work = UnitOfWork(self.store, self.clock())
        try:
            read(work)
        except OperationalError:
            raise
        except Exception:  # noqa: BLE001 the decision will raise it if it still occurs
            return False
        self.cache.put(work.cacheable_streams(committed=False))
        return True

    async def _commit(self, steps: Steps, work: UnitOfWork, result: R) -> CommitResult[R]:
        """Commit the decision. Raises OverQuota or RuleViolation for a quota, before anything is recorded."""
        reservation = None if self.quotas is None or work.is_idle else await steps.take(self.quotas, work.charge())
        try:
            position = await steps.commit(work)
        except (OutcomeUnknown, CancelledError):
            raise  # the events may be recorded, so the charge stays: whoever hangs up must not record for nothing
        except BaseException:
            if self.quotas is not None and reservation is not None:
                self.quotas.give_back(reservation)
            raise
        if self.cache is not None:
            self.cache.put(work.cacheable_streams(committed=True, anew=self.cache.has_room))
        return CommitResult(result, position, work.batch)

    def query_as(
        self,
        caller: Caller,
        question: Callable[Concatenate[UnitOfWork, Principal, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """
        Answer a question for a caller, such as whether they may see something. Records nothing.

        It rests on fresh state, except for the streams that it shares with other questions (SHARED_STREAMS).
        """
        shared = SHARED_STREAMS.get()
        work = UnitOfWork(self.store, self.clock(), vault=self.vault, cache=shared, spending=self.spending)
        ids: list[UUID | None] = [arg for arg in args if isinstance(arg, UUID)]
        known_key = None if self.cache is None or caller.key_id is None else self.cache.get(caller.key_id)
        if known_key is not None and known_key.recorded:
            # Whether it is still good is read anew, in one round trip with what it rests on.
            ids += streams_behind(known_key.recorded[0])
        principal = identify(work, caller, ids)
        if self.cache is not None and caller.key_id is not None and known_key is None:
            self.cache.put(
                (id_, stream) for id_, stream in work.cacheable_streams(committed=False) if id_ == caller.key_id
            )
        try:
            return question(work, principal, *args, **kwargs)
        finally:
            if shared is not None:
                shared.put(work.cacheable_streams(committed=False))
            self._remember_tenant(work, principal)

    def tenant_of(self, caller: Caller) -> UUID | None:
        """
        Return the company for which a caller acts, as far as this process knows; None when it does not know.

        For the key of an agent or a collection it is the company of the key, for a board user the company in which they
        last acted. An instance admin belongs to no company, so their user id is returned. Nothing is read and nothing
        is verified: the answer serves to share out resources, not to give access.
        """
        stream = self.cache.get(caller.key_id) if self.cache is not None and caller.key_id is not None else None
        first = stream.recorded[0] if stream is not None and stream.recorded else None
        match first:
            case Recorded(event=KeyIssued(user_id=user_id), company_id=company_id):
                return company_id if user_id is None else self._tenants.get(user_id.int)
            case _:
                return None

    def _remember_tenant(self, work: UnitOfWork, principal: Principal) -> None:
        """Remember for which tenant a board user acts, also when the use case fails."""
        if isinstance(principal, BoardUser):
            tenant = principal.user_id if principal.instance_admin else work.tenant
            if len(self._tenants) >= MOST_USERS:
                self._tenants.clear()
            if tenant is not None:
                self._tenants[principal.user_id.int] = tenant

    def query(self, question: Callable[[UnitOfWork], R]) -> R:
        """Answer a question of the service itself, without a caller. Records nothing."""
        return question(UnitOfWork(self.store, self.clock(), vault=self.vault, spending=self.spending))


class _Blocking:
    """The steps in a thread, which waits for each."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.turns = Turns()

    @asynccontextmanager
    async def hold_turns(self, stream_ids: Collection[UUID]) -> AsyncIterator[None]:
        with self.turns.take(stream_ids):
            yield

    def find_busy(self, stream_ids: Iterable[UUID]) -> frozenset[UUID]:
        return self.turns.find_busy(stream_ids)

    async def decide(
        self, decide: Callable[[UnitOfWork], R], actor: str, cache: StreamCache | None
    ) -> tuple[UnitOfWork, R]:
        parts = self._executor
        work = UnitOfWork(parts.store, parts.clock(), actor, parts.vault, cache, parts.quotas, parts.spending)
        return work, decide(work)

    async def take(self, quotas: Quotas, charge: Charge) -> Reservation:
        return quotas.take(charge)

    async def commit(self, work: UnitOfWork) -> int:
        return work.commit()

    async def versions(self, stream_ids: Iterable[UUID]) -> Mapping[UUID, int]:
        return self._executor.store.versions(stream_ids)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 the thread of the attempt has nothing else to do


def _finish(attempt: Coroutine[Any, Any, R]) -> R:
    """Return what an attempt by blocking steps returns: none of them suspends it, so it goes to its end at once."""
    try:
        attempt.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    raise AssertionError
